/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "pairing-private.h"

void pairing_defer(Pairing *pairing, uint32_t fid, uint64_t now_usec) {
        Error *error;

        assert(pairing);

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->fid == fid && error->waiting)
                        error_wait(pairing, error, now_usec);
        }
}

static bool pairing_overflows(const Pairing *pairing) {
        return pairing->n_waiting > PAIRING_WAITING;
}

/* Nothing waits for a richer account any more: it would be a second record. A uevent can still be
 * superfluous. */
static void
pairing_take_out(Pairing *pairing, Error *error, uint64_t now_usec, PairingAccount *ret) {
        *ret = (PairingAccount){
                .source = error->source,
                .fid = error->fid,
                .pec = error->pec,
                .time_usec = error->time_usec,
        };

        error->expected &= BIT(RECORD_UEVENT);
        error_settle(pairing, error, now_usec);
}

bool pairing_take(Pairing *pairing, uint32_t fid, uint64_t now_usec, PairingAccount *ret) {
        Error *error;

        assert(pairing);
        assert(ret);

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->fid == fid && error->waiting) {
                        pairing_take_out(pairing, error, now_usec, ret);
                        return true;
                }
        }

        return false;
}

bool pairing_due(Pairing *pairing, uint64_t now_usec, PairingAccount *ret) {
        Error *error;

        assert(pairing);
        assert(ret);

        pairing_expire(pairing, now_usec);

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->waiting &&
                    (error->until_usec <= now_usec || pairing_overflows(pairing))) {
                        pairing_take_out(pairing, error, now_usec, ret);
                        return true;
                }
        }

        return false;
}

uint64_t pairing_next_usec(const Pairing *pairing) {
        uint64_t next = UINT64_MAX;
        Error *error;

        assert(pairing);

        if (pairing_overflows(pairing))
                return 0;

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->waiting && error->until_usec < next)
                        next = error->until_usec;
        }

        return next;
}
