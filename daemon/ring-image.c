/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "ring-image.h"

/*
 * Populated, and its pages allocated before: a fault that fails in the middle of the ioctl would
 * cost us the record.
 */
static int ring_image_map(Ring *ring, uint32_t n_slots) {
        size_t size = ring_image_size(n_slots);
        void *p;

        while (fallocate(ring->fd, 0, 0, (off_t) size) < 0)
                if (errno != EINTR)
                        return -errno;

        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, 0);
        if (p == MAP_FAILED)
                return -errno;

        ring->image = p;
        ring->n_slots = n_slots;
        return 0;
}

int ring_image_create(Ring *ring, uint32_t n_slots) {
        RingHeader *header;
        ssize_t n;
        int r;

        assert(ring);

        ring->fd = memfd_create("zpci-errord-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (ring->fd < 0)
                return -errno;

        r = ring_image_map(ring, n_slots);
        if (r < 0)
                return r;

        if (fcntl(ring->fd, F_ADD_SEALS, RING_SEALS) < 0)
                return -errno;

        header = &ring->image->header;
        n = getrandom(header->stream_id, sizeof(header->stream_id), 0);
        if (n != (ssize_t) sizeof(header->stream_id))
                return n < 0 ? -errno : -EIO;

        header->version = RING_VERSION;
        header->header_size = RING_HEADER_SIZE;
        header->function_size = sizeof(RingFunction);
        header->record_size = RECORD_SIZE;
        header->n_functions = RING_FUNCTIONS;
        header->n_slots = n_slots;
        header->kmsg_sequence = UINT64_MAX;
        RING_STORE(header->magic, RING_MAGIC);
        return 0;
}

/* Magic and version, from what may be any file. */
static int ring_image_identify(int fd) {
        uint8_t bytes[offsetof(RingHeader, header_size)];
        uint64_t magic;
        uint32_t version;
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return -EBADMSG;
        n = pread(fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == ENOMEM)
                return -ENOMEM;
        if (n != (ssize_t) sizeof(bytes))
                return -EBADMSG;

        memcpy(&magic, bytes, sizeof(magic));
        memcpy(&version, bytes + offsetof(RingHeader, version), sizeof(version));
        if (magic != RING_MAGIC || version == 0)
                return -EBADMSG;

        return version > RING_VERSION ? -EPROTO : 0;
}

/* Nobody may cut off under our feet what we mapped, or forbid us to write it. */
static int ring_image_seal(int fd) {
        int flags, seals;

        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || (flags & O_ACCMODE) != O_RDWR)
                return -EBADMSG;

        seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0 || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0)
                return -EBADMSG;
        if ((seals & RING_SEALS) == RING_SEALS)
                return 0;

        return fcntl(fd, F_ADD_SEALS, RING_SEALS) < 0 ? -EBADMSG : 0;
}

static bool ring_header_valid(const RingHeader *header, uint32_t n_slots) {
        if (header->header_size != RING_HEADER_SIZE || header->record_size != RECORD_SIZE ||
            header->function_size != sizeof(RingFunction) ||
            header->n_functions != RING_FUNCTIONS || header->n_slots != n_slots ||
            header->head > RING_POSITION_MAX)
                return false;

        for (size_t i = 0; i < ELEMENTSOF(header->cursors); i++)
                if (header->cursors[i] > header->head)
                        return false;

        return true;
}

int ring_image_adopt(Ring *ring) {
        struct stat st;
        size_t rest;
        int r;

        assert(ring);

        r = ring_image_identify(ring->fd);
        if (r < 0)
                return r;

        r = ring_image_seal(ring->fd);
        if (r < 0)
                return r;

        /* From here on the size stays as it is. */
        if (fstat(ring->fd, &st) < 0 || st.st_size < (off_t) ring_image_size(RING_SLOTS_MIN) ||
            st.st_size > (off_t) ring_image_size(RING_SLOTS_MAX))
                return -EBADMSG;

        rest = (size_t) st.st_size - sizeof(RingImage);
        if (rest % RECORD_SIZE != 0)
                return -EBADMSG;

        r = ring_image_map(ring, (uint32_t) (rest / RECORD_SIZE));
        if (r < 0)
                return r;

        return ring_header_valid(&ring->image->header, ring->n_slots) ? 0 : -EBADMSG;
}
