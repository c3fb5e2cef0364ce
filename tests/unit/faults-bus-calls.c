/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What asks the bus. */

#include <stdarg.h>
#include <systemd/sd-bus.h>

#include "faults.h"

/* The linker's names, see --wrap in ld(1). */
int __real_sd_bus_get_bus_id(sd_bus *bus, sd_id128_t *ret);
int __wrap_sd_bus_get_bus_id(sd_bus *bus, sd_id128_t *ret);
int __real_sd_bus_add_match_async(sd_bus *bus,
                                  sd_bus_slot **ret,
                                  const char *match,
                                  sd_bus_message_handler_t handler,
                                  sd_bus_message_handler_t installed,
                                  void *userdata);
int __wrap_sd_bus_add_match_async(sd_bus *bus,
                                  sd_bus_slot **ret,
                                  const char *match,
                                  sd_bus_message_handler_t handler,
                                  sd_bus_message_handler_t installed,
                                  void *userdata);
int __wrap_sd_bus_call_method_async(sd_bus *bus,
                                    sd_bus_slot **ret,
                                    const char *destination,
                                    const char *path,
                                    const char *interface,
                                    const char *member,
                                    sd_bus_message_handler_t handler,
                                    void *userdata,
                                    const char *types,
                                    ...);

int __wrap_sd_bus_get_bus_id(sd_bus *bus, sd_id128_t *ret) {
        int r = fault("sd_bus_get_bus_id");

        return r < 0 ? r : __real_sd_bus_get_bus_id(bus, ret);
}

int __wrap_sd_bus_add_match_async(sd_bus *bus,
                                  sd_bus_slot **ret,
                                  const char *match,
                                  sd_bus_message_handler_t handler,
                                  sd_bus_message_handler_t installed,
                                  void *userdata) {
        int r = fault("sd_bus_add_match_async");

        return r < 0 ? r
                     : __real_sd_bus_add_match_async(bus, ret, match, handler, installed, userdata);
}

int __wrap_sd_bus_call_method_async(sd_bus *bus,
                                    sd_bus_slot **ret,
                                    const char *destination,
                                    const char *path,
                                    const char *interface,
                                    const char *member,
                                    sd_bus_message_handler_t handler,
                                    void *userdata,
                                    const char *types,
                                    ...) {
        va_list args;
        int r;

        r = fault("sd_bus_call_method_async");
        if (r < 0)
                return r;

        va_start(args, types);
        r = sd_bus_call_method_asyncv(
                bus, ret, destination, path, interface, member, handler, userdata, types, args);
        va_end(args);
        return r;
}
