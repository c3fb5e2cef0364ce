/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "pairing-error.h"
#include "pec.h"

int pairing_new(Pairing **ret) {
        Pairing *pairing;

        assert(ret);

        pairing = calloc(1, sizeof(*pairing));
        if (!pairing)
                return -ENOMEM;

        TAILQ_INIT(&pairing->waiting);
        TAILQ_INIT(&pairing->remembered);
        TAILQ_INIT(&pairing->silent);
        TAILQ_INIT(&pairing->unused);
        for (size_t i = 0; i < ELEMENTSOF(pairing->pool); i++)
                pairing_forget(pairing, &pairing->pool[i]);

        *ret = pairing;
        return 0;
}

Pairing *pairing_free(Pairing *pairing) {
        free(pairing);
        return NULL;
}

/* A uevent that came before anything else of this error is superfluous now. */
static void pairing_absorb_uevent(Pairing *pairing, Error *error) {
        Error *uevent;

        if ((error->expected & BIT(RECORD_UEVENT)) == 0)
                return;
        uevent = pairing_find_uevent(pairing, error->account.fid);
        if (!uevent)
                return;

        pairing_forget(pairing, uevent);
        error->expected &= ~BIT(RECORD_UEVENT);
}

void pairing_expect_witness(Pairing *pairing, bool witness) {
        assert(pairing);

        pairing->witness = witness;
}

uint64_t pairing_vfio(Pairing *pairing, const PairingAccount *account) {
        uint64_t witness = 0;
        Error *error;

        assert(pairing);
        assert(account);
        assert(account->source == RECORD_VFIO);

        error = pairing_find_waiting(pairing, RECORD_WITNESS, account);
        if (error)
                witness = error->account.number;
        else {
                error = pairing_find_waiting(pairing, RECORD_KMSG, account);
                if (!error)
                        error = pairing_add(pairing,
                                            (Error){ .expected = BIT(RECORD_KMSG) |
                                                                 pairing_uevent_of(account->pec) });
                if (pairing->witness)
                        error->expected |= BIT(RECORD_WITNESS);
        }
        error->account = *account;

        pairing_absorb_uevent(pairing, error);
        pairing_settle(pairing, error, account->time_usec);
        return witness;
}

uint64_t
pairing_witness(Pairing *pairing, const PairingAccount *account, bool wait, uint64_t now_usec) {
        Error *error;

        assert(pairing);
        assert(account);
        assert(account->source == RECORD_WITNESS);

        pairing_expire(pairing, now_usec);

        error = pairing_find_drained(pairing, account);
        if (error) {
                uint64_t number = error->account.number;

                pairing_told(pairing, error, RECORD_WITNESS);
                return number;
        }

        error = pairing_find_waiting(pairing, RECORD_KMSG, account);
        if (!error)
                error = pairing_add(
                        pairing,
                        (Error){ .expected = BIT(RECORD_KMSG) | pairing_uevent_of(account->pec) });
        error->account = *account;

        pairing_absorb_uevent(pairing, error);
        pairing_wait(pairing, error, now_usec);
        if (!wait)
                error->until_usec = now_usec;
        return 0;
}

void pairing_kmsg(
        Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec, uint64_t now_usec) {
        Error *error;

        assert(pairing);

        pairing_expire(pairing, now_usec);

        error = pairing_find_record(pairing, fid, pec, time_usec);
        if (error) {
                pairing_told(pairing, error, RECORD_KMSG);
                return;
        }

        error = pairing_uevent_of(pec) != 0 ? pairing_find_uevent(pairing, fid) : NULL;
        if (error)
                error->expected = 0;
        else
                error = pairing_add(pairing, (Error){ .expected = pairing_uevent_of(pec) });
        error->account = (PairingAccount){
                .source = RECORD_KMSG,
                .fid = fid,
                .pec = pec,
                .time_usec = time_usec,
        };

        pairing_wait(pairing, error, now_usec);
}

void pairing_uevent(Pairing *pairing, uint32_t fid, uint64_t time_usec, uint64_t now_usec) {
        Error *error;

        assert(pairing);

        pairing_expire(pairing, now_usec);

        error = pairing_find_silent(pairing, fid);
        if (error) {
                pairing_told(pairing, error, RECORD_UEVENT);
                return;
        }
        if (now_usec < pairing->crowded_usec)
                return;

        error = pairing_add(pairing,
                            (Error){ .account = {
                                             .source = RECORD_UEVENT,
                                             .fid = fid,
                                             .time_usec = time_usec,
                                     } });
        pairing_wait(pairing, error, now_usec);
}

void pairing_former(Pairing *pairing,
                    const PairingAccount *account,
                    bool witnessed,
                    uint64_t now_usec) {
        unsigned expected = BIT(RECORD_KMSG);
        Error *error;

        assert(pairing);
        assert(account);

        if (account->source == RECORD_VFIO && pairing->witness && !witnessed)
                expected |= BIT(RECORD_WITNESS);
        /* And not in the future. */
        if (now_usec - account->time_usec <= PAIRING_MEMORY_USEC)
                expected |= pairing_uevent_of(account->pec);

        error = pairing_add(pairing,
                            (Error){
                                    .account = *account,
                                    .expected = expected,
                                    /* The witness comes before its line, all others after it. */
                                    .exact = account->source != RECORD_WITNESS,
                            });
        pairing_settle(pairing, error, now_usec);
}
