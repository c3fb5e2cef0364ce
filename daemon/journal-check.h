/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Sees to it that what journald took is stored.
 *
 * A while after entries were sent, and once journald has taken all of them from its socket, a thread
 * reads back which of them the journal has. The others are sent again, as they were: with the same
 * stream and position. So it does not matter why they are not there, whether journald was killed
 * with them, restarted together with its socket, or dropped them since there were too many.
 *
 * What was overwritten in the ring meanwhile is announced in the journal. When tries get no further,
 * that is said, and they come less and less often: there may be no room for it for long, or journald
 * be told not to store it.
 *
 * It moves the cursor RING_READER_JOURNAL_SYNCED, which a next run goes on from.
 */

#include <systemd/sd-event.h>

#include "journal.h"
#include "log.h"
#include "ring.h"
#include "worker.h"

typedef struct JournalCheck JournalCheck;

typedef struct JournalCheckContext {
        sd_event *event;
        Ring *ring;
        Journal *journal;
        Worker *worker;
        Log *log;
} JournalCheckContext;

/* All in context must outlive it, but the worker must be gone first. Returns 0, -ENOMEM, or an error
 * of sd-event. */
int journal_check_new(const JournalCheckContext *context, JournalCheck **ret);
JournalCheck *journal_check_free(JournalCheck *check);
DEFINE_TRIVIAL_CLEANUP_FUNC(JournalCheck *, journal_check_free);
