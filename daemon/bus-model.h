/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the objects on the bus show, and what their methods work on. */

#include <stdbool.h>

#include "inhibitor.h"
#include "log.h"
#include "observer.h"
#include "polkit.h"
#include "registry.h"
#include "ring.h"
#include "worker.h"

typedef struct BusModel {
        Registry *registry; /* NULL while there is none */
        Inhibitors *inhibitors;
        Worker *worker;
        const Ring *ring;
        const Observer *observer; /* NULL while there is none */
        Log *log;
        Polkit *polkit;
        unsigned n_attaching; /* Attach() calls under way */
        bool listening;       /* to owners that leave, on this connection */
        char bus_id[33];      /* of the bus that has the owners; empty if there was none */
} BusModel;
