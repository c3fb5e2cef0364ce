/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "pairing-error.h"
#include "pec.h"

unsigned pairing_uevent_of(uint16_t pec) {
        PecSeverity severity = pec_describe(pec).severity;

        return severity == PEC_PERMANENT || severity == PEC_INFORMATIONAL ? 0 : BIT(RECORD_UEVENT);
}

/* Into this list, NULL for none; at its end, unless it is there already. */
static void pairing_move(Pairing *pairing, Error *error, struct ErrorList *to) {
        if (error->in == to)
                return;

        pairing->n_waiting -= error->in == &pairing->waiting;
        pairing->n_waiting += to == &pairing->waiting;
        if (error->in)
                TAILQ_REMOVE(error->in, error, list);
        if (to)
                TAILQ_INSERT_TAIL(to, error, list);
        error->in = to;
}

void pairing_forget(Pairing *pairing, Error *error) {
        pairing_move(pairing, error, &pairing->unused);
}

void pairing_wait(Pairing *pairing, Error *error, uint64_t now_usec) {
        pairing_move(pairing, error, &pairing->waiting);
        error->until_usec = now_usec + PAIRING_WAIT_USEC;
}

/* Remembers it where those look for it that may still tell it. */
static void pairing_remember(Pairing *pairing, Error *error) {
        pairing_move(pairing,
                     error,
                     error->expected == 0                    ? &pairing->unused
                     : error->expected == BIT(RECORD_UEVENT) ? &pairing->silent
                                                             : &pairing->remembered);
}

void pairing_settle(Pairing *pairing, Error *error, uint64_t now_usec) {
        error->until_usec = now_usec + PAIRING_MEMORY_USEC;
        pairing_remember(pairing, error);
}

void pairing_publish(Pairing *pairing, Error *error, uint64_t now_usec, PairingAccount *ret) {
        *ret = error->account;

        /* A richer account is a second record from now on; poorer ones can still be superfluous. */
        error->expected &= BIT(RECORD_UEVENT) |
                           (error->account.source == RECORD_WITNESS ? BIT(RECORD_KMSG) : 0);
        pairing_settle(pairing, error, now_usec);
}

void pairing_told(Pairing *pairing, Error *error, RecordSource source) {
        error->expected &= ~BIT(source);
        if (error->in != &pairing->waiting)
                pairing_remember(pairing, error);
}

/* Something waits only where the caller left it lying, see PAIRING_WAITING. */
static void pairing_make_room(Pairing *pairing) {
        Error *error = TAILQ_FIRST(&pairing->silent)
                        ?: TAILQ_FIRST(&pairing->remembered)
                        ?: TAILQ_FIRST(&pairing->waiting);

        if (error->in != &pairing->waiting && (error->expected & BIT(RECORD_UEVENT)) != 0)
                pairing->crowded_usec = error->until_usec;
        pairing_forget(pairing, error);
}

Error *pairing_add(Pairing *pairing, Error from) {
        Error *error;

        if (TAILQ_EMPTY(&pairing->unused))
                pairing_make_room(pairing);

        error = TAILQ_FIRST(&pairing->unused);
        pairing_move(pairing, error, NULL);
        *error = from;

        return error;
}

static void pairing_expire_these(Pairing *pairing, struct ErrorList *errors, uint64_t now_usec) {
        Error *error;

        while ((error = TAILQ_FIRST(errors)) && error->until_usec < now_usec)
                pairing_forget(pairing, error);
}

void pairing_expire(Pairing *pairing, uint64_t now_usec) {
        pairing_expire_these(pairing, &pairing->remembered, now_usec);
        pairing_expire_these(pairing, &pairing->silent, now_usec);
}

Error *pairing_find_uevent(const Pairing *pairing, uint32_t fid) {
        Error *error;

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->account.fid == fid && error->account.source == RECORD_UEVENT)
                        return error;
        }

        return NULL;
}

static Error *errors_find_silent(const struct ErrorList *errors, uint32_t fid) {
        Error *error;

        TAILQ_FOREACH(error, errors, list) {
                if (error->account.fid == fid && (error->expected & BIT(RECORD_UEVENT)) != 0)
                        return error;
        }

        return NULL;
}

Error *pairing_find_silent(const Pairing *pairing, uint32_t fid) {
        return errors_find_silent(&pairing->waiting, fid)
                       ?: errors_find_silent(&pairing->silent, fid)
                       ?: errors_find_silent(&pairing->remembered, fid);
}

/* Whether two accounts can be of the same error, by what both say of it. */
static bool same_error(const PairingAccount *a, const PairingAccount *b) {
        CcdfError x, y;

        if (a->fid != b->fid || a->pec != b->pec)
                return false;
        if (!a->detailed || !b->detailed)
                return true;

        return ccdf_decode(a->raw, sizeof(a->raw), &x) >= 0 &&
               ccdf_decode(b->raw, sizeof(b->raw), &y) >= 0 && x.fh == y.fh &&
               x.failing_address == y.failing_address;
}

Error *
pairing_find_waiting(const Pairing *pairing, RecordSource source, const PairingAccount *account) {
        Error *error;

        TAILQ_FOREACH(error, &pairing->waiting, list) {
                if (error->account.source == source && same_error(&error->account, account))
                        return error;
        }

        return NULL;
}

/* How young a line of this error can be … */
static uint64_t error_line_end(const Error *error) {
        return error->account.time_usec + (error->exact ? 0 : PAIRING_SLACK_USEC);
}

/* … and how old: the kernel's queue may have kept a record for any time, the witness is prompt. */
static uint64_t error_line_begin(const Error *error) {
        return error->account.source == RECORD_WITNESS &&
                               error->account.time_usec > PAIRING_SLACK_USEC
                       ? error->account.time_usec - PAIRING_SLACK_USEC
                       : 0;
}

/*
 * A record is drained after its line was written, so a line that is younger is another error's. Of
 * several the one for which the fewest lines are old enough: the others can take what comes later.
 */
static Error *
errors_find_record(const struct ErrorList *errors, uint32_t fid, uint16_t pec, uint64_t line_usec) {
        Error *error, *best = NULL;

        TAILQ_FOREACH(error, errors, list) {
                if (error->account.fid == fid && error->account.pec == pec &&
                    (error->expected & BIT(RECORD_KMSG)) != 0 &&
                    line_usec >= error_line_begin(error) && line_usec <= error_line_end(error) &&
                    (!best || error_line_end(error) < error_line_end(best)))
                        best = error;
        }

        return best;
}

Error *pairing_find_record(const Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t line_usec) {
        Error *told = errors_find_record(&pairing->remembered, fid, pec, line_usec);
        Error *waits = errors_find_record(&pairing->waiting, fid, pec, line_usec);

        return told && (!waits || error_line_end(told) <= error_line_end(waits)) ? told : waits;
}

/* It was not drained before it happened. Of several the one that was drained first. */
Error *pairing_find_drained(const Pairing *pairing, const PairingAccount *account) {
        Error *error, *best = NULL;

        TAILQ_FOREACH(error, &pairing->remembered, list) {
                if ((error->expected & BIT(RECORD_WITNESS)) != 0 &&
                    same_error(&error->account, account) &&
                    account->time_usec <= error->account.time_usec &&
                    (!best || error->account.time_usec < best->account.time_usec))
                        best = error;
        }

        return best;
}
