/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "ring-image.h"

RingFunction *ring_find_function(const Ring *ring, uint32_t fid) {
        RingFunction *functions = ring->image->functions;

        for (size_t i = 0; i < RING_FUNCTIONS; i++)
                if (functions[i].used && functions[i].fid == fid)
                        return &functions[i];

        return NULL;
}

static RingFunction *ring_find_place(const Ring *ring) {
        RingFunction *functions = ring->image->functions;

        for (size_t i = 0; i < RING_FUNCTIONS; i++)
                if (!functions[i].used)
                        return &functions[i];

        return NULL;
}

RingFunction *ring_function(Ring *ring, uint32_t fid) {
        RingFunction *function;

        assert(ring);

        function = ring_find_function(ring, fid);
        if (function)
                return function;

        function = ring_find_place(ring);
        if (!function)
                return NULL;

        memset(function, 0, sizeof(*function));
        function->fid = fid;
        function->since = ring_head(ring);
        RING_STORE(function->used, 1);
        return function;
}

void ring_forget_function(Ring *ring, uint32_t fid) {
        RingFunction *function;

        assert(ring);

        function = ring_find_function(ring, fid);
        if (function)
                RING_STORE(function->used, 0);
}

void ring_function_fold(RingFunction *function) {
        uint64_t wakeup;

        assert(function);

        wakeup = function->wakeup;
        if (wakeup != 0) {
                RING_STORE(function->signalled_next, function->signalled + wakeup);
                RING_STORE(function->wakeup, 0);
        }
        RING_STORE(function->signalled, function->signalled_next);
}
