/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "pairing-private.h"
#include "pec.h"

int pairing_new(Pairing **ret) {
        Pairing *pairing;

        assert(ret);

        pairing = calloc(1, sizeof(*pairing));
        if (!pairing)
                return -ENOMEM;

        TAILQ_INIT(&pairing->errors);
        TAILQ_INIT(&pairing->unused);
        for (size_t i = 0; i < ELEMENTSOF(pairing->pool); i++)
                TAILQ_INSERT_TAIL(&pairing->unused, &pairing->pool[i], list);

        *ret = pairing;
        return 0;
}

Pairing *pairing_free(Pairing *pairing) {
        free(pairing);
        return NULL;
}

/* Neither the permanent errors nor the events that are none send a uevent. */
static unsigned uevent_of(uint16_t pec) {
        PecSeverity severity = pec_describe(pec).severity;

        return severity == PEC_PERMANENT || severity == PEC_INFORMATIONAL ? 0 : BIT(RECORD_UEVENT);
}

static void error_forget(Pairing *pairing, Error *error) {
        TAILQ_REMOVE(&pairing->errors, error, list);
        TAILQ_INSERT_TAIL(&pairing->unused, error, list);
        if (error->waiting)
                pairing->n_waiting--;
}

void error_wait(Pairing *pairing, Error *error, uint64_t now_usec) {
        if (!error->waiting)
                pairing->n_waiting++;
        error->waiting = true;
        error->until_usec = now_usec + PAIRING_WAIT_USEC;
}

/* The error has its record. It is remembered for as long as somebody else may tell it. */
void error_settle(Pairing *pairing, Error *error, uint64_t now_usec) {
        if (error->waiting)
                pairing->n_waiting--;
        error->waiting = false;
        error->until_usec = now_usec + PAIRING_MEMORY_USEC;
        if (error->expected == 0)
                error_forget(pairing, error);
}

static void error_told(Pairing *pairing, Error *error, RecordSource source) {
        error->expected &= ~BIT(source);
        if (!error->waiting && error->expected == 0)
                error_forget(pairing, error);
}

static Error *pairing_oldest(const Pairing *pairing, bool waiting) {
        Error *error;

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->waiting == waiting)
                        return error;
        }

        return NULL;
}

/* Something waits only where the caller left it lying, see PAIRING_WAITING. */
static void pairing_make_room(Pairing *pairing) {
        Error *error = pairing_oldest(pairing, false) ?: pairing_oldest(pairing, true);

        if (!error->waiting && (error->expected & BIT(RECORD_UEVENT)) != 0)
                pairing->crowded_usec = error->until_usec;
        error_forget(pairing, error);
}

static Error *pairing_add(Pairing *pairing, Error from) {
        Error *error;

        if (TAILQ_EMPTY(&pairing->unused))
                pairing_make_room(pairing);

        error = TAILQ_FIRST(&pairing->unused);
        TAILQ_REMOVE(&pairing->unused, error, list);
        *error = from;
        TAILQ_INSERT_TAIL(&pairing->errors, error, list);

        return error;
}

/* Those that are remembered longest are in front, give or take those that were deferred. */
void pairing_expire(Pairing *pairing, uint64_t now_usec) {
        Error *error;

        while ((error = TAILQ_FIRST(&pairing->errors)) && !error->waiting &&
               error->until_usec < now_usec)
                error_forget(pairing, error);
}

/*
 * The oldest error of fid that source is still expected to tell. (The kernel log: of those that
 * wait the ones that only a uevent told, of the others the ones that the VFIO device told.)
 */
static Error *
pairing_find(const Pairing *pairing, uint32_t fid, RecordSource source, bool waiting) {
        Error *error;

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->fid == fid && error->waiting == waiting &&
                    (error->expected & BIT(source)) != 0)
                        return error;
        }

        return NULL;
}

static Error *pairing_find_line(const Pairing *pairing, uint32_t fid, uint16_t pec) {
        Error *error;

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->fid == fid && error->waiting && error->source == RECORD_KMSG &&
                    error->pec == pec)
                        return error;
        }

        return NULL;
}

/* A record is drained after its line was written, so a line that is younger is another error's. */
static Error *
pairing_find_record(const Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t line_usec) {
        Error *error;

        TAILQ_FOREACH(error, &pairing->errors, list) {
                if (error->fid == fid && !error->waiting && error->pec == pec &&
                    (error->expected & BIT(RECORD_KMSG)) != 0 &&
                    line_usec <= error->time_usec + (error->exact ? 0 : PAIRING_SLACK_USEC))
                        return error;
        }

        return NULL;
}

void pairing_vfio(Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec) {
        Error *error, *uevent;

        assert(pairing);

        error = pairing_find_line(pairing, fid, pec);
        if (!error)
                error = pairing_add(pairing,
                                    (Error){
                                            .fid = fid,
                                            .pec = pec,
                                            .expected = BIT(RECORD_KMSG) | uevent_of(pec),
                                    });
        error->source = RECORD_VFIO;
        error->time_usec = time_usec;

        uevent = pairing_find(pairing, fid, RECORD_KMSG, true);
        if (uevent && (error->expected & BIT(RECORD_UEVENT)) != 0) {
                error_forget(pairing, uevent);
                error->expected &= ~BIT(RECORD_UEVENT);
        }

        error_settle(pairing, error, time_usec);
}

void pairing_kmsg(
        Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec, uint64_t now_usec) {
        Error *error;

        assert(pairing);

        pairing_expire(pairing, now_usec);

        error = pairing_find_record(pairing, fid, pec, time_usec);
        if (error) {
                error_told(pairing, error, RECORD_KMSG);
                return;
        }

        error = uevent_of(pec) != 0 ? pairing_find(pairing, fid, RECORD_KMSG, true) : NULL;
        if (error)
                error->expected = 0;
        else
                error = pairing_add(pairing,
                                    (Error){
                                            .fid = fid,
                                            .expected = uevent_of(pec),
                                    });
        error->source = RECORD_KMSG;
        error->pec = pec;
        error->time_usec = time_usec;

        error_wait(pairing, error, now_usec);
}

void pairing_uevent(Pairing *pairing, uint32_t fid, uint64_t time_usec, uint64_t now_usec) {
        Error *error;

        assert(pairing);

        pairing_expire(pairing, now_usec);

        error = pairing_find(pairing, fid, RECORD_UEVENT, true)
                        ?: pairing_find(pairing, fid, RECORD_UEVENT, false);
        if (error) {
                error_told(pairing, error, RECORD_UEVENT);
                return;
        }
        if (now_usec < pairing->crowded_usec)
                return;

        error = pairing_add(pairing,
                            (Error){
                                    .fid = fid,
                                    .source = RECORD_UEVENT,
                                    .expected = BIT(RECORD_KMSG),
                                    .time_usec = time_usec,
                            });
        error_wait(pairing, error, now_usec);
}

void pairing_former(
        Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec, uint64_t now_usec) {
        bool recent = now_usec - time_usec <= PAIRING_MEMORY_USEC; /* nor is it in the future */
        Error *error;

        assert(pairing);

        error = pairing_add(pairing,
                            (Error){
                                    .fid = fid,
                                    .pec = pec,
                                    .source = RECORD_VFIO,
                                    .expected = BIT(RECORD_KMSG) | (recent ? uevent_of(pec) : 0),
                                    .exact = true,
                                    .time_usec = time_usec,
                            });
        error_settle(pairing, error, now_usec);
}
