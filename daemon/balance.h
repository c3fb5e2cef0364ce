/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Signals against records: how a loss is known.
 *
 * The kernel's queue of a function holds four records. It drops a fifth, but signals the eventfd for
 * it all the same, so signals minus records is what was lost. A single wake-up does not tell:
 *   - an error may come between the read of the eventfd and the drain: its record is there before
 *     its signal, by at most one, since the kernel handles the events of a function one by one;
 *   - records that were queued before the eventfd was installed have no signal at all;
 *   - VFIO_IRQ_SET_DATA_BOOL signals with no error behind it (a loopback test).
 * So the account is settled only when both the queue and the eventfd were seen empty, and a surplus of
 * signals counts as lost only if a drain since the last settlement found the queue full.
 *
 * What this cannot tell: a loopback signal at the moment of an overflow counts as one loss too many.
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
 * Queue and eventfd are both empty. Returns how many errors were lost since the last settlement.
 * first: the device has just been opened, records without a signal are no credit.
 */
uint64_t balance_settle(RingFunction *counters, bool first);
