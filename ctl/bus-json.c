/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "bus-json.h"
#include "ccdf.h"

/*
 * "LastErrorUSec" → "last_error_usec": an underscore before each capital that follows a small
 * letter.
 */
static char *member_to_key(const char *member) {
        char *key = malloc(2 * strlen(member) + 1), *end = key;

        if (!key)
                return NULL;

        for (const char *p = member; *p; p++) {
                if (p > member && isupper((unsigned char) *p) && islower((unsigned char) p[-1]))
                        *end++ = '_';
                *end++ = (char) tolower((unsigned char) *p);
        }
        *end = '\0';
        return key;
}

static json_object *from_basic(char type, const void *value) {
        switch (type) {
        case 's':
        case 'o':
        case 'g':
                return json_object_new_string(*(const char *const *) value);
        case 'b':
                return json_object_new_boolean(*(const int *) value);
        case 'y':
                return json_object_new_uint64(*(const uint8_t *) value);
        case 'q':
                return json_object_new_uint64(*(const uint16_t *) value);
        case 'u':
                return json_object_new_uint64(*(const uint32_t *) value);
        case 't':
                return json_object_new_uint64(*(const uint64_t *) value);
        case 'n':
                return json_object_new_int64(*(const int16_t *) value);
        case 'i':
                return json_object_new_int64(*(const int32_t *) value);
        case 'x':
                return json_object_new_int64(*(const int64_t *) value);
        default:
                return NULL;
        }
}

static int read_basic(sd_bus_message *m, char type, json_object **ret) {
        union {
                const char *text;
                int boolean;
                uint64_t number;
        } value;
        int r;

        /* A file descriptor is nothing to print. */
        if (!strchr("sogbyqutnix", type))
                return -EBADMSG;

        r = sd_bus_message_read_basic(m, type, &value);
        if (r < 0)
                return r;
        if (r == 0)
                return -EBADMSG;

        *ret = from_basic(type, &value);
        return *ret ? 0 : -ENOMEM;
}

static int read_bytes(sd_bus_message *m, json_object **ret) {
        _cleanup_free_ char *text = NULL;
        const void *bytes;
        size_t size;
        int r;

        r = sd_bus_message_read_array(m, 'y', &bytes, &size);
        if (r < 0)
                return r;

        text = malloc(2 * size + 1);
        if (!text)
                return -ENOMEM;

        ccdf_format(bytes, size, text);
        *ret = json_object_new_string(text);
        return *ret ? 0 : -ENOMEM;
}

/* *ret is NULL for what cannot be told in one value. */
static int read_variant(sd_bus_message *m, json_object **ret) {
        const char *contents;
        int r;

        *ret = NULL;

        r = sd_bus_message_peek_type(m, NULL, &contents);
        if (r < 0)
                return r;

        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;

        if (strcmp(contents, "ay") == 0)
                r = read_bytes(m, ret);
        else if (strlen(contents) == 1 && strchr("sogbyqutnix", contents[0]))
                r = read_basic(m, contents[0], ret);
        else
                r = sd_bus_message_skip(m, contents);
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(m);
}

int bus_json_read(sd_bus_message *m,
                  const char *types,
                  const char *const keys[],
                  json_object *object) {
        json_object *value;
        int r;

        for (size_t i = 0; types[i]; i++) {
                r = read_basic(m, types[i], &value);
                if (r < 0)
                        return r;

                r = value_add(object, keys[i], value);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_entry(sd_bus_message *m, json_object *object) {
        _cleanup_free_ char *key = NULL;
        const char *member;
        json_object *value;
        int r;

        r = sd_bus_message_read(m, "s", &member);
        if (r < 0)
                return r;

        key = member_to_key(member);
        if (!key)
                return -ENOMEM;

        r = read_variant(m, &value);
        if (r < 0 || !value)
                return r;

        return value_add(object, key, value);
}

int bus_json_read_dict(sd_bus_message *m, json_object *object) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_entry(m, object);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(m);
}

int bus_json_read_error(sd_bus_message *m, json_object *error) {
        static const char *const keys[] = { "address",  "fid",      "pec",          "name",
                                            "severity", "sequence", "realtime_usec" };
        int r;

        r = bus_json_read(m, "suqsstt", keys, error);
        if (r < 0)
                return r;

        return bus_json_read_dict(m, error);
}
