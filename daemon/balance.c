/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "balance.h"

/* Signals that have no record and are not settled yet. Below zero: records that have no signal. */
static int64_t balance_surplus(const RingFunction *counters) {
        return (int64_t) (counters->signalled - counters->drained - counters->balanced);
}

static bool balance_was_full(const RingFunction *counters) {
        return counters->drained - counters->settled >= BALANCE_QUEUE_LENGTH;
}

void balance_signalled(RingFunction *counters) {
        assert(counters);

        ring_function_fold(counters);
}

void balance_drained(RingFunction *counters) {
        assert(counters);

        RING_STORE(counters->drained, counters->drained + 1);
}

uint64_t balance_lost(const RingFunction *counters) {
        int64_t surplus;

        assert(counters);

        surplus = balance_surplus(counters);
        if (surplus <= 0)
                return 0;
        if (balance_was_full(counters))
                return (uint64_t) surplus;

        /* The kernel handles events one by one: not more than one signal can be late. */
        return counters->late ? 1 : 0;
}

uint64_t balance_rest(const RingFunction *counters) {
        int64_t surplus;

        assert(counters);

        surplus = balance_surplus(counters);
        return surplus > 0 ? (uint64_t) surplus : 0;
}

uint64_t balance_settle(RingFunction *counters, bool first) {
        uint64_t lost, credit;
        int64_t surplus;
        bool late;

        assert(counters);

        surplus = balance_surplus(counters);
        lost = balance_lost(counters);

        /* A record without its signal is a credit, and means that no signal before it is late. */
        credit = surplus < 0 && !first ? 1 : 0;
        if (balance_was_full(counters))
                late = surplus >= 0;
        else
                late = surplus == 0 && counters->late;

        /*
         * In this order: after a crash in between, the queue passes for full once more, no worse.
         */
        RING_STORE(counters->balanced, counters->signalled - counters->drained + credit);
        RING_STORE(counters->late, late);
        RING_STORE(counters->settled, counters->drained);

        return lost;
}
