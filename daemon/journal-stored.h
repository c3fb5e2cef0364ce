/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reads back from the journal which entries of a stream it has.
 *
 * That journald's socket took an entry does not mean that it was stored: journald may die with it,
 * be too fast a sender's victim (rate limit), or have no room.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ring.h"

/* Which entries with positions above after, up to and with upto, are stored. */
typedef struct JournalStored {
        uint64_t after;
        uint64_t upto;
        uint8_t *bits; /* one for each position */
} JournalStored;

/* At most so many positions are looked at at once: 128 KiB of bits. */
#define JOURNAL_STORED_MAX RING_SLOTS_MAX

/* Makes room for these positions, none of them stored as yet. Returns 0 or -ENOMEM. */
int journal_stored_init(JournalStored *stored, uint64_t after, uint64_t upto);
/* All zero is as good as freed. */
void journal_stored_done(JournalStored *stored);

/* An entry of the journal stands for count positions that end with position. */
void journal_stored_add(JournalStored *stored, uint64_t position, uint64_t count);
/* position must be one of those that are looked at. */
bool journal_stored_has(const JournalStored *stored, uint64_t position);

/*
 * Adds what the journal has of our own entries of this stream. An announcement that entries are
 * missing stands for these. Blocks on the disk: for a thread of the worker.
 *
 * Returns 0, -ENODATA if nothing of this boot can be read (no permission, or nothing is stored), or
 * an error of sd-journal.
 */
int journal_stored_read(JournalStored *stored, const uint8_t stream_id[RING_STREAM_SIZE]);
