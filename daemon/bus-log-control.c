/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "bus-log-control.h"
#include "names.h"

static int get_level(sd_bus *connection,
                     const char *path,
                     const char *interface,
                     const char *property,
                     sd_bus_message *reply,
                     void *userdata,
                     sd_bus_error *ret_error) {
        return sd_bus_message_append(reply, "s", log_level_to_string(log_get_level(userdata)));
}

static int set_level(sd_bus *connection,
                     const char *path,
                     const char *interface,
                     const char *property,
                     sd_bus_message *value,
                     void *userdata,
                     sd_bus_error *ret_error) {
        const char *text;
        int r;

        r = sd_bus_message_read(value, "s", &text);
        if (r < 0)
                return r;

        r = log_level_from_string(text);
        if (r < 0)
                return sd_bus_error_set(
                        ret_error,
                        SD_BUS_ERROR_INVALID_ARGS,
                        "LogLevel is one of emerg, alert, crit, err, warning, notice, info, debug.");

        log_set_level(userdata, r);
        return 0;
}

static int get_target(sd_bus *connection,
                      const char *path,
                      const char *interface,
                      const char *property,
                      sd_bus_message *reply,
                      void *userdata,
                      sd_bus_error *ret_error) {
        return sd_bus_message_append(reply, "s", log_target_to_string(log_get_target(userdata)));
}

static int set_target(sd_bus *connection,
                      const char *path,
                      const char *interface,
                      const char *property,
                      sd_bus_message *value,
                      void *userdata,
                      sd_bus_error *ret_error) {
        const char *text;
        int r;

        r = sd_bus_message_read(value, "s", &text);
        if (r < 0)
                return r;

        r = log_target_from_string(text);
        if (r < 0)
                return sd_bus_error_set(ret_error,
                                        SD_BUS_ERROR_INVALID_ARGS,
                                        "LogTarget is one of console, journal, null.");

        log_set_target(userdata, (LogTarget) r);
        return 0;
}

static int get_identifier(sd_bus *connection,
                          const char *path,
                          const char *interface,
                          const char *property,
                          sd_bus_message *reply,
                          void *userdata,
                          sd_bus_error *ret_error) {
        return sd_bus_message_append(reply, "s", ERRORD_PROGRAM);
}

/*
 * Unprivileged means that sd-bus does not check who the sender is: it would ask the bus, and wait
 * for the answer. The policy of the bus lets nobody but root set properties of ours.
 */
static const sd_bus_vtable log_control_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_WRITABLE_PROPERTY(
                "LogLevel", "s", get_level, set_level, 0, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_WRITABLE_PROPERTY(
                "LogTarget", "s", get_target, set_target, 0, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("SyslogIdentifier", "s", get_identifier, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};

int bus_log_control_add(sd_bus *connection, Log *log) {
        assert(connection);
        assert(log);

        return sd_bus_add_object_vtable(connection,
                                        NULL,
                                        "/org/freedesktop/LogControl1",
                                        "org.freedesktop.LogControl1",
                                        log_control_vtable,
                                        log);
}
