/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "journal-queue.h"

bool journal_queue_has_room(const JournalQueue *queue, size_t n, size_t n_bytes) {
        assert(queue);

        return n <= JOURNAL_QUEUE_ENTRIES - queue->n_entries &&
               n_bytes <= JOURNAL_QUEUE_BYTES - queue->n_bytes;
}

int journal_queue_push(JournalQueue *queue, const JournalWire *wire, uint64_t stands_for) {
        JournalWaiting *waiting;

        assert(queue);
        assert(wire);

        if (!journal_queue_has_room(queue, 1, wire->size))
                return -ENOBUFS;

        waiting = malloc(sizeof(*waiting) + wire->size);
        if (!waiting)
                return -ENOMEM;

        waiting->next = NULL;
        waiting->stands_for = stands_for;
        waiting->size = wire->size;
        journal_wire_copy(wire, waiting->bytes);

        if (queue->last)
                queue->last->next = waiting;
        else
                queue->first = waiting;
        queue->last = waiting;
        queue->n_entries++;
        queue->n_bytes += waiting->size;
        return 0;
}

uint64_t journal_queue_pop(JournalQueue *queue) {
        JournalWaiting *first;
        uint64_t stands_for;

        assert(queue);
        assert(queue->first);

        first = queue->first;
        stands_for = first->stands_for;

        queue->first = first->next;
        if (!queue->first)
                queue->last = NULL;
        queue->n_entries--;
        queue->n_bytes -= first->size;
        free(first);
        return stands_for;
}
