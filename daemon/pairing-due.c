/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "pairing-error.h"
#include "pec.h"

void pairing_defer(Pairing *pairing, uint32_t fid, uint64_t now_usec) {
        Error *error;

        assert(pairing);

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->account.fid == fid)
                        pairing_wait(pairing, error, now_usec);
        }
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

bool pairing_due(Pairing *pairing, uint64_t now_usec, PairingAccount *ret) {
        Error *error;

        assert(pairing);
        assert(ret);

        pairing_expire(pairing, now_usec);

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->until_usec <= now_usec || pairing_overflows(pairing)) {
                        pairing_publish(pairing, error, now_usec, ret);
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

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->until_usec < next)
                        next = error->until_usec;
        }

        return next;
}
