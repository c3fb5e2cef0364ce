/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Journal entries that wait until journald takes them, in order and bounded. */

#include <stdbool.h>

#include "journal-wire.h"

#define JOURNAL_QUEUE_ENTRIES 256U
#define JOURNAL_QUEUE_BYTES   (1024U * 1024U)

typedef struct JournalWaiting {
        struct JournalWaiting *next;
        uint64_t stands_for; /* how many messages are lost if this entry is */
        size_t size;
        uint8_t bytes[];
} JournalWaiting;

/* All zero is an empty queue. */
typedef struct JournalQueue {
        JournalWaiting *first;
        JournalWaiting *last;
        size_t n_entries;
        size_t n_bytes;
} JournalQueue;

/* Whether n more entries of n_bytes in all would fit. */
bool journal_queue_has_room(const JournalQueue *queue, size_t n, size_t n_bytes);

/* Appends a copy. Returns 0, -ENOBUFS if there is no room, or -ENOMEM. */
int journal_queue_push(JournalQueue *queue, const JournalWire *wire, uint64_t stands_for);

/* Takes off the first entry, which there must be. Returns what it stands for. */
uint64_t journal_queue_pop(JournalQueue *queue);
