/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The connection to the system bus and the daemon's name on it, kept up by itself.
 *
 * Everything is asynchronous: a bus that hangs delays nobody. An attempt that fails is made again
 * after 1 s, doubling up to 60 s; one that hangs goes on, and succeeds as soon as the bus wakes
 * up. An outage is logged once.
 */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "log.h"

typedef struct BusConnection BusConnection;

/* All of these are called from the event loop. */
typedef struct BusConnectionListener {
        /*
         * A fresh connection, to add objects to. Returns 0 or a negative errno, which fails the
         * attempt.
         */
        int (*connecting)(sd_bus *connection, void *userdata);
        /* The name is ours on this connection. */
        void (*owned)(sd_bus *connection, void *userdata);
        /*
         * There is no bus now: the connection ended, could not be made, is refused the name, or
         * nothing was heard of the bus for the first five seconds. owned() may follow at any
         * time.
         */
        void (*away)(void *userdata);
        /* Another process owns the name, and keeps it: this is the end. */
        void (*name_taken)(void *userdata);
        void *userdata;
} BusConnectionListener;

/*
 * The first attempt is made in the event loop. *listener is copied; log must outlive it. Returns 0,
 * -ENOMEM, or an error of sd-event.
 */
int bus_connection_new(sd_event *event,
                       Log *log,
                       const BusConnectionListener *listener,
                       BusConnection **ret);
/* Closes the connection without flushing it, and tells nobody. */
BusConnection *bus_connection_free(BusConnection *bc);
DEFINE_TRIVIAL_CLEANUP_FUNC(BusConnection *, bus_connection_free);

/* Gives the connection up, as if the bus had closed it; what says why. Calls away(). */
void bus_connection_drop(BusConnection *bc, const char *what);
