/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Entries for a ring, and images of former runs. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "ring.h"

#define FIXTURE_FID 0x10U

static const RecordIdentity fixture_identity = {
        .address = "0001:00:00.0",
        .fid = FIXTURE_FID,
        .uid = 1,
        .pchid = 0x104,
};

/* As recorded on Linux 7.3, of FID 0x10 with PEC 2. */
static const uint8_t fixture_ccdf[CCDF_ERROR_SIZE] = {
        [4] = 0x80,  [5] = 0x02,  [11] = FIXTURE_FID, [20] = 0x12,
        [21] = 0x34, [22] = 0x60, [23] = 0x02,        [31] = 0x02,
};

/* What a kernel with the packed interface writes to ioctl header and payload. */
typedef struct FixturePacked {
        uint64_t feature;
        uint8_t version;
        uint8_t pending_errors;
        uint16_t pec;
} FixturePacked;

static const FixturePacked fixture_packed = {
        .feature = 1,
        .version = 1,
        .pending_errors = 3,
        .pec = 2,
};

/* A ring of a new stream. */
static inline Ring *fixture_fresh(uint32_t slots) {
        RingOrigin origin = RING_CONTINUED;
        Ring *ring = NULL;

        assert_int_equal(ring_open(-EBADF, slots, &ring, &origin), 0);
        assert_int_equal(origin, RING_FRESH);
        return ring;
}

/* The next entry, where none can have been missed. */
static inline const Record *fixture_next(const Ring *ring, uint64_t *cursor) {
        uint64_t missed = 1;
        const Record *record = ring_next(ring, cursor, &missed);

        assert_int_equal(missed, 0);
        return record;
}

/* Reserves a slot as a drain does before the ioctl. */
static inline Record *fixture_reserve(Ring *ring, RecordInterface interface) {
        Record *record = ring_reserve(ring, RECORD_ERROR, &fixture_identity);

        record->source = RECORD_VFIO;
        record->interface = (uint8_t) interface;
        record->raw_size = interface == RECORD_CCDF ? CCDF_ERROR_SIZE : RECORD_RAW_SIZE;
        return record;
}

/* Where the kernel writes to: the ioctl's header and on, or the raw bytes. */
static inline void *fixture_target(Record *record) {
        return (uint8_t *) record + (record->interface == RECORD_CCDF ? offsetof(Record, raw)
                                                                      : offsetof(Record, feature));
}

/* What the ioctl does then. */
static inline void fixture_answer(Record *record) {
        if (record->interface == RECORD_CCDF)
                memcpy(fixture_target(record), fixture_ccdf, sizeof(fixture_ccdf));
        else
                memcpy(fixture_target(record), &fixture_packed, sizeof(fixture_packed));
}

static inline void fixture_error(Ring *ring) {
        Record *record = fixture_reserve(ring, RECORD_CCDF);

        fixture_answer(record);
        ring_commit(ring, record);
}

static inline void fixture_lost(Ring *ring, uint64_t lost) {
        Record *record = ring_reserve(ring, RECORD_LOST, &fixture_identity);

        record->lost = lost;
        ring_commit(ring, record);
}

/* A memfd with these bytes. Sealable, not sealed. */
static inline int fixture_memfd(const void *bytes, size_t size) {
        int fd = memfd_create("fixture", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, bytes, size, 0), size);
        return fd;
}

static inline size_t fixture_size(const Ring *ring) {
        struct stat st;

        assert_int_equal(fstat(ring_fd(ring), &st), 0);
        return (size_t) st.st_size;
}

/* What the next run finds if this one ends now. */
static inline int fixture_clone(const Ring *ring) {
        size_t size = fixture_size(ring);
        void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, ring_fd(ring), 0);
        int fd;

        assert_ptr_not_equal(p, MAP_FAILED);
        fd = fixture_memfd(p, size);
        assert_int_equal(munmap(p, size), 0);
        return fd;
}

/* Lets the run end and opens the ring of the next. */
static inline Ring *fixture_rerun(Ring *ring) {
        RingOrigin origin = RING_FRESH;
        Ring *next = NULL;
        int fd = fixture_clone(ring);

        (void) ring_free(ring);
        assert_int_equal(ring_open(fd, 0, &next, &origin), 0);
        assert_int_equal(origin, RING_CONTINUED);
        return next;
}
