/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "handover-text.h"
#include "value.h"

#define HANDOVER_VERSION 1U

#define FUNCTIONS_MAX  4096U
#define INHIBITORS_MAX 4096U
#define ADDRESSES_MAX  4096U

/* Bits of what a function remembers, by name. */
typedef struct Flag {
        const char *name;
        size_t offset;
} Flag;

static const Flag flags[] = {
        { "claimed", offsetof(HandoverFunction, claimed) },
        { "released", offsetof(HandoverFunction, released) },
        { "permanent", offsetof(HandoverFunction, permanent) },
        { "recovery_limit", offsetof(HandoverFunction, recovery_limit) },
};

static bool *flag_of(const HandoverFunction *function, const Flag *flag) {
        return (bool *) ((char *) function + flag->offset);
}

/* Only those that may count: the oldest is overwritten, and so are those that never were. */
static json_object *format_recoveries(const RecoveryHistory *history) {
        uint64_t n = history->total < RECOVERY_LIMIT_MAX ? history->total : RECOVERY_LIMIT_MAX;
        json_object *array = json_object_new_array();

        for (uint64_t i = history->total - n; array && i < history->total; i++) {
                json_object *time =
                        json_object_new_uint64(history->times_usec[i % RECOVERY_LIMIT_MAX]);

                if (!time || json_object_array_add(array, time) < 0) {
                        (void) json_object_put(time);
                        (void) json_object_put(array);
                        return NULL;
                }
        }

        return array;
}

static int format_sysfs(json_object *object, const SysfsFunction *sysfs) {
        int r = 0;

        r = r ?: value_add_text(object, "address", sysfs->address);
        r = r ?: value_add_text(object, "driver", sysfs->driver);
        r = r ?: value_add_text(object, "cdev", sysfs->cdev);
        r = r ?: value_add_number(object, "fid", sysfs->fid);
        r = r ?: value_add_number(object, "fh", sysfs->fh);
        r = r ?: value_add_number(object, "uid", sysfs->uid);
        r = r ?: value_add_number(object, "pchid", sysfs->pchid);
        r = r ?: value_add_number(object, "vfn", sysfs->vfn);
        r = r ?: value_add_number(object, "pfgid", sysfs->pfgid);
        r = r ?: value_add_number(object, "pft", sysfs->pft);
        r = r ?: value_add_number(object, "group", sysfs->group);
        return r ?: value_add_number(object, "binding", sysfs->binding);
}

static int format_function(json_object *object, const void *item) {
        const HandoverFunction *function = item;
        int r;

        r = format_sysfs(object, &function->sysfs);
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(flags); i++)
                if (*flag_of(function, &flags[i]))
                        r = value_add_bool(object, flags[i].name, true);
        r = r ?: value_add_number(object, "released_until_usec", function->released_until_usec);
        r = r ?: value_add_text(object, "holder", function->holder);
        r = r ?: value_add_text(object, "owner", function->owner);
        r = r ?: value_add_number(object, "owner_uid", function->owner_uid);
        return r ?: value_add(object, "recoveries", format_recoveries(&function->recoveries));
}

static int format_inhibitor(json_object *object, const void *item) {
        const HandoverInhibitor *inhibitor = item;
        json_object *addresses;
        int r;

        addresses = json_object_new_array();
        r = value_add(object, "addresses", addresses);
        for (size_t i = 0; r == 0 && i < inhibitor->n_addresses; i++) {
                json_object *address = json_object_new_string(inhibitor->addresses[i]);

                if (!address || json_object_array_add(addresses, address) < 0) {
                        (void) json_object_put(address);
                        return -ENOMEM;
                }
        }
        r = r ?: value_add_number(object, "id", inhibitor->id);
        r = r ?: value_add_text(object, "who", inhibitor->who);
        r = r ?: value_add_text(object, "why", inhibitor->why);
        r = r ?: value_add_number(object, "uid", inhibitor->uid);
        return r ?: value_add_number(object, "pid", (uint64_t) inhibitor->pid);
}

static int format_array(json_object *root,
                        const char *key,
                        const void *items,
                        size_t n,
                        size_t size,
                        int (*format)(json_object *object, const void *item)) {
        json_object *array = json_object_new_array();
        int r;

        r = value_add(root, key, array);
        for (size_t i = 0; r == 0 && i < n; i++) {
                json_object *object = json_object_new_object();

                if (!object || json_object_array_add(array, object) < 0) {
                        (void) json_object_put(object);
                        return -ENOMEM;
                }
                r = format(object, (const char *) items + i * size);
        }

        return r;
}

int handover_format(const Handover *handover, char **ret) {
        _cleanup_(json_putp) json_object *root = json_object_new_object();
        const char *text;
        int r;

        assert(handover);
        assert(ret);

        if (!root)
                return -ENOMEM;
        r = value_add_number(root, "version", HANDOVER_VERSION);
        r = r ?: value_add_text(root, "bus", handover->bus_id);
        r = r
                    ?: format_array(root,
                                    "functions",
                                    handover->functions,
                                    handover->n_functions,
                                    sizeof(*handover->functions),
                                    format_function);
        r = r
                    ?: format_array(root,
                                    "inhibitors",
                                    handover->inhibitors,
                                    handover->n_inhibitors,
                                    sizeof(*handover->inhibitors),
                                    format_inhibitor);
        if (r < 0)
                return r;

        text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN);
        *ret = text ? strdup(text) : NULL;
        return *ret ? 0 : -ENOMEM;
}

/* What does not fit, or is no printable text, is as good as not there. */
static int parse_text(json_object *object, const char *key, char *ret, size_t size) {
        const char *text = value_text(object, key);

        if (strlen(text) >= size)
                return -EBADMSG;
        for (const char *c = text; *c; c++)
                if ((unsigned char) *c < ' ' || *c == '\x7f')
                        return -EBADMSG;
        (void) strcpy(ret, text);
        return 0;
}

static int parse_number(json_object *object, const char *key, uint64_t max, uint64_t *ret) {
        json_object *value = json_object_object_get(object, key);

        if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
                return -EBADMSG;
        *ret = json_object_get_uint64(value);
        return *ret <= max ? 0 : -EBADMSG;
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
                ret->times_usec[i] = json_object_get_uint64(json_object_array_get_idx(array, i));
        ret->total = n;
        return 0;
}

static int parse_function(json_object *object, Handover *handover) {
        HandoverFunction function = { 0 }, *added;
        int r;

        r = parse_sysfs(object, &function.sysfs);
        for (size_t i = 0; i < ELEMENTSOF(flags); i++)
                *flag_of(&function, &flags[i]) =
                        json_object_get_boolean(json_object_object_get(object, flags[i].name));
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
                json_object *address = json_object_array_get_idx(array, i);

                if (!json_object_is_type(address, json_type_string) ||
                    !pci_address_valid(json_object_get_string(address)))
                        return -EBADMSG;
                inhibitor->addresses[i] = strdup(json_object_get_string(address));
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

int handover_parse(const char *text, size_t size, Handover *ret, unsigned *ret_skipped) {
        _cleanup_(json_putp) json_object *root = NULL;
        Handover handover = { 0 };
        uint64_t version;
        int r;

        assert(text);
        assert(ret);
        assert(ret_skipped);

        *ret_skipped = 0;
        root = strlen(text) == size ? json_tokener_parse(text) : NULL;
        if (!json_object_is_type(root, json_type_object) ||
            parse_number(root, "version", UINT64_MAX, &version) < 0)
                return -EBADMSG;
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
