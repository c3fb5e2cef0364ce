/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What makes a connection to the bus, and shows objects on it. */

#include <systemd/sd-bus.h>

#include "faults.h"

/* The linker's names, see --wrap in ld(1). */
#define WRAPPED(name, parameters, arguments)                                                       \
        int __real_##name parameters;                                                              \
        int __wrap_##name parameters;                                                              \
        int __wrap_##name parameters {                                                             \
                int r = fault(#name);                                                              \
                                                                                                   \
                return r < 0 ? r : __real_##name arguments;                                        \
        }

WRAPPED(sd_bus_open_system_with_description,
        (sd_bus * *ret, const char *description),
        (ret, description))
WRAPPED(sd_bus_set_close_on_exit, (sd_bus * bus, int enabled), (bus, enabled))
WRAPPED(sd_bus_match_signal_async,
        (sd_bus * bus,
         sd_bus_slot **ret,
         const char *sender,
         const char *path,
         const char *interface,
         const char *member,
         sd_bus_message_handler_t handler,
         sd_bus_message_handler_t installed,
         void *userdata),
        (bus, ret, sender, path, interface, member, handler, installed, userdata))
WRAPPED(sd_bus_attach_event, (sd_bus * bus, sd_event *event, int priority), (bus, event, priority))
WRAPPED(sd_bus_request_name_async,
        (sd_bus * bus,
         sd_bus_slot **ret,
         const char *name,
         uint64_t flags,
         sd_bus_message_handler_t handler,
         void *userdata),
        (bus, ret, name, flags, handler, userdata))
WRAPPED(sd_bus_add_object_vtable,
        (sd_bus * bus,
         sd_bus_slot **ret,
         const char *path,
         const char *interface,
         const sd_bus_vtable *vtable,
         void *userdata),
        (bus, ret, path, interface, vtable, userdata))
WRAPPED(sd_bus_add_fallback_vtable,
        (sd_bus * bus,
         sd_bus_slot **ret,
         const char *prefix,
         const char *interface,
         const sd_bus_vtable *vtable,
         sd_bus_object_find_t find,
         void *userdata),
        (bus, ret, prefix, interface, vtable, find, userdata))
WRAPPED(sd_bus_add_object_manager,
        (sd_bus * bus, sd_bus_slot **ret, const char *path),
        (bus, ret, path))
WRAPPED(sd_bus_add_node_enumerator,
        (sd_bus * bus,
         sd_bus_slot **ret,
         const char *path,
         sd_bus_node_enumerator_t callback,
         void *userdata),
        (bus, ret, path, callback, userdata))
WRAPPED(sd_bus_emit_object_added, (sd_bus * bus, const char *path), (bus, path))
WRAPPED(sd_bus_emit_object_removed, (sd_bus * bus, const char *path), (bus, path))
WRAPPED(sd_bus_emit_properties_changed_strv,
        (sd_bus * bus, const char *path, const char *interface, char **names),
        (bus, path, interface, names))
