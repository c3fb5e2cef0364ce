/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "pairing-private.h"

bool pairing_defer(Pairing *pairing, uint32_t fid, uint64_t now_usec) {
        bool deferred = false;
        Error *error;

        assert(pairing);

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->fid != fid || !error->waiting)
                        continue;
                deferred |= !error->deferred || error->until_usec <= now_usec;
                error->deferred = true;
                error_wait(pairing, error, now_usec);
        }

        return deferred;
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

/* What was deferred gives way last: its record may be drained any moment. */
static Error *pairing_first_due(const Pairing *pairing, uint64_t now_usec) {
        Error *error, *first = NULL;

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (!error->waiting)
                        continue;
                if (error->until_usec <= now_usec)
                        return error;
                if (!first || error->deferred < first->deferred ||
                    (error->deferred == first->deferred && error->until_usec < first->until_usec))
                        first = error;
        }

        return pairing_overflows(pairing) ? first : NULL;
}

bool pairing_due(Pairing *pairing, uint64_t now_usec, PairingAccount *ret) {
        Error *error;

        assert(pairing);
        assert(ret);

        pairing_expire(pairing, now_usec);

        error = pairing_first_due(pairing, now_usec);
        if (!error)
                return false;

        pairing_take_out(pairing, error, now_usec, ret);
        return true;
}

bool pairing_is_due(const Pairing *pairing, uint64_t now_usec, uint32_t *ret_fid) {
        const Error *error;

        assert(pairing);
        assert(ret_fid);

        error = pairing_first_due(pairing, now_usec);
        if (!error)
                return false;

        *ret_fid = error->fid;
        return true;
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
