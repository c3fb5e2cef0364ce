/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The image of a ring, as it lies in the memfd: header page, counters of functions, slots.
 *
 * The layout is a contract between two runs of the daemon, possibly of different versions: it
 * changes only together with RING_VERSION. What a later version adds without changing the meaning
 * of the rest goes into the spare room, which is zero until then.
 */

#include <stdbool.h>

#include "ring.h"

#define RING_MAGIC       UINT64_C(0x7a70636952696e67) /* "zpciRing" in memory of a big-endian machine */
#define RING_HEADER_SIZE 4096U
#define RING_SEALS       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* So far from the end that no sum of positions wraps. */
#define RING_POSITION_MAX (UINT64_MAX / 4)

typedef enum RingState {
        RING_FREE,
        RING_RESERVED,
        RING_COMMITTED,
} RingState;

typedef struct RingHeader {
        uint64_t magic; /* magic and version are where every version has them */
        uint32_t version;
        uint32_t header_size;
        uint32_t function_size;
        uint32_t record_size;
        uint32_t n_functions;
        uint32_t n_slots;
        uint8_t stream_id[RING_STREAM_SIZE];
        uint64_t head; /* the one store that commits an entry */
        uint64_t cursors[_RING_READER_ROOM];
        uint8_t boot_id[16];
        uint64_t kmsg_sequence; /* UINT64_MAX if boot_id says nothing */
        uint64_t witness_lost;
        uint8_t spare[RING_HEADER_SIZE - 216];
} RingHeader;

typedef struct RingImage {
        RingHeader header;
        RingFunction functions[RING_FUNCTIONS];
        Record slots[];
} RingImage;

_Static_assert(offsetof(RingHeader, version) == 8, "every version has it here");
_Static_assert(offsetof(RingHeader, stream_id) == 32, "no holes in the header");
_Static_assert(offsetof(RingHeader, head) == 48, "no holes in the header");
_Static_assert(offsetof(RingHeader, boot_id) == 184, "no holes in the header");
_Static_assert(offsetof(RingHeader, spare) == 216, "no holes in the header");
_Static_assert(sizeof(RingHeader) == RING_HEADER_SIZE, "the header is a page");
_Static_assert(sizeof(RingImage) == RING_HEADER_SIZE + RING_FUNCTIONS * sizeof(RingFunction),
               "the slots follow the counters at once");

struct Ring {
        int fd;
        uint32_t n_slots; /* as checked: what the image says counts no more */
        RingImage *image;
};

static inline size_t ring_image_size(uint32_t n_slots) {
        return sizeof(RingImage) + (size_t) n_slots * RECORD_SIZE;
}

static inline Record *ring_slot(const Ring *ring, uint64_t position) {
        return &ring->image->slots[(position - 1) % ring->n_slots];
}

/* Position of the oldest entry that still can be read, head + 1 if there is none. */
uint64_t ring_oldest(const Ring *ring);

/* Clears a slot, so that a run that comes upon it at any moment sees no entry in it. */
void ring_clear_slot(Record *slot);

/*
 * Whether the fields that the writer fills in can be read: an entry of which they cannot makes a
 * damaged image.
 */
bool ring_entry_sound(const Record *record);

/* The counters of a function, NULL if there are none. */
RingFunction *ring_find_function(const Ring *ring, uint32_t fid);

/*
 * Makes a fresh image in ring, which has an fd and an image afterwards. Returns 0 or a negative
 * errno.
 */
int ring_image_create(Ring *ring, uint32_t n_slots);
/*
 * Maps the image that ring->fd is, sealed, if header and size are sound. Returns 0, -EBADMSG,
 * -EPROTO for a newer version, or an error of mmap(2).
 */
int ring_image_adopt(Ring *ring);
/*
 * Checks all the rest of an adopted image, then completes what its former owner left unfinished.
 * Returns 0, or -EBADMSG with the image as it was.
 */
int ring_recover(Ring *ring);
