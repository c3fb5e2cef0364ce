/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The daemon on the system bus: org.zpci.Errord1, its objects, and every entry of the ring as a
 * signal.
 *
 * The bus may be absent, hung, or go away at any time. Then error records wait in the ring, the
 * rest of the daemon goes on, and the connection comes back by itself. Nothing here ever blocks
 * the loop.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "log.h"
#include "observer.h"
#include "registry.h"
#include "ring.h"

typedef struct Bus Bus;

typedef struct BusListener {
        /*
         * Once, from the event loop: devices may be touched. Either the name is ours, or there is
         * no bus to be had now (absent, refuses us the name, or silent for five seconds).
         */
        void (*ready)(bool connected, void *userdata);
        /* Another daemon owns the name. This one has nothing to do but to exit. */
        void (*name_taken)(void *userdata);
        void *userdata;
} BusListener;

/* What the bus shows and works on; all of it must outlive it. */
typedef struct BusContext {
        sd_event *event;
        Ring *ring;
        Inhibitors *inhibitors;
        Worker *worker;
        Log *log;
        const char *former_bus_id; /* of the bus that the owners of a former run were on, or "" */
} BusContext;

/*
 * Makes the daemon's side of the bus; the connection begins in the event loop. The address is
 * DBUS_SYSTEM_BUS_ADDRESS, else the usual one. *context and *listener are copied. Returns 0,
 * -ENOMEM, or an error of sd-event.
 */
int bus_new(const BusContext *context, const BusListener *listener, Bus **ret);
/* Closes the connection, which frees the name. Nothing is flushed, see bus_finish(). */
Bus *bus_free(Bus *bus);
DEFINE_TRIVIAL_CLEANUP_FUNC(Bus *, bus_free);

/*
 * The functions whose objects are shown; NULL (as at first) for none. To be told before the first
 * of them is added, and with NULL before the registry is freed.
 */
void bus_set_registry(Bus *bus, Registry *registry);

/* Whose witness the property Witness tells of; NULL (as at first) for none. */
void bus_set_observer(Bus *bus, const Observer *observer);

/* What happens to functions of the registry: signals, if there is a bus. */
void bus_function_added(Bus *bus, Function *function);    /* after it was added */
void bus_function_removing(Bus *bus, Function *function); /* while it is still there */
void bus_function_changed(Bus *bus, Function *function, FunctionChange what);

/* The bus that is there, or was last: 32 hexadecimal digits, or empty. */
const char *bus_id(const Bus *bus);

/*
 * At the end of the daemon: asks why it is to end. The answer comes from the event loop, or at once
 * if there is nobody to ask, and only once. See bus-job.h.
 */
void bus_ask_restart(Bus *bus, void (*answer)(bool restart, void *userdata), void *userdata);

/*
 * At the end of the daemon: emits what is in the ring and writes it to the bus, within a second.
 * Returns how many entries the bus has not got.
 */
uint64_t bus_finish(Bus *bus);
