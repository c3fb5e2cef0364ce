/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Writes every entry of the ring to the journal: a post source of the event loop with a cursor in
 * the ring. A stalled journald makes it wait, and nobody else. After a number of entries it lets
 * others have their turn.
 *
 * The cursor moves when journald's socket took the entry. Entries that were overwritten before
 * that, or that can never be sent, are announced in the journal by an entry of their own, in their
 * place.
 */

#include <systemd/sd-event.h>

#include "journal.h"
#include "ring.h"

typedef struct JournalPump JournalPump;

/* ring and journal must outlive it. Returns 0 or a negative errno of sd-event. */
int journal_pump_new(sd_event *event, Ring *ring, Journal *journal, JournalPump **ret);
JournalPump *journal_pump_free(JournalPump *pump);
DEFINE_TRIVIAL_CLEANUP_FUNC(JournalPump *, journal_pump_free);

/*
 * At the end of the daemon: writes all there is, and waits until then (CLOCK_MONOTONIC) for a busy
 * journald. Returns how many entries did not get to the journal.
 */
uint64_t journal_pump_finish(JournalPump *pump, uint64_t until_usec);
