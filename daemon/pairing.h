/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Several sources tell of the same error: the VFIO device, the witness, the kernel log, a uevent.
 * The richest account becomes the record, the others are dropped.
 *
 * An account is dropped because it was paired with a richer one of the same error, never because
 * the function happens to be held: that would lose or double errors around opening and closing a
 * device. Each account pairs once, so two equal errors in quick succession stay two. What tells
 * that two accounts are of the same error, besides the time:
 *
 *   vfio, witness  FID, PEC, function handle and failing address; FID and PEC where the VFIO device
 *                  tells no more (the packed interface)
 *   kmsg           FID, PEC
 *   uevent         FID
 *
 * (Permanent errors and measurement-block events send no uevent.)
 *
 * An account of another source than the VFIO device waits for a richer one. When its time is up, it
 * is the record. What was paired or published is remembered for a while, for accounts that come
 * later.
 *
 * About time: the witness sees an error first, then its line is written, then its record can be
 * drained, and that may lie in the kernel's queue for long, as while the daemon is stopped or
 * restarted. So an account of the witness and a line may be any time older than the record that
 * they belong to, but not younger.
 *
 * Where much has piled up, the witness is to be heard before the kernel log, or a line of an old
 * error could be taken for one of a record that was drained much later.
 *
 * What this cannot tell: a richer account that comes more than PAIRING_WAIT_USEC after the poorer
 * one is a second record of its error (pairing_defer() is for where that is to be expected). And
 * where a source loses an account (the kernel log is overrun, udev is), the next account of that
 * source and function pairs in its place: a line up to PAIRING_SLACK_USEC after a record, a uevent
 * up to PAIRING_MEMORY_USEC after a record or line. Of an error that only this account told there
 * is no record then. So it is with lines of one PEC after a crash in the midst of a burst, too: which
 * records of the former run had their lines already is not known any more, and the line of an error
 * that the kernel dropped may pass for one of theirs. In a storm of more errors than can be
 * remembered, a uevent that finds none is dropped: udevd is late then, and its error was told and is
 * forgotten.
 *
 * Pure: time comes in as CLOCK_MONOTONIC microseconds, nothing is read or written.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ccdf.h"
#include "record.h"
#include "util.h"

#define PAIRING_WAIT_USEC   (500 * USEC_PER_MSEC) /* a poorer account waits so long for a richer */
#define PAIRING_SLACK_USEC  (2 * USEC_PER_SEC)    /* the kernel log's clock may differ from ours */
#define PAIRING_MEMORY_USEC (30 * USEC_PER_SEC)   /* udevd may be that late in a storm */
#define PAIRING_WAITING     1024U /* when more wait than this, the oldest one's time is up */
/*
 * Waiting and remembered; those remembered longest go first. Room for all that the witness tells at
 * once after it was not heard for long, before the kernel log is read, and for the full queues.
 */
#define PAIRING_ACCOUNTS 8192U

typedef struct Pairing Pairing;

/* What one source tells of one error. */
typedef struct PairingAccount {
        RecordSource source;
        uint32_t fid;
        uint16_t pec;                 /* 0 for a uevent */
        bool detailed;                /* whether there are raw bytes */
        uint8_t raw[CCDF_ERROR_SIZE]; /* of the witness, and of the VFIO device if it has them */
        /* Of the VFIO device the position in the ring, of the witness the program's sequence number. */
        uint64_t number;
        uint64_t time_usec; /* when the error was seen; of a line, its own time stamp */
} PairingAccount;

/* Returns 0 or -ENOMEM. */
int pairing_new(Pairing **ret);
Pairing *pairing_free(Pairing *pairing);
DEFINE_TRIVIAL_CLEANUP_FUNC(Pairing *, pairing_free);

/* Whether the witness runs (at first it does not): then it is expected to tell of every error. */
void pairing_expect_witness(Pairing *pairing, bool witness);

/*
 * Each of these takes in one account. time_usec is when the error was seen (for a kernel log line,
 * its own time stamp), now_usec is now: an old line that is read late has waited already only from
 * now on. A record of the VFIO device is published anyway, so pairing_vfio() never makes anything
 * due.
 *
 * At most PAIRING_ACCOUNTS - PAIRING_WAITING accounts may be given between two times that what is
 * due was taken out. Of more, the oldest are lost.
 */

/* Returns the number of the witness's account that waited for this, 0 if none did. */
uint64_t pairing_vfio(Pairing *pairing, const PairingAccount *account);
/*
 * Returns the number of the VFIO device's account of the same error, which came before; 0 if none
 * did. wait: whether a richer account may come, because the function is held by us.
 */
uint64_t
pairing_witness(Pairing *pairing, const PairingAccount *account, bool wait, uint64_t now_usec);
void pairing_kmsg(
        Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec, uint64_t now_usec);
void pairing_uevent(Pairing *pairing, uint32_t fid, uint64_t time_usec, uint64_t now_usec);

/*
 * An error that a former run published already. Its line in the kernel log may be read once more:
 * then it is superfluous. (A line that is younger than what was drained or logged is not its.) So is
 * what the witness has of a record of the VFIO device, unless that was paired: witnessed. Unless it
 * is older than PAIRING_MEMORY_USEC, its uevent may still be on its way, for it is udevd that sends it
 * on.
 */
void pairing_former(Pairing *pairing,
                    const PairingAccount *account,
                    bool witnessed,
                    uint64_t now_usec);

/*
 * Takes out the oldest account of the witness that waits for the record of an error of fid, which
 * the kernel's queue may have dropped. Returns true if there was one.
 */
bool pairing_take_dropped(Pairing *pairing, uint32_t fid, uint64_t now_usec, PairingAccount *ret);
/* The lowest number of the witness's accounts that wait, UINT64_MAX if none does. */
uint64_t pairing_oldest_witness(const Pairing *pairing);

/*
 * Keeps the accounts of fid waiting: its device is just being opened or closed, and a record of
 * the error may still lie in its queue. They wait PAIRING_WAIT_USEC more from now_usec. Returns
 * whether the time of one of them was up, or one was deferred for the first time.
 */
bool pairing_defer(Pairing *pairing, uint32_t fid, uint64_t now_usec);

/*
 * Takes out one account of fid that waits, oldest first: no richer one can come any more. Returns
 * true if there was one. Those of others, whose records may not be drained yet, wait on.
 */
bool pairing_take(Pairing *pairing, uint32_t fid, uint64_t now_usec, PairingAccount *ret);

/*
 * Takes out one account whose time is up at now_usec, oldest first; or, where more waits than there
 * is room for, the one whose time would be up first, and those that were deferred last. Returns true
 * if there was one. To be called when all that has come was taken in: a timer for it has a lower
 * priority than the sources.
 */
bool pairing_due(Pairing *pairing, uint64_t now_usec, PairingAccount *ret);
/* Whose account that would be. Returns false if there is none. */
bool pairing_is_due(const Pairing *pairing, uint64_t now_usec, uint32_t *ret_fid);
/* Whether more waits than there is room for: then pairing_due() has something, whatever the time. */
bool pairing_overflows(const Pairing *pairing);
/*
 * When pairing_due() will have something next, UINT64_MAX if nothing waits; 0 if more waits than
 * there is room for.
 */
uint64_t pairing_next_usec(const Pairing *pairing);
