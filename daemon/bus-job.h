/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Why systemd ends the daemon: to start it again at once, or for good.
 *
 * The service manager keeps devices for the next run. At the end of a unit it closes them, one after
 * the other and waiting for each (systemd before 254): the host's PID 1 would stand still for as
 * long as all their resets take.
 */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "util.h"

typedef struct BusJob BusJob;

typedef struct BusJobListener {
        /*
         * From the event loop, once: whether another run follows. Also true if that is not to be
         * learnt: there is no systemd on this bus, or it is silent.
         */
        void (*answer)(bool restart, void *userdata);
        void *userdata;
} BusJobListener;

/* Asks. Waits for the answer half a second. Returns 0, -ENOMEM, or an error of sd-bus or sd-event. */
int bus_job_ask(sd_bus *connection, const BusJobListener *listener, BusJob **ret);
/* Asks no longer. Tells nobody. */
BusJob *bus_job_free(BusJob *job);
DEFINE_TRIVIAL_CLEANUP_FUNC(BusJob *, bus_job_free);
