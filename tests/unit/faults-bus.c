/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What sd-bus has to allocate memory for. */

#include <stdarg.h>
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

WRAPPED(sd_bus_message_new_signal,
        (sd_bus * bus,
         sd_bus_message **ret,
         const char *path,
         const char *interface,
         const char *member),
        (bus, ret, path, interface, member))
WRAPPED(sd_bus_message_open_container,
        (sd_bus_message * m, char type, const char *contents),
        (m, type, contents))
WRAPPED(sd_bus_message_close_container, (sd_bus_message * m), (m))
WRAPPED(sd_bus_message_append_array,
        (sd_bus_message * m, char type, const void *p, size_t size),
        (m, type, p, size))
WRAPPED(sd_bus_send, (sd_bus * bus, sd_bus_message *m, uint64_t *cookie), (bus, m, cookie))

int __wrap_sd_bus_message_append(sd_bus_message *m, const char *types, ...);

int __wrap_sd_bus_message_append(sd_bus_message *m, const char *types, ...) {
        va_list args;
        int r;

        r = fault("sd_bus_message_append");
        if (r < 0)
                return r;

        va_start(args, types);
        r = sd_bus_message_appendv(m, types, args);
        va_end(args);
        return r;
}
