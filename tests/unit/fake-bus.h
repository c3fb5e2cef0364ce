/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A system bus in the event loop of the test. It can do what real ones do only when it hurts: be
 * absent, hang, refuse, go away. It reads what the daemon sends, and counts it.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

typedef struct FakeBus {
        sd_event *event;
        char directory[32], path[64];
        int listening;
        sd_event_source *listening_source;
        sd_bus *peer; /* the daemon's connection */

        const char *name_error; /* what RequestName answers … */
        unsigned n_name_exists; /* … or how often it says that the name exists */
        bool name_nonsense;     /* … or no number at all */
        bool mute;              /* it accepts connections and says nothing */

        unsigned n_connections, n_requests;
        unsigned n_errors, n_added, n_removed, n_changed;
        uint64_t last_sequence;
        char changed[256]; /* properties of the last PropertiesChanged */
} FakeBus;

/*
 * bus is zero. Chooses the address, which DBUS_SYSTEM_BUS_ADDRESS is set to; there is no bus yet.
 */
void fake_bus_setup(FakeBus *bus, sd_event *event);
void fake_bus_teardown(FakeBus *bus);

void fake_bus_appear(FakeBus *bus);
void fake_bus_disappear(FakeBus *bus);
