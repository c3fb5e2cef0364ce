/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "balance.h"
#include "ring-image.h"

bool ring_entry_sound(const Record *record) {
        return record->kind > 0 && record->kind < _RECORD_KIND_MAX &&
               record->source < _RECORD_SOURCE_MAX &&
               (record->source > 0 || record->kind != RECORD_ERROR) &&
               record->interface < _RECORD_INTERFACE_MAX &&
               record->recovery < _RECORD_RECOVERY_MAX && record->raw_size <= RECORD_RAW_SIZE &&
               memchr(record->identity.address, 0, sizeof(record->identity.address)) &&
               pci_address_valid(record->identity.address);
}

/* previous is the entry before it, NULL if that cannot be read any more. */
static bool entry_valid(const Record *record, uint64_t position, const Record *previous) {
        bool error = record->kind == RECORD_ERROR;
        uint64_t lost = record->kind == RECORD_LOST ? record->lost : 0;

        if (record->state != RING_COMMITTED || record->position != position ||
            !ring_entry_sound(record))
                return false;

        if (record->sequence != (error ? record->last_sequence : 0) ||
            (error && record->sequence == 0) || record->last_sequence > position)
                return false;

        if (!previous && position > 1)
                return record->lost_sum >= lost;

        return record->last_sequence == (previous ? previous->last_sequence : 0) + error &&
               record->lost_sum == (previous ? previous->lost_sum : 0) + lost;
}

static const Record *ring_newest(const Ring *ring) {
        uint64_t head = ring_head(ring);

        return head > 0 ? ring_slot(ring, head) : NULL;
}

static bool ring_entries_valid(const Ring *ring) {
        const Record *previous = NULL;

        for (uint64_t p = ring_oldest(ring); p <= ring_head(ring); p++) {
                const Record *record = ring_slot(ring, p);

                if (!entry_valid(record, p, previous))
                        return false;
                previous = record;
        }

        return true;
}

static bool function_valid(const RingFunction *function, uint64_t head) {
        return function->used == 1 && function->late <= 1 && function->since <= head &&
               function->drained <= head - function->since &&
               function->settled <= function->drained;
}

static bool ring_functions_valid(const Ring *ring) {
        const RingFunction *functions = ring->image->functions;

        for (size_t i = 0; i < RING_FUNCTIONS; i++) {
                if (functions[i].used == 0)
                        continue;
                /* That it is found at its own place means that no other has its FID before it. */
                if (!function_valid(&functions[i], ring_head(ring)) ||
                    ring_find_function(ring, functions[i].fid) != &functions[i])
                        return false;
        }

        return true;
}

/* Whether the slot after the newest is a state in which a run can have ended. */
static bool ring_next_valid(const Ring *ring) {
        uint64_t head = ring_head(ring);
        const Record *slot = ring_slot(ring, head + 1);

        if (slot->state != RING_COMMITTED)
                return slot->state == RING_FREE || slot->state == RING_RESERVED;

        /*
         * The oldest entry of a full ring, which was checked with the others; or committed all but
         * the head.
         */
        return (head >= ring->n_slots && slot->position == head + 1 - ring->n_slots) ||
               entry_valid(slot, head + 1, ring_newest(ring));
}

/*
 * What the kernel handed out to a run that ended before it could commit it is a record all the
 * same.
 */
static bool slot_is_salvageable(const Record *slot) {
        return slot->state == RING_RESERVED && slot->kind == RECORD_ERROR &&
               slot->source == RECORD_VFIO && ring_entry_sound(slot) &&
               record_raw_valid(slot->interface, slot->identity.fid, slot->raw, slot->raw_size);
}

static void ring_salvage(Ring *ring, Record *slot) {
        const RingFunction *function = ring_find_function(ring, slot->identity.fid);

        slot->raw_size = record_raw_used(slot->interface, slot->raw, slot->raw_size);
        slot->ordinal = function ? function->drained + 1 : 0;
        ring_commit(ring, slot);
}

static void ring_finish_next(Ring *ring) {
        uint64_t head = ring_head(ring);
        Record *slot = ring_slot(ring, head + 1);

        if (slot->state == RING_COMMITTED) {
                if (slot->position == head + 1)
                        RING_STORE(ring->image->header.head, head + 1);
        } else if (slot_is_salvageable(slot))
                ring_salvage(ring, slot);
        else
                ring_clear_slot(slot);
}

/*
 * The counters follow the entry that they count, so the newest entry is the only one that they can
 * be behind. Entries from before the device was opened are no business of theirs.
 */
static void ring_mend_counters(Ring *ring) {
        const Record *newest = ring_newest(ring);
        RingFunction *function;
        uint64_t balanced;

        if (!newest || newest->ordinal == 0)
                return;

        function = ring_find_function(ring, newest->identity.fid);
        if (!function || function->since >= newest->position)
                return;

        if (newest->kind == RECORD_ERROR && newest->ordinal == function->drained + 1)
                balance_drained(function);

        /*
         * A settlement after this entry can only have raised it: a record would be a newer entry.
         */
        balanced = newest->ordinal - function->drained;
        if (newest->kind == RECORD_LOST && (int64_t) (balanced - function->balanced) > 0)
                RING_STORE(function->balanced, balanced);
}

int ring_recover(Ring *ring) {
        assert(ring);

        if (!ring_entries_valid(ring) || !ring_functions_valid(ring) || !ring_next_valid(ring))
                return -EBADMSG;

        ring_finish_next(ring);
        ring_mend_counters(ring);
        for (size_t i = 0; i < RING_FUNCTIONS; i++)
                if (ring->image->functions[i].used)
                        ring_function_fold(&ring->image->functions[i]);

        return 0;
}
