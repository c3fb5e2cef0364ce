/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Ring of error records, in memory that outlives the daemon.
 *
 * The kernel forgets an error once it has handed it out, so it must hand it to memory that survives
 * us: a memfd in the service manager's fd store. There is one writer and any number of readers,
 * each with a cursor. The writer never waits: it overwrites the oldest entry, and a reader that was
 * overtaken learns how many entries it missed.
 *
 * Every entry has a position. Errors have a sequence number besides, without holes: that is what
 * users see. Announcements (losses, recoveries) lie between the errors in the order of events.
 *
 * A slot is reserved, filled and committed, and a crash may come between any two instructions:
 *   - Reserving clears the raw bytes first and marks the slot reserved after that, with a barrier
 *   in
 *     between, so a reserved slot never shows bytes of its former entry. The next run commits it if
 *     it is a record that the kernel had handed out already: RECORD_VFIO, with raw bytes that
 *     record_raw_valid() accepts. Otherwise it clears it: only the VFIO device cannot be asked
 *     again.
 *   - Committing ends with one store, of the head. Everything that is counted (last sequence, sum
 *   of
 *     the losses) is told by the newest entry and by no other place that could disagree.
 *   - The counters of a function follow the entry that they count. The next run mends them by the
 *     newest entry, a salvaged one included, see balance.h. No caller has to.
 */

#include "record.h"
#include "util.h"

#define RING_VERSION     1U
#define RING_SLOTS_MIN   16U
#define RING_SLOTS_MAX   1048576U
#define RING_FUNCTIONS   1024U /* functions with counters; CONFIG_PCI_NR_FUNCTIONS is 512 at most */
#define RING_STREAM_SIZE 16U   /* bytes of the stream id */

typedef struct Ring Ring;

/* Readers whose cursor survives the daemon. */
typedef enum RingReader {
        RING_READER_JOURNAL,        /* accepted by journald's socket */
        RING_READER_JOURNAL_SYNCED, /* known to be stored */
        RING_READER_BUS,
        RING_READER_ALERT,
        _RING_READER_MAX,
        _RING_READER_ROOM = 16, /* places in the image */
} RingReader;

/*
 * What is remembered of one function's device for as long as it is open, in the image. The sums
 * only grow; what they amount to is the business of balance.h.
 */
typedef struct RingFunction {
        uint32_t fid;
        uint8_t used; /* whether this place is taken */
        uint8_t late; /* the signal of a dropped error may still be on its way */
        uint8_t owes; /* an error may have been read that no reset has dealt with */
        uint8_t reserved;
        uint64_t wakeup;         /* read(2) of the eventfd goes straight here */
        uint64_t signalled;      /* sum of the wake-ups since the device was opened */
        uint64_t signalled_next; /* see ring_function_fold() */
        uint64_t balanced; /* signals without a record that are settled; below zero: the reverse */
        uint64_t drained;  /* records since the device was opened */
        uint64_t settled;  /* drained at the last settlement */
        uint64_t since;    /* head of the ring when the device was opened */
} RingFunction;

_Static_assert(sizeof(RingFunction) == 64, "counters never change their size");

/*
 * Stores to a field of the image, where the order counts: no store is moved across it, nor is it
 * split. It orders against our own sudden end, not against other processors: the image has one
 * writer, and the next run reads it when this one is over.
 */
#define RING_STORE(field, value)                                                                   \
        do {                                                                                       \
                __atomic_signal_fence(__ATOMIC_SEQ_CST);                                           \
                __atomic_store_n(&(field), (value), __ATOMIC_RELAXED);                             \
                __atomic_signal_fence(__ATOMIC_SEQ_CST);                                           \
        } while (0)

typedef enum RingOrigin {
        RING_FRESH,    /* a new stream began */
        RING_CONTINUED /* the image of a former run goes on */
} RingOrigin;

/*
 * Opens a ring. fd is the image of a former run, or negative for none; it is consumed in any case.
 * slots is the capacity of a fresh ring (clamped to RING_SLOTS_MIN … RING_SLOTS_MAX); a continued
 * one keeps its own. The image is mapped populated and sealed against resizing.
 *
 * Everything in a former image is checked before anything is changed: its seals (and what can be
 * sealed is), its size, magic, version, counts, that no cursor passes the head, and every entry.
 * Then a reserved slot is salvaged or cleared, and the counters of the functions are mended.
 *
 * Returns 0; -EBADMSG if fd is no ring or a damaged one, -EPROTO if it is of a newer version: in
 * both cases nothing is opened and the caller opens a fresh ring with fd -1; -ENOMEM and other
 * errors of memfd_create(2), fallocate(2), mmap(2), getrandom(2). *ret_origin tells which it
 * became.
 */
int ring_open(int fd, uint32_t slots, Ring **ret, RingOrigin *ret_origin);
/* Unmaps. The image lives on in whoever else holds its fd. */
Ring *ring_free(Ring *ring);
DEFINE_TRIVIAL_CLEANUP_FUNC(Ring *, ring_free);

int ring_fd(const Ring *ring); /* the ring's own: duplicate it to keep it */
uint32_t ring_slots(const Ring *ring);
/* The id of this run of sequence numbers, RING_STREAM_SIZE random bytes. */
const uint8_t *ring_stream_id(const Ring *ring);

/*
 * The writer's slot. Cannot fail. The same slot until it is committed; its fields are zero but for
 * kind, identity and times. Overwrites the oldest entry of a full ring. The address must be
 * valid (pci_address_valid()), and an error must get a source, when it is committed.
 */
Record *ring_reserve(Ring *ring, RecordKind kind, const RecordIdentity *identity);
/*
 * Publishes the reserved slot: position, sequence if it is an error, and it can be read. Of
 * RECORD_VFIO also the times, so that the error, and what else was told of it, is not younger; all
 * others keep those that they have.
 */
void ring_commit(Ring *ring, Record *record);
/* Gives a reserved slot back unused: an empty answer of the kernel is no record. */
void ring_cancel(Ring *ring, Record *record);

uint64_t ring_head(const Ring *ring); /* position of the newest entry, 0 if there is none */
uint64_t ring_last_sequence(const Ring *ring); /* of the newest error, 0 if there was none */
/* The oldest sequence number that still can be read, or last sequence + 1 if none can. */
uint64_t ring_oldest_sequence(const Ring *ring);
uint64_t ring_lost(const Ring *ring); /* sum of RECORD_LOST of this stream */

/*
 * The entry after *cursor (a position; 0 is before the first), which moves there. NULL if there is
 * none. *ret_missed counts the entries that were overwritten before this reader came to them; the
 * cursor has passed them. The entry is valid until the next ring_reserve().
 */
const Record *ring_next(const Ring *ring, uint64_t *cursor, uint64_t *ret_missed);
/*
 * The cursor from which ring_next() comes to the errors above sequence, and to the announcements
 * that followed the error of this sequence. If that one is overwritten, it is before the oldest
 * entry.
 */
uint64_t ring_cursor_after(const Ring *ring, uint64_t sequence);

uint64_t ring_cursor(const Ring *ring, RingReader reader);
void ring_set_cursor(Ring *ring, RingReader reader, uint64_t position);
/*
 * Whether more than half the ring waits for a reader. Then publishing goes before draining: what is
 * overwritten is lost to that reader, and gets no better by more that comes.
 */
bool ring_is_behind(const Ring *ring, RingReader reader);

/*
 * How far the kernel log was read, and in which boot (16 bytes of the boot id). UINT64_MAX if it
 * was not read in this boot.
 */
uint64_t ring_kmsg_sequence(const Ring *ring, const uint8_t boot_id[16]);
void ring_set_kmsg_sequence(Ring *ring, const uint8_t boot_id[16], uint64_t sequence);

/*
 * Notes that the witness's account of this number is of the error at this position, if it still is
 * there: the next run may read the account once more.
 */
void ring_set_witness(Ring *ring, uint64_t position, uint64_t number);
/* How many errors the witness had no room for, as far as that was announced. */
uint64_t ring_witness_lost(const Ring *ring);
void ring_set_witness_lost(Ring *ring, uint64_t lost);

/*
 * The counters of a function, which lie in the image. Made, all zero, if there are none. NULL if
 * RING_FUNCTIONS are taken. Valid until forgotten.
 */
RingFunction *ring_function(Ring *ring, uint32_t fid);
/* Forgets the counters: the device was closed. */
void ring_forget_function(Ring *ring, uint32_t fid);
/*
 * Adds wakeup to signalled and clears it, in steps of which each can be the last one of this run: a
 * second call, by ring_open() of the next run, does what is left of the first. signalled_next is
 * written first, then wakeup is cleared, then signalled becomes signalled_next. Nothing may read(2)
 * into wakeup before the former wake-up is folded.
 */
void ring_function_fold(RingFunction *function);
