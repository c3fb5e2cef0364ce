/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the objects on the bus show. */

#include "observer.h"
#include "registry.h"
#include "ring.h"

typedef struct BusModel {
        Registry *registry; /* NULL while there is none */
        const Ring *ring;
        const Observer *observer; /* NULL while there is none */
} BusModel;
