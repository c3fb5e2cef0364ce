/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "handover-text.h"
#include "value.h"

#define FUNCTIONS_MAX  4096U
#define INHIBITORS_MAX 4096U
#define ADDRESSES_MAX  4096U

/* A text without anything in it that does not print. */
static int parse_text_value(json_object *value, char *ret, size_t size) {
        const char *text;
        size_t length;

        if (!json_object_is_type(value, json_type_string))
                return -EBADMSG;
        text = json_object_get_string(value);
        length = (size_t) json_object_get_string_len(value);
        if (length >= size)
                return -EBADMSG;
        for (size_t i = 0; i < length; i++)
                if ((unsigned char) text[i] < ' ' || text[i] == '\x7f')
                        return -EBADMSG;
        (void) strcpy(ret, text);
        return 0;
}

static int parse_text(json_object *object, const char *key, char *ret, size_t size) {
        return parse_text_value(json_object_object_get(object, key), ret, size);
}

static int parse_bool(json_object *object, const char *key, bool *ret) {
        json_object *value = json_object_object_get(object, key);

        if (!json_object_is_type(value, json_type_boolean))
                return -EBADMSG;
        *ret = json_object_get_boolean(value);
        return 0;
}

static int parse_number_value(json_object *value, uint64_t max, uint64_t *ret) {
        if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
                return -EBADMSG;
        *ret = json_object_get_uint64(value);
        return *ret <= max ? 0 : -EBADMSG;
}

static int parse_number(json_object *object, const char *key, uint64_t max, uint64_t *ret) {
        return parse_number_value(json_object_object_get(object, key), max, ret);
}

#define PARSE_NUMBER(object, key, max, field)                                                      \
        ({                                                                                         \
                uint64_t _number;                                                                  \
                int _r = parse_number(object, key, max, &_number);                                 \
                if (_r == 0)                                                                       \
                        (field) = (__typeof__(field)) _number;                                     \
                _r;                                                                                \
        })

static int parse_sysfs(json_object *object, SysfsFunction *ret) {
        int r = 0;

        r = r ?: parse_text(object, "address", ret->address, sizeof(ret->address));
        r = r ?: parse_text(object, "driver", ret->driver, sizeof(ret->driver));
        r = r ?: parse_text(object, "cdev", ret->cdev, sizeof(ret->cdev));
        r = r ?: PARSE_NUMBER(object, "fid", UINT32_MAX, ret->fid);
        r = r ?: PARSE_NUMBER(object, "fh", UINT32_MAX, ret->fh);
        r = r ?: PARSE_NUMBER(object, "uid", UINT32_MAX, ret->uid);
        r = r ?: PARSE_NUMBER(object, "pchid", UINT16_MAX, ret->pchid);
        r = r ?: PARSE_NUMBER(object, "vfn", UINT16_MAX, ret->vfn);
        r = r ?: PARSE_NUMBER(object, "pfgid", UINT8_MAX, ret->pfgid);
        r = r ?: PARSE_NUMBER(object, "pft", UINT8_MAX, ret->pft);
        r = r ?: PARSE_NUMBER(object, "group", UINT32_MAX, ret->group);
        r = r ?: PARSE_NUMBER(object, "binding", UINT64_MAX, ret->binding);
        if (r < 0)
                return r;

        ret->vfio_bound = true;
        /* It goes into the path of a node. */
        return pci_address_valid(ret->address) && !strchr(ret->cdev, '/') ? 0 : -EBADMSG;
}

static int parse_recoveries(json_object *object, RecoveryHistory *ret) {
        json_object *array = json_object_object_get(object, "recoveries");
        size_t n;

        if (!json_object_is_type(array, json_type_array))
                return -EBADMSG;
        n = json_object_array_length(array);
        if (n > RECOVERY_LIMIT_MAX)
                return -EBADMSG;

        for (size_t i = 0; i < n; i++)
                if (parse_number_value(json_object_array_get_idx(array, i),
                                       UINT64_MAX,
                                       &ret->times_usec[i]) < 0)
                        return -EBADMSG;
        ret->total = n;
        return 0;
}

static int parse_function(json_object *object, Handover *handover) {
        HandoverFunction function = { 0 }, *added;
        int r;

        r = parse_sysfs(object, &function.sysfs);
        r = r ?: parse_bool(object, "claimed", &function.claimed);
        r = r ?: parse_bool(object, "released", &function.released);
        r = r ?: parse_bool(object, "permanent", &function.permanent);
        r = r ?: parse_bool(object, "recovery_limit", &function.recovery_limit);
        r = r
                    ?: PARSE_NUMBER(object,
                                    "released_until_usec",
                                    UINT64_MAX,
                                    function.released_until_usec);
        r = r ?: parse_text(object, "holder", function.holder, sizeof(function.holder));
        r = r ?: parse_text(object, "owner", function.owner, sizeof(function.owner));
        r = r ?: PARSE_NUMBER(object, "owner_uid", UINT32_MAX, function.owner_uid);
        r = r ?: parse_recoveries(object, &function.recoveries);
        if (r < 0)
                return r;

        added = handover_add_function(handover);
        if (!added)
                return -ENOMEM;
        *added = function;
        return 0;
}

static int parse_addresses(json_object *object, HandoverInhibitor *inhibitor) {
        json_object *array = json_object_object_get(object, "addresses");
        size_t n;

        if (!json_object_is_type(array, json_type_array))
                return -EBADMSG;
        n = json_object_array_length(array);
        if (n == 0 || n > ADDRESSES_MAX)
                return -EBADMSG;

        inhibitor->addresses = calloc(n, sizeof(char *));
        if (!inhibitor->addresses)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                char address[PCI_ADDRESS_SIZE];

                if (parse_text_value(
                            json_object_array_get_idx(array, i), address, sizeof(address)) < 0 ||
                    !pci_address_valid(address))
                        return -EBADMSG;
                inhibitor->addresses[i] = strdup(address);
                if (!inhibitor->addresses[i])
                        return -ENOMEM;
                inhibitor->n_addresses++;
        }

        return 0;
}

static int parse_inhibitor(json_object *object, Handover *handover) {
        HandoverInhibitor *inhibitor;
        int r = 0;

        inhibitor = handover_add_inhibitor(handover);
        if (!inhibitor)
                return -ENOMEM;

        r = r ?: PARSE_NUMBER(object, "id", UINT64_MAX, inhibitor->id);
        r = r ?: parse_text(object, "who", inhibitor->who, sizeof(inhibitor->who));
        r = r ?: parse_text(object, "why", inhibitor->why, sizeof(inhibitor->why));
        r = r ?: PARSE_NUMBER(object, "uid", UINT32_MAX, inhibitor->uid);
        r = r ?: PARSE_NUMBER(object, "pid", INT32_MAX, inhibitor->pid);
        r = r ?: parse_addresses(object, inhibitor);
        if (r < 0) {
                handover_inhibitor_done(inhibitor);
                handover->n_inhibitors--;
        }
        return r;
}

static int parse_array(json_object *root,
                       const char *key,
                       size_t max,
                       Handover *handover,
                       int (*parse)(json_object *object, Handover *handover),
                       unsigned *ret_skipped) {
        json_object *array = json_object_object_get(root, key);
        size_t n;

        if (!json_object_is_type(array, json_type_array))
                return -EBADMSG;
        n = json_object_array_length(array);

        for (size_t i = 0; i < n; i++) {
                int r = i < max ? parse(json_object_array_get_idx(array, i), handover) : -EBADMSG;

                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        (*ret_skipped)++;
        }

        return 0;
}

/* The whole of the text, or nothing. Returns 0, -EBADMSG or -ENOMEM. */
static int parse_root(const char *text, size_t size, json_object **ret) {
        struct json_tokener *tokener;
        json_object *root;
        bool whole;

        tokener = json_tokener_new();
        if (!tokener)
                return -ENOMEM;

        json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
        root = json_tokener_parse_ex(tokener, text, (int) size);
        whole = json_tokener_get_parse_end(tokener) == size;
        json_tokener_free(tokener);
        if (!whole || !json_object_is_type(root, json_type_object)) {
                (void) json_object_put(root);
                return -EBADMSG;
        }

        *ret = root;
        return 0;
}

int handover_parse(const char *text, size_t size, Handover *ret, unsigned *ret_skipped) {
        _cleanup_(json_putp) json_object *root = NULL;
        Handover handover = { 0 };
        uint64_t version;
        int r;

        assert(text);
        assert(size <= HANDOVER_TEXT_MAX);
        assert(ret);
        assert(ret_skipped);

        *ret_skipped = 0;
        r = parse_root(text, size, &root);
        r = r ?: parse_number(root, "version", UINT64_MAX, &version);
        if (r < 0)
                return r;
        if (version > HANDOVER_VERSION)
                return -EPROTO;

        r = parse_text(root, "bus", handover.bus_id, sizeof(handover.bus_id));
        r = r
                    ?: parse_array(root,
                                   "functions",
                                   FUNCTIONS_MAX,
                                   &handover,
                                   parse_function,
                                   ret_skipped);
        r = r
                    ?: parse_array(root,
                                   "inhibitors",
                                   INHIBITORS_MAX,
                                   &handover,
                                   parse_inhibitor,
                                   ret_skipped);
        if (r < 0) {
                handover_done(&handover);
                return r;
        }

        *ret = handover;
        return 0;
}
