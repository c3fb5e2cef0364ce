/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The errors that are known of: pairing-error.c keeps and finds them, pairing.c takes accounts in,
 * and pairing-due.c gives out what becomes a record.
 */

#include <sys/queue.h>

#include "pairing.h"

#define BIT(source) (1U << (source))

TAILQ_HEAD(ErrorList, Error);

/*
 * One error, as far as it was told. It waits for a richer account, or it has its record and is
 * remembered for the poorer accounts that are still to come.
 */
typedef struct Error {
        TAILQ_ENTRY(Error) list;
        struct ErrorList *in;   /* a list of Pairing; NULL at first */
        PairingAccount account; /* the richest so far */
        unsigned expected;      /* BIT()s of the sources that may still tell it */
        bool deferred;          /* it waits longer than most */
        bool exact;             /* no line that is younger than the account belongs to it */
        uint64_t until_usec;    /* until when it waits or is remembered */
} Error;

struct Pairing {
        struct ErrorList waiting;    /* the oldest first */
        struct ErrorList remembered; /* those that are remembered longest first, as in … */
        struct ErrorList silent;     /* … those of which only the uevent is missing */
        struct ErrorList unused;
        bool witness; /* whether it runs, and so is expected to tell of every error */
        unsigned n_waiting;
        /* Until when uevents may come of errors that are forgotten already. */
        uint64_t crowded_usec;
        Error pool[PAIRING_ACCOUNTS];
};

/* The bit of the uevent, or none: neither permanent errors nor the events that are none send one. */
unsigned pairing_uevent_of(uint16_t pec);

/*
 * Takes in an error, which is to wait or be settled next. Of those that are in already, the one that
 * is remembered longest may go; first those of which only the uevent is missing.
 */
Error *pairing_add(Pairing *pairing, Error from);
void pairing_forget(Pairing *pairing, Error *error);
/* Forgets those that were remembered long enough. */
void pairing_expire(Pairing *pairing, uint64_t now_usec);

/* The error waits for a richer account. */
void pairing_wait(Pairing *pairing, Error *error, uint64_t now_usec);
/* The error has its record. It is remembered for as long as somebody else may tell it. */
void pairing_settle(Pairing *pairing, Error *error, uint64_t now_usec);
/* Its account becomes the record. */
void pairing_publish(Pairing *pairing, Error *error, uint64_t now_usec, PairingAccount *ret);
/* Another source told it. May forget it. */
void pairing_told(Pairing *pairing, Error *error, RecordSource source);

/* All of these give NULL if none is so; of several the oldest, where nothing else is said. */

/* Of fid, and only a uevent told it. */
Error *pairing_find_uevent(const Pairing *pairing, uint32_t fid);
/* Of fid, and a uevent is still expected to tell it; one that waits, if there is one. */
Error *pairing_find_silent(const Pairing *pairing, uint32_t fid);
/* It waits with an account of this source, and may be the same error. */
Error *
pairing_find_waiting(const Pairing *pairing, RecordSource source, const PairingAccount *account);
/* The error that this line of the kernel log is of, if anybody richer told it. */
Error *pairing_find_record(const Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t line_usec);
/* The record of what the witness saw, if it was drained already. */
Error *pairing_find_drained(const Pairing *pairing, const PairingAccount *account);
