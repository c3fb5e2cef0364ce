/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "bus-calls.h"
#include "bus-function.h"
#include "bus-record.h"

void bus_function_path(uint32_t fid, char ret[static BUS_FUNCTION_PATH_SIZE]) {
        (void) snprintf(ret, BUS_FUNCTION_PATH_SIZE, ERRORD_FUNCTION_PREFIX "/%08x", fid);
}

/* The getters get the address of the member that the vtable names. */

static int get_text(sd_bus *connection,
                    const char *path,
                    const char *interface,
                    const char *property,
                    sd_bus_message *reply,
                    void *userdata,
                    sd_bus_error *ret_error) {
        return sd_bus_message_append(reply, "s", (const char *) userdata);
}

static int get_pft_name(sd_bus *connection,
                        const char *path,
                        const char *interface,
                        const char *property,
                        sd_bus_message *reply,
                        void *userdata,
                        sd_bus_error *ret_error) {
        return sd_bus_message_append(reply, "s", sysfs_pft_name(*(const uint8_t *) userdata));
}

static int get_state(sd_bus *connection,
                     const char *path,
                     const char *interface,
                     const char *property,
                     sd_bus_message *reply,
                     void *userdata,
                     sd_bus_error *ret_error) {
        return sd_bus_message_append(
                reply, "s", state_to_string(*(const FunctionState *) userdata));
}

static int get_holder(sd_bus *connection,
                      const char *path,
                      const char *interface,
                      const char *property,
                      sd_bus_message *reply,
                      void *userdata,
                      sd_bus_error *ret_error) {
        return sd_bus_message_append(reply, "s", function_holder(userdata));
}

static int get_error_interface(sd_bus *connection,
                               const char *path,
                               const char *interface,
                               const char *property,
                               sd_bus_message *reply,
                               void *userdata,
                               sd_bus_error *ret_error) {
        return sd_bus_message_append(
                reply, "s", record_interface_to_string(*(const RecordInterface *) userdata));
}

static int get_recovery(sd_bus *connection,
                        const char *path,
                        const char *interface,
                        const char *property,
                        sd_bus_message *reply,
                        void *userdata,
                        sd_bus_error *ret_error) {
        return sd_bus_message_append(
                reply, "s", record_recovery_to_string(*(const RecordRecovery *) userdata));
}

#define MEMBER(member) offsetof(Function, member)

static const sd_bus_vtable function_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY(
                "Address", "s", get_text, MEMBER(sysfs.address), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Fid", "u", NULL, MEMBER(sysfs.fid), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Uid", "u", NULL, MEMBER(sysfs.uid), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Pchid", "q", NULL, MEMBER(sysfs.pchid), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Pfgid", "y", NULL, MEMBER(sysfs.pfgid), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Vfn", "q", NULL, MEMBER(sysfs.vfn), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Pft", "y", NULL, MEMBER(sysfs.pft), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "PftName", "s", get_pft_name, MEMBER(sysfs.pft), SD_BUS_VTABLE_PROPERTY_CONST),

        SD_BUS_PROPERTY(
                "State", "s", get_state, MEMBER(state), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY(
                "StateReason", "s", NULL, MEMBER(reason), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Holder", "s", get_holder, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ErrorInterface",
                        "s",
                        get_error_interface,
                        MEMBER(interface),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Recovery",
                        "s",
                        get_recovery,
                        MEMBER(recovery),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY(
                "Driver", "s", get_text, MEMBER(sysfs.driver), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY(
                "FunctionHandle", "u", NULL, MEMBER(sysfs.fh), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),

        SD_BUS_PROPERTY("Records", "t", NULL, MEMBER(records), 0),
        SD_BUS_PROPERTY("Lost", "t", NULL, MEMBER(lost), 0),
        SD_BUS_PROPERTY("LastPec", "q", NULL, MEMBER(last_pec), 0),
        SD_BUS_PROPERTY("LastErrorUSec", "t", NULL, MEMBER(last_error_usec), 0),

        /* Unprivileged as those of the manager: polkit.c finds out who asks. */
        SD_BUS_METHOD("Claim", "", "", bus_call_claim, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Release",
                                SD_BUS_ARGS("t", grace_usec, "a{sv}", options),
                                SD_BUS_NO_RESULT,
                                bus_call_release,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Reset", "", "", bus_call_reset, SD_BUS_VTABLE_UNPRIVILEGED),

        /* Emitted by bus-pump.c, from the ring. */
        SD_BUS_SIGNAL_WITH_ARGS("ErrorReported",
                                SD_BUS_ARGS("s",
                                            address,
                                            "u",
                                            fid,
                                            "q",
                                            pec,
                                            "s",
                                            name,
                                            "s",
                                            severity,
                                            "t",
                                            sequence,
                                            "t",
                                            realtime_usec,
                                            "a{sv}",
                                            details),
                                0),
        SD_BUS_SIGNAL_WITH_ARGS("RecordsLost", SD_BUS_ARGS("s", address, "u", fid, "t", count), 0),
        SD_BUS_SIGNAL_WITH_ARGS(
                "RecoveryChanged", SD_BUS_ARGS("s", address, "u", fid, "s", recovery), 0),

        SD_BUS_VTABLE_END,
};

Function *bus_function_of_path(const BusModel *model, const char *path) {
        char expected[BUS_FUNCTION_PATH_SIZE];
        uint64_t fid;

        assert(model);
        assert(path);

        if (!model->registry ||
            strncmp(path, ERRORD_FUNCTION_PREFIX "/", sizeof(ERRORD_FUNCTION_PREFIX)) != 0 ||
            parse_hex(path + sizeof(ERRORD_FUNCTION_PREFIX), UINT32_MAX, &fid) < 0)
                return NULL;

        /* One spelling only: an object has one path. */
        bus_function_path((uint32_t) fid, expected);
        if (strcmp(path, expected) != 0)
                return NULL;

        return registry_by_fid(model->registry, (uint32_t) fid);
}

static int find_function(sd_bus *connection,
                         const char *path,
                         const char *interface,
                         void *userdata,
                         void **ret_found,
                         sd_bus_error *ret_error) {
        *ret_found = bus_function_of_path(userdata, path);
        return *ret_found ? 1 : 0;
}

/* sd-bus frees the list, and what it points to. */
static void free_nodes(char **nodes) {
        for (char **node = nodes; node && *node; node++)
                free(*node);
        free(nodes);
}

static int enumerate_functions(sd_bus *connection,
                               const char *prefix,
                               void *userdata,
                               char ***ret_nodes,
                               sd_bus_error *ret_error) {
        const BusModel *model = userdata;
        char **nodes;
        size_t n;

        assert(model);

        n = model->registry ? registry_size(model->registry) : 0;
        nodes = calloc(n + 1, sizeof(*nodes));
        if (!nodes)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                char path[BUS_FUNCTION_PATH_SIZE];

                bus_function_path(registry_get(model->registry, i)->sysfs.fid, path);
                nodes[i] = strdup(path);
                if (!nodes[i]) {
                        free_nodes(nodes);
                        return -ENOMEM;
                }
        }

        *ret_nodes = nodes;
        return 0;
}

int bus_function_add(sd_bus *connection, BusModel *model) {
        int r;

        assert(connection);
        assert(model);

        r = sd_bus_add_fallback_vtable(connection,
                                       NULL,
                                       ERRORD_FUNCTION_PREFIX,
                                       ERRORD_FUNCTION_INTERFACE,
                                       function_vtable,
                                       find_function,
                                       model);
        if (r < 0)
                return r;

        return sd_bus_add_node_enumerator(
                connection, NULL, ERRORD_FUNCTION_PREFIX, enumerate_functions, model);
}

int bus_function_emit_added(sd_bus *connection, const Function *function) {
        char path[BUS_FUNCTION_PATH_SIZE];

        bus_function_path(function->sysfs.fid, path);
        return sd_bus_emit_object_added(connection, path);
}

int bus_function_emit_removed(sd_bus *connection, const Function *function) {
        char path[BUS_FUNCTION_PATH_SIZE];

        bus_function_path(function->sysfs.fid, path);
        return sd_bus_emit_object_removed(connection, path);
}

int bus_function_emit_changed(sd_bus *connection, const Function *function, FunctionChange what) {
        static const struct {
                FunctionChange change;
                const char *property;
        } table[] = {
                { FUNCTION_CHANGED_STATE, "State" },
                { FUNCTION_CHANGED_STATE, "StateReason" },
                { FUNCTION_CHANGED_HOLDER, "Holder" },
                { FUNCTION_CHANGED_RECOVERY, "Recovery" },
                { FUNCTION_CHANGED_INTERFACE, "ErrorInterface" },
                { FUNCTION_CHANGED_SYSFS, "Driver" },
                { FUNCTION_CHANGED_SYSFS, "FunctionHandle" },
        };
        char *names[ELEMENTSOF(table) + 1];
        char path[BUS_FUNCTION_PATH_SIZE];
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (what & table[i].change)
                        names[n++] =
                                (char *) table[i]
                                        .property; /* sd-bus takes a strv, and leaves it alone */
        if (n == 0)
                return 0;
        names[n] = NULL;

        bus_function_path(function->sysfs.fid, path);
        return sd_bus_emit_properties_changed_strv(
                connection, path, ERRORD_FUNCTION_INTERFACE, names);
}
