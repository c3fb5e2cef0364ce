/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "polkit-wire.h"

#define ALLOW_USER_INTERACTION UINT32_C(1) /* of CheckAuthorizationFlags */

#define DEFAULT_USEC     UINT64_C(0)          /* sd-bus has one */
#define INTERACTIVE_USEC (300 * USEC_PER_SEC) /* somebody looks for a password and types it */

int polkit_wire_ask_caller(sd_bus *bus,
                           sd_bus_slot **ret_slot,
                           const char *sender,
                           sd_bus_message_handler_t callback,
                           void *userdata) {
        int r;

        assert(bus);
        assert(ret_slot);
        assert(sender);
        assert(callback);

        r = sd_bus_call_method_async(bus,
                                     ret_slot,
                                     "org.freedesktop.DBus",
                                     "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus",
                                     "GetConnectionCredentials",
                                     callback,
                                     userdata,
                                     "s",
                                     sender);
        return r < 0 ? r : 0;
}

/* One entry of the credentials; those that are not known here are passed over. */
static int read_credential(sd_bus_message *m, uint32_t *uid, uint32_t *pid) {
        const char *name;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;

        if (strcmp(name, "UnixUserID") == 0)
                return sd_bus_message_read(m, "v", "u", uid);
        if (strcmp(name, "ProcessID") == 0)
                return sd_bus_message_read(m, "v", "u", pid);
        return sd_bus_message_skip(m, "v");
}

int polkit_wire_read_caller(sd_bus_message *answer, PolkitCaller *ret) {
        uint32_t uid = UINT32_MAX, pid = 0;
        int r;

        assert(answer);
        assert(ret);

        r = sd_bus_message_enter_container(answer, SD_BUS_TYPE_ARRAY, "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(answer, SD_BUS_TYPE_DICT_ENTRY, "sv")) > 0) {
                r = read_credential(answer, &uid, &pid);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(answer);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        if (uid == UINT32_MAX)
                return -ENODATA;

        *ret = (PolkitCaller){ .uid = uid, .pid = pid <= INT32_MAX ? (pid_t) pid : 0 };
        return 0;
}

static int append_check(sd_bus_message *m, const PolkitCheck *check) {
        int r;

        r = sd_bus_message_append(
                m, "(sa{sv})s", "system-bus-name", 1, "name", "s", check->sender, check->action);
        if (r < 0)
                return r;

        r = check->address ? sd_bus_message_append(m, "a{ss}", 1, "address", check->address)
                           : sd_bus_message_append(m, "a{ss}", 0);
        if (r < 0)
                return r;

        /* The empty string is no identifier to cancel it by. */
        return sd_bus_message_append(
                m, "us", check->interactive ? ALLOW_USER_INTERACTION : UINT32_C(0), "");
}

int polkit_wire_ask_verdict(sd_bus *bus,
                            sd_bus_slot **ret_slot,
                            const PolkitCheck *check,
                            sd_bus_message_handler_t callback,
                            void *userdata) {
        sd_bus_message *m = NULL;
        int r;

        assert(bus);
        assert(ret_slot);
        assert(check);
        assert(callback);

        r = sd_bus_message_new_method_call(bus,
                                           &m,
                                           POLKIT_NAME,
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority",
                                           "CheckAuthorization");
        if (r >= 0)
                r = append_check(m, check);
        if (r >= 0)
                r = sd_bus_call_async(bus,
                                      ret_slot,
                                      m,
                                      callback,
                                      userdata,
                                      check->interactive ? INTERACTIVE_USEC : DEFAULT_USEC);

        sd_bus_message_unref(m);
        return r < 0 ? r : 0;
}

int polkit_wire_read_verdict(sd_bus_message *answer, PolkitVerdict *ret) {
        int authorized, challenge, r;

        assert(answer);
        assert(ret);

        r = sd_bus_message_enter_container(answer, SD_BUS_TYPE_STRUCT, "bba{ss}");
        if (r < 0)
                return r;
        if (r == 0)
                return -ENODATA; /* an empty message */

        r = sd_bus_message_read(answer, "bb", &authorized, &challenge);
        if (r < 0)
                return r;

        *ret = authorized ? POLKIT_YES : challenge ? POLKIT_CHALLENGE : POLKIT_NO;
        return 0;
}

bool polkit_wire_is_absent(const sd_bus_error *error) {
        static const char *const prefixes[] = {
                SD_BUS_ERROR_SERVICE_UNKNOWN,
                SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                "org.freedesktop.DBus.Error.Spawn.",
                "org.freedesktop.systemd1.", /* no such unit, or it is masked */
        };

        assert(error);

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (strncmp(error->name, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}
