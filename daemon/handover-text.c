/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "handover-text.h"
#include "value.h"

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
        r = r ?: value_add_bool(object, "claimed", function->claimed);
        r = r ?: value_add_bool(object, "released", function->released);
        r = r ?: value_add_bool(object, "permanent", function->permanent);
        r = r ?: value_add_bool(object, "recovery_limit", function->recovery_limit);
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
