/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "pairing-error.h"
#include "pec.h"

bool pairing_defer(Pairing *pairing, uint32_t fid, uint64_t now_usec) {
        bool deferred = false;
        Error *error;

        assert(pairing);

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->account.fid != fid)
                        continue;
                deferred |= !error->deferred || error->until_usec <= now_usec;
                error->deferred = true;
                pairing_wait(pairing, error, now_usec);
        }

        return deferred;
}

bool pairing_take(Pairing *pairing, uint32_t fid, uint64_t now_usec, PairingAccount *ret) {
        Error *error;

        assert(pairing);
        assert(ret);

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->account.fid == fid) {
                        pairing_publish(pairing, error, now_usec, ret);
                        return true;
                }
        }

        return false;
}

bool pairing_take_dropped(Pairing *pairing, uint32_t fid, uint64_t now_usec, PairingAccount *ret) {
        Error *error;

        assert(pairing);
        assert(ret);

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                /* What is no error never comes near the queue. */
                if (error->account.fid == fid && error->account.source == RECORD_WITNESS &&
                    pec_describe(error->account.pec).severity != PEC_INFORMATIONAL)
                        break;
        }
        if (!error)
                return false;

        pairing_publish(pairing, error, now_usec, ret);
        return true;
}

uint64_t pairing_oldest_witness(const Pairing *pairing) {
        uint64_t oldest = UINT64_MAX;
        Error *error;

        assert(pairing);

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->account.source == RECORD_WITNESS && error->account.number < oldest)
                        oldest = error->account.number;
        }

        return oldest;
}

bool pairing_overflows(const Pairing *pairing) {
        assert(pairing);

        return pairing->n_waiting > PAIRING_WAITING;
}

/* What was deferred gives way last: its record may be drained any moment. */
static Error *pairing_first_due(const Pairing *pairing, uint64_t now_usec) {
        Error *error, *first = NULL;

        TAILQ_FOREACH(error, &pairing->waiting, list) {
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

        pairing_publish(pairing, error, now_usec, ret);
        return true;
}

bool pairing_is_due(const Pairing *pairing, uint64_t now_usec, uint32_t *ret_fid) {
        const Error *error;

        assert(pairing);
        assert(ret_fid);

        error = pairing_first_due(pairing, now_usec);
        if (!error)
                return false;

        *ret_fid = error->account.fid;
        return true;
}

uint64_t pairing_next_usec(const Pairing *pairing) {
        uint64_t next = UINT64_MAX;
        Error *error;

        assert(pairing);

        if (pairing_overflows(pairing))
                return 0;

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->until_usec < next)
                        next = error->until_usec;
        }

        return next;
}
