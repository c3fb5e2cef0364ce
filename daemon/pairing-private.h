/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What pairing.c, which takes accounts in, and pairing-due.c, which gives them out, share. */

#include <sys/queue.h>

#include "pairing.h"

#define BIT(source) (1U << (source))

/*
 * One error, as far as it was told. It waits for a richer account, or it has its record and is
 * remembered for the poorer accounts that are still to come.
 */
typedef struct Error {
        TAILQ_ENTRY(Error) list;
        uint32_t fid;
        uint16_t pec;        /* 0 while only a uevent told it */
        RecordSource source; /* of the richest account so far */
        unsigned expected;   /* BIT()s of the sources that may still tell it */
        bool waiting;
        bool deferred; /* it waits longer than most */
        bool exact;    /* no line that is younger than time_usec belongs to it */
        uint64_t time_usec;
        uint64_t until_usec; /* until when it waits or is remembered */
} Error;

TAILQ_HEAD(ErrorList, Error);

struct Pairing {
        struct ErrorList errors; /* the oldest first */
        struct ErrorList unused;
        unsigned n_waiting;
        uint64_t
                crowded_usec; /* until when uevents of errors may come that are forgotten already */
        Error pool[PAIRING_ACCOUNTS];
};

/* It waits for a richer account. */
void error_wait(Pairing *pairing, Error *error, uint64_t now_usec);
/* It has its record, and is remembered for as long as somebody else may tell it. */
void error_settle(Pairing *pairing, Error *error, uint64_t now_usec);
/* Forgets what was remembered long enough. */
void pairing_expire(Pairing *pairing, uint64_t now_usec);
