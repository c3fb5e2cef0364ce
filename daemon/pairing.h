/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Several sources tell of the same error: the VFIO device, the kernel log, a uevent. The richest
 * account becomes the record, the others are dropped.
 *
 * An account is dropped because it was paired with a richer one of the same FID, PEC and time,
 * never because the function happens to be held: that would lose or double errors around opening
 * and closing a device. Each account pairs once, so two equal errors in quick succession stay two.
 *
 * An account from the kernel log or a uevent waits for a richer one. When its time is up, it is
 * the record. What was paired or published is remembered for a while, for accounts that come
 * later:
 *
 *   vfio    (FID, PEC)  makes a kernel log line and a uevent superfluous
 *   kmsg    (FID, PEC)  makes a uevent superfluous
 *   uevent  (FID)       knows no PEC
 *
 * (Permanent errors and measurement-block events send no uevent.)
 *
 * About time: a line is written before its record can be drained, and the record may lie in the
 * kernel's queue for long, as while the daemon is stopped or restarted. So a line may be any time
 * older than the record that it belongs to, but not younger.
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

#include "record.h"
#include "util.h"

#define PAIRING_WAIT_USEC   (500 * USEC_PER_MSEC) /* a poorer account waits so long for a richer */
#define PAIRING_SLACK_USEC  (2 * USEC_PER_SEC)    /* the kernel log's clock may differ from ours */
#define PAIRING_MEMORY_USEC (30 * USEC_PER_SEC)   /* udevd may be that late in a storm */
#define PAIRING_WAITING     1024U /* when more wait than this, the oldest one's time is up */
#define PAIRING_ACCOUNTS    2048U /* waiting and remembered; those remembered longest go first */

typedef struct Pairing Pairing;

/* An account that found no richer one: to be published. */
typedef struct PairingAccount {
        RecordSource source; /* RECORD_KMSG or RECORD_UEVENT */
        uint32_t fid;
        uint16_t pec; /* 0 for a uevent */
        uint64_t time_usec;
} PairingAccount;

/* Returns 0 or -ENOMEM. */
int pairing_new(Pairing **ret);
Pairing *pairing_free(Pairing *pairing);
DEFINE_TRIVIAL_CLEANUP_FUNC(Pairing *, pairing_free);

/*
 * Each of these takes in one account. time_usec is when the error was seen (for a kernel log line,
 * its own time stamp), now_usec is now: an old line that is read late has waited already only from
 * now on. A record of the VFIO device is published anyway, so pairing_vfio() never makes anything
 * due.
 *
 * At most PAIRING_ACCOUNTS - PAIRING_WAITING accounts may be given between two times that what is
 * due was taken out. Of more, the oldest are lost.
 */
void pairing_vfio(Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec);
void pairing_kmsg(
        Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec, uint64_t now_usec);
void pairing_uevent(Pairing *pairing, uint32_t fid, uint64_t time_usec, uint64_t now_usec);

/*
 * An error that a former run published already, drained or, from the kernel log, written at
 * time_usec. Its line in the kernel log may be read once more: then it is superfluous. A line that
 * is younger is not its. Unless it is older than PAIRING_MEMORY_USEC, its uevent may still be on its
 * way, for it is udevd that sends it on.
 */
void pairing_former(
        Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec, uint64_t now_usec);

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
/*
 * When pairing_due() will have something next, UINT64_MAX if nothing waits; 0 if more waits than
 * there is room for.
 */
uint64_t pairing_next_usec(const Pairing *pairing);
