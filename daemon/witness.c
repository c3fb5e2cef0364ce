/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "witness.h"

/*
 * The ring buffer as the kernel maps it (Documentation/bpf/ringbuf.rst of Linux): a page with the
 * consumer's position, which alone is ours to write, a page with the producer's, then the data.
 * Positions only grow. Each account follows a header, of which the first half is its length, and is
 * padded to eight bytes. libbpf could read it too, but asks bpf(2) about the map, which takes a
 * privilege.
 */
#define DATA_MASK   (WITNESS_RING_SIZE - 1)
#define ROUND_UP(n) (((n) + 7U) & ~UINT64_C(7))

#define WITNESS_BATCH 64U /* accounts read before others get their turn */
/* Behind what drains the kernel's queues, and the rest of a storm behind the publishers. */
#define PRIORITY_MORE (SD_EVENT_PRIORITY_NORMAL + 1)

_Static_assert((WITNESS_RING_SIZE & DATA_MASK) == 0,
               "a ring buffer of the kernel is a power of two");

struct Witness {
        const WitnessListener *listener;
        sd_event_source *source; /* owns the fd */
        sd_event_source *more_source;
        int counters_fd;
        size_t page;
        uint64_t *consumer;                      /* how far the accounts are released */
        const uint64_t *producer;                /* how far there are any */
        const uint8_t *data;                     /* behind the producer's page */
        const struct witness_counters *counters; /* at the beginning of a page */
        uint64_t position; /* how far the accounts were read: consumer <= position <= producer */
        uint64_t lost;     /* as told last */
};

/* An account is copied out before it is looked at, in two parts where it reaches past the end. */
static void data_copy(const Witness *w, uint64_t position, void *to, size_t size) {
        size_t begin = position & DATA_MASK, first = WITNESS_RING_SIZE - begin;

        if (first > size)
                first = size;
        memcpy(to, w->data + begin, first);
        memcpy((uint8_t *) to + first, w->data, size - first);
}

/*
 * The account at *position, which moves behind it; discarded ones are skipped. Returns 1, 0 if
 * there is none (yet), or -EBADMSG.
 */
static int witness_next(const Witness *w, uint64_t *position, struct witness_account *ret) {
        for (;;) {
                uint64_t end = __atomic_load_n(w->producer, __ATOMIC_ACQUIRE), size;
                uint32_t header;

                if (*position == end)
                        return 0;
                /* Positions are multiples of eight, so a header never reaches past the end. */
                if (*position > end || end - *position > WITNESS_RING_SIZE || (*position & 7) != 0)
                        return -EBADMSG;

                header = __atomic_load_n((const uint32_t *) (w->data + (*position & DATA_MASK)),
                                         __ATOMIC_ACQUIRE);
                if (header & BPF_RINGBUF_BUSY_BIT)
                        return 0;

                size = ROUND_UP((header & ~BPF_RINGBUF_DISCARD_BIT) + BPF_RINGBUF_HDR_SZ);
                if (size != ROUND_UP(sizeof(*ret) + BPF_RINGBUF_HDR_SZ) || size > end - *position)
                        return -EBADMSG;

                if (!(header & BPF_RINGBUF_DISCARD_BIT))
                        data_copy(w, *position + BPF_RINGBUF_HDR_SZ, ret, sizeof(*ret));
                *position += size;
                if (!(header & BPF_RINGBUF_DISCARD_BIT))
                        return 1;
        }
}

/* Reads so many accounts at most. Returns what the last witness_next() did. */
static int witness_read(Witness *w, unsigned n) {
        const WitnessListener *listener = w->listener;
        struct witness_account account;
        uint64_t lost;
        int r = 1;

        while (n-- > 0 && (r = witness_next(w, &w->position, &account)) > 0)
                listener->account(&account, listener->userdata);

        lost = __atomic_load_n(&w->counters->lost, __ATOMIC_RELAXED);
        if (lost != w->lost) {
                w->lost = lost;
                listener->overrun(lost, listener->userdata);
        }
        return r;
}

static void witness_turn(Witness *w) {
        int r = witness_read(w, WITNESS_BATCH);

        if (r > 0)
                (void) sd_event_source_set_enabled(w->more_source, SD_EVENT_ONESHOT);
        else if (r < 0) {
                (void) sd_event_source_set_enabled(w->source, SD_EVENT_OFF);
                w->listener->failed(r, w->listener->userdata); /* may close us */
        }
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Witness *w = userdata;

        assert(w);

        witness_turn(w);
        return 0;
}

static int on_more(sd_event_source *source, void *userdata) {
        Witness *w = userdata;

        assert(w);

        witness_turn(w);
        return 0;
}

bool witness_catch_up(Witness *w, bool patient) {
        assert(w);

        /* What fails here fails in the event loop too, which tells of it. */
        return witness_read(w,
                            patient ? WITNESS_BATCH
                                    : WITNESS_RING_SIZE / sizeof(struct witness_account)) <= 0;
}

uint64_t witness_oldest(const Witness *w) {
        struct witness_account account;
        uint64_t position;

        assert(w);

        position = *w->consumer;
        return witness_next(w, &position, &account) > 0 ? account.sequence : UINT64_MAX;
}

void witness_release(Witness *w, uint64_t sequence) {
        struct witness_account account;
        uint64_t position, released;

        assert(w);

        released = position = *w->consumer;
        while (position < w->position && witness_next(w, &position, &account) > 0 &&
               account.sequence < sequence)
                released = position;

        if (released != *w->consumer)
                __atomic_store_n(w->consumer, released, __ATOMIC_RELEASE);
}

static int map(int fd, off_t offset, size_t size, int protection, void *ret) {
        void *p = mmap(NULL, size, protection, MAP_SHARED, fd, offset);

        if (p == MAP_FAILED)
                return errno == EINVAL || errno == ENODEV || errno == EACCES ? -EBADMSG : -errno;

        memcpy(ret, &p, sizeof(p));
        return 0;
}

static int witness_map(Witness *w, int ring_fd) {
        int r;

        r = map(ring_fd, 0, w->page, PROT_READ | PROT_WRITE, &w->consumer);
        if (r < 0)
                return r;
        r = map(ring_fd, (off_t) w->page, w->page + WITNESS_RING_SIZE, PROT_READ, &w->producer);
        if (r < 0)
                return r;
        r = map(w->counters_fd, 0, w->page, PROT_READ, &w->counters);
        if (r < 0)
                return r;

        w->data = (const uint8_t *) w->producer + w->page;
        w->position = *w->consumer;
        return 0;
}

static int witness_watch(Witness *w, sd_event *event, int ring_fd) {
        int r;

        /* By edges: while accounts wait to be released, the kernel says that there are some. */
        r = sd_event_add_io(event, &w->source, ring_fd, EPOLLIN | EPOLLET, on_readable, w);
        if (r < 0)
                return r;

        /* Runs at once, for what a former run left. */
        r = sd_event_add_defer(event, &w->more_source, on_more, w);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(w->more_source, PRIORITY_MORE);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(w->source, "witness");
        (void) sd_event_source_set_description(w->more_source, "witness-more");
        return 0;
}

int witness_open(sd_event *event,
                 int ring_fd,
                 int counters_fd,
                 const WitnessListener *listener,
                 Witness **ret) {
        _cleanup_close_ int ring = ring_fd, counters = counters_fd;
        _cleanup_(witness_closep) Witness *w = NULL;
        int r;

        assert(event);
        assert(listener);
        assert(ret);

        w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;
        *w = (Witness){
                .listener = listener,
                .counters_fd = TAKE_FD(counters),
                .page = (size_t) sysconf(_SC_PAGESIZE),
        };

        r = witness_map(w, ring);
        if (r < 0)
                return r;
        r = witness_watch(w, event, ring);
        if (r < 0)
                return r;
        r = sd_event_source_set_io_fd_own(w->source, true);
        if (r < 0)
                return r;
        (void) TAKE_FD(ring);

        *ret = TAKE_PTR(w);
        return 0;
}

Witness *witness_close(Witness *w) {
        if (!w)
                return NULL;

        (void) sd_event_source_disable_unref(w->source);
        (void) sd_event_source_disable_unref(w->more_source);
        if (w->consumer)
                (void) munmap(w->consumer, w->page);
        if (w->producer)
                (void) munmap((void *) w->producer, w->page + WITNESS_RING_SIZE);
        if (w->counters)
                (void) munmap((void *) w->counters, w->page);
        (void) safe_close(w->counters_fd);
        free(w);
        return NULL;
}

int witness_read_status(int fd, char text[static WITNESS_STATUS_SIZE]) {
        _cleanup_close_ int owned = fd;
        ssize_t n;

        n = pread(owned, text, WITNESS_STATUS_SIZE, 0);
        if (n <= 0 || n >= (ssize_t) WITNESS_STATUS_SIZE)
                return -EBADMSG;
        text[n] = '\0';

        /* Words such as "not-permitted" and "ENOMEM": it goes to the bus and the journal as it is. */
        for (const char *p = text; *p != '\0'; p++)
                if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-", *p))
                        return -EBADMSG;
        return strlen(text) == (size_t) n ? 0 : -EBADMSG;
}
