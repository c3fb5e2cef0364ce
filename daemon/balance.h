/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Signals against records: how a loss is known.
 *
 * The kernel's queue of a function holds four records. It drops a fifth, but signals the eventfd
 * for it all the same, so signals minus records is what was lost. A single wake-up does not tell:
 *   - an error may come between the read of the eventfd and the drain: its record is there before
 *     its signal, by at most one, since the kernel handles the events of a function one by one;
 *   - records that were queued before the eventfd was installed have no signal at all;
 *   - VFIO_IRQ_SET_DATA_BOOL signals with no error behind it (a loopback test).
 * So the account is settled only when the queue was seen empty and then, in this order, the
 * eventfd. A surplus of signals counts as lost only if there were enough records since the last
 * settlement to have filled the queue. One signal of that time may be late: a surplus of one in the
 * next settlement that does not come out even is lost too. A record without its signal is a credit
 * of one signal.
 *
 * With errors alone this is exact. What it cannot tell:
 *   - a loopback signal during an overflow counts as one loss too many, and so may the first one
 *   after it;
 *   - records from before the eventfd hide as many losses, until the first settlement; there,
 *     the late signal of an error under way can count as one loss too many.
 * No loss is ever told unless the queue was full at this settlement or, for one signal, the last.
 *
 * A record that the queue dropped may be known from the witness all the same. Published as one more
 * record of the queue, before the account is settled, it is no loss.
 *
 * The order that a crash cannot spoil: the wake-up is read into counters->wakeup, then
 * balance_signalled(); a record has counters->drained + 1 as its ordinal, is committed, then
 * balance_drained(); a loss is announced in a RECORD_LOST of RECORD_VFIO that has
 * counters->signalled as its ordinal, is committed, then balance_settle(). Nothing else is
 * committed before the last step. ring_open() takes the last step where it is missing.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ring.h"

#define BALANCE_QUEUE_LENGTH 4U /* ZPCI_ERR_PENDING_MAX in drivers/vfio/pci of Linux 7.3 */

/* A wake-up was read into counters->wakeup (folds it in). */
void balance_signalled(RingFunction *counters);
/* One record was drained and committed. */
void balance_drained(RingFunction *counters);
/*
 * The queue was seen empty, and the eventfd after it. How many errors were lost since the last
 * settlement: what balance_settle() is going to return, to be announced before it is forgotten.
 */
uint64_t balance_lost(const RingFunction *counters);
/*
 * The queue cannot be drained any more. How many errors were signalled since the last settlement and
 * have no record: to be announced before balance_settle(), as above.
 */
uint64_t balance_rest(const RingFunction *counters);
/*
 * Settles the account. Returns how many errors were lost since the last settlement.
 * first: the device has just been opened, records without a signal are no credit.
 */
uint64_t balance_settle(RingFunction *counters, bool first);
