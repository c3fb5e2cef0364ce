/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "ring-image.h"

static uint32_t clamp_slots(uint32_t slots) {
        if (slots < RING_SLOTS_MIN)
                return RING_SLOTS_MIN;
        return slots > RING_SLOTS_MAX ? RING_SLOTS_MAX : slots;
}

int ring_open(int fd, uint32_t slots, Ring **ret, RingOrigin *ret_origin) {
        _cleanup_close_ int owned = fd;
        _cleanup_(ring_freep) Ring *ring = NULL;
        int r;

        assert(ret);
        assert(ret_origin);

        ring = malloc(sizeof(*ring));
        if (!ring)
                return -ENOMEM;

        *ring = (Ring){
                .fd = TAKE_FD(owned),
        };

        if (ring->fd < 0) {
                r = ring_image_create(ring, clamp_slots(slots));
        } else {
                r = ring_image_adopt(ring);
                if (r == 0)
                        r = ring_recover(ring);
        }
        if (r < 0)
                return r;

        *ret_origin = fd < 0 ? RING_FRESH : RING_CONTINUED;
        *ret = TAKE_PTR(ring);
        return 0;
}

Ring *ring_free(Ring *ring) {
        if (!ring)
                return NULL;

        if (ring->image)
                (void) munmap(ring->image, ring_image_size(ring->n_slots));
        (void) safe_close(ring->fd);
        free(ring);
        return NULL;
}

int ring_fd(const Ring *ring) {
        assert(ring);

        return ring->fd;
}

uint32_t ring_slots(const Ring *ring) {
        assert(ring);

        return ring->n_slots;
}

const uint8_t *ring_stream_id(const Ring *ring) {
        assert(ring);

        return ring->image->header.stream_id;
}

uint64_t ring_head(const Ring *ring) {
        assert(ring);

        return ring->image->header.head;
}

uint64_t ring_last_sequence(const Ring *ring) {
        uint64_t head = ring_head(ring);

        return head > 0 ? ring_slot(ring, head)->last_sequence : 0;
}

uint64_t ring_lost(const Ring *ring) {
        uint64_t head = ring_head(ring);

        return head > 0 ? ring_slot(ring, head)->lost_sum : 0;
}

uint64_t ring_oldest(const Ring *ring) {
        uint64_t head = ring_head(ring), oldest;
        const Record *slot;

        if (head < ring->n_slots)
                return 1;

        /* The oldest of a full ring is there until its slot is reserved anew. */
        oldest = head + 1 - ring->n_slots;
        slot = ring_slot(ring, oldest);
        return slot->state == RING_COMMITTED && slot->position == oldest ? oldest : oldest + 1;
}

uint64_t ring_oldest_sequence(const Ring *ring) {
        const Record *oldest;

        if (ring_head(ring) == 0)
                return 1;

        oldest = ring_slot(ring, ring_oldest(ring));
        return oldest->kind == RECORD_ERROR ? oldest->sequence : oldest->last_sequence + 1;
}

void ring_clear_slot(Record *slot) {
        RING_STORE(slot->state, RING_FREE);
        memset(slot, 0, sizeof(*slot));
}

static void ring_stamp(Record *slot) {
        slot->realtime_usec = now_usec(CLOCK_REALTIME);
        slot->monotonic_usec = now_usec(CLOCK_MONOTONIC);
}

Record *ring_reserve(Ring *ring, RecordKind kind, const RecordIdentity *identity) {
        Record *slot;

        assert(ring);
        assert(kind > 0 && kind < _RECORD_KIND_MAX);
        assert(identity);

        slot = ring_slot(ring, ring_head(ring) + 1);
        ring_clear_slot(slot);

        slot->kind = (uint8_t) kind;
        slot->identity = *identity;
        ring_stamp(slot);
        RING_STORE(slot->state, RING_RESERVED);
        return slot;
}

void ring_commit(Ring *ring, Record *record) {
        uint64_t position = ring_head(ring) + 1;

        assert(record == ring_slot(ring, position));
        assert(record->state == RING_RESERVED);
        assert(ring_entry_sound(record));

        /* What the kernel handed out into the slot may have happened after that was reserved. */
        if (record->source == RECORD_VFIO)
                ring_stamp(record);
        record->last_sequence = ring_last_sequence(ring) + (record->kind == RECORD_ERROR);
        record->lost_sum = ring_lost(ring) + (record->kind == RECORD_LOST ? record->lost : 0);
        record->sequence = record->kind == RECORD_ERROR ? record->last_sequence : 0;
        record->position = position;
        RING_STORE(record->state, RING_COMMITTED);
        RING_STORE(ring->image->header.head, position);
}

void ring_cancel(Ring *ring, Record *record) {
        assert(record == ring_slot(ring, ring_head(ring) + 1));
        assert(record->state == RING_RESERVED);

        ring_clear_slot(record);
}

const Record *ring_next(const Ring *ring, uint64_t *cursor, uint64_t *ret_missed) {
        uint64_t oldest;

        assert(ring);
        assert(cursor);
        assert(ret_missed);

        *ret_missed = 0;
        if (*cursor >= ring_head(ring))
                return NULL;

        oldest = ring_oldest(ring);
        if (*cursor + 1 < oldest) {
                *ret_missed = oldest - *cursor - 1;
                *cursor = oldest - 1;
        }

        return ring_slot(ring, ++*cursor);
}

uint64_t ring_cursor_after(const Ring *ring, uint64_t sequence) {
        uint64_t low, high;

        if (sequence > ring_last_sequence(ring))
                return ring_head(ring);

        /* The first entry up to which there were as many errors. */
        for (low = ring_oldest(ring), high = ring_head(ring); low < high;) {
                uint64_t middle = low + (high - low) / 2;

                if (ring_slot(ring, middle)->last_sequence < sequence)
                        low = middle + 1;
                else
                        high = middle;
        }

        /* It is the error itself, unless that is overwritten, or none was asked for. */
        if (sequence > 0 && ring_slot(ring, low)->sequence == sequence)
                return low;
        return low - 1;
}

uint64_t ring_cursor(const Ring *ring, RingReader reader) {
        assert(ring);
        assert(reader < _RING_READER_MAX);

        return ring->image->header.cursors[reader];
}

void ring_set_cursor(Ring *ring, RingReader reader, uint64_t position) {
        assert(ring);
        assert(reader < _RING_READER_MAX);
        assert(position <= ring_head(ring));

        RING_STORE(ring->image->header.cursors[reader], position);
}

bool ring_is_behind(const Ring *ring, RingReader reader) {
        return ring_head(ring) - ring_cursor(ring, reader) > ring->n_slots / 2;
}

uint64_t ring_kmsg_sequence(const Ring *ring, const uint8_t boot_id[16]) {
        const RingHeader *header;

        assert(ring);
        assert(boot_id);

        header = &ring->image->header;
        if (memcmp(header->boot_id, boot_id, sizeof(header->boot_id)) != 0)
                return UINT64_MAX;

        return header->kmsg_sequence;
}

void ring_set_kmsg_sequence(Ring *ring, const uint8_t boot_id[16], uint64_t sequence) {
        RingHeader *header;

        assert(ring);
        assert(boot_id);

        header = &ring->image->header;
        if (memcmp(header->boot_id, boot_id, sizeof(header->boot_id)) != 0) {
                RING_STORE(header->kmsg_sequence, UINT64_MAX);
                memcpy(header->boot_id, boot_id, sizeof(header->boot_id));
        }
        RING_STORE(header->kmsg_sequence, sequence);
}

void ring_set_witness(Ring *ring, uint64_t position, uint64_t number) {
        assert(ring);
        assert(position > 0 && position <= ring_head(ring));

        if (position >= ring_oldest(ring))
                RING_STORE(ring_slot(ring, position)->witness, number);
}

uint64_t ring_witness_lost(const Ring *ring) {
        assert(ring);

        return ring->image->header.witness_lost;
}

void ring_set_witness_lost(Ring *ring, uint64_t lost) {
        assert(ring);

        RING_STORE(ring->image->header.witness_lost, lost);
}
