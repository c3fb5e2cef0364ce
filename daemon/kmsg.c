/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "kmsg.h"

#define KMSG_LINE_MAX 8192U /* CONSOLE_EXT_LOG_MAX of Linux: what a line is at most */
#define KMSG_BATCH    2048U /* lines read before others get their turn: four of each function */
#define KMSG_REFUSALS 64U   /* lines in a row that the kernel may refuse to give out */
#define KMSG_CATCH_UP 4096U /* lines read by who cannot wait: more than a storm of errors has */

struct Kmsg {
        const KmsgListener *listener;
        sd_event_source *source; /* owns the file descriptor */
        bool started;            /* next is known */
        uint64_t next;           /* sequence number of the next line */
        unsigned n_refused;      /* reads in a row that gave no line, and no end of lines either */
};

/* What is left of a line. */
typedef struct Rest {
        const char *p, *end;
} Rest;

static bool take_text(Rest *rest, const char *text) {
        size_t size = strlen(text);

        if ((size_t) (rest->end - rest->p) < size || memcmp(rest->p, text, size) != 0)
                return false;

        rest->p += size;
        return true;
}

/* Takes digits up to the first byte that is none, as parse.h understands them. */
static bool take_number(Rest *rest,
                        const char *digits,
                        int (*parse)(const char *text, uint64_t max, uint64_t *ret),
                        uint64_t max,
                        uint64_t *ret) {
        char text[sizeof("18446744073709551615")];
        size_t size = 0;

        while (rest->p + size < rest->end && strchr(digits, rest->p[size]) && rest->p[size])
                if (++size == sizeof(text))
                        return false;

        memcpy(text, rest->p, size);
        text[size] = '\0';
        rest->p += size;

        return parse(text, max, ret) >= 0;
}

static bool take_decimal(Rest *rest, uint64_t max, uint64_t *ret) {
        return take_number(rest, "0123456789", parse_decimal, max, ret);
}

static bool take_hex(Rest *rest, uint64_t max, uint64_t *ret) {
        return take_number(rest, "0123456789abcdef", parse_hex, max, ret);
}

/* Up to the colon before the next blank. */
static bool take_address(Rest *rest, char ret[static PCI_ADDRESS_SIZE]) {
        const char *blank = memchr(rest->p, ' ', (size_t) (rest->end - rest->p));
        size_t size;

        if (!blank || blank == rest->p)
                return false;
        size = (size_t) (blank - rest->p) - 1;
        if (size >= PCI_ADDRESS_SIZE)
                return false;

        memcpy(ret, rest->p, size);
        ret[size] = '\0';
        rest->p += size;

        return pci_address_valid(ret);
}

/* "zpci: 0001:00:00.0: Event 0x2 reports an error for PCI function 0x10", and nothing else */
static bool take_error(Rest *rest, KmsgError *ret) {
        uint64_t pec, fid;

        if (!take_text(rest, "zpci: ") || !take_address(rest, ret->address) ||
            !take_text(rest, ": Event 0x") || !take_hex(rest, UINT16_MAX, &pec) ||
            !take_text(rest, " reports an error for PCI function 0x") ||
            !take_hex(rest, UINT32_MAX, &fid) || rest->p != rest->end)
                return false;

        ret->pec = (uint16_t) pec;
        ret->fid = (uint32_t) fid;
        return true;
}

/* "priority,sequence,microseconds,flags[,…];text\n", then lines that begin with a blank */
int kmsg_parse(const char *line, size_t size, KmsgError *ret, uint64_t *ret_sequence) {
        uint64_t priority, sequence, usec;
        KmsgError error = {};
        const char *text;
        Rest rest;

        assert(line || size == 0);
        assert(ret);
        assert(ret_sequence);

        rest = (Rest){ .p = line, .end = size > 0 ? memchr(line, '\n', size) : NULL };
        if (!rest.end)
                return -EBADMSG;

        text = memchr(rest.p, ';', (size_t) (rest.end - rest.p));
        if (!text)
                return -EBADMSG;

        /* eight bits of facility and three of level */
        if (!take_decimal(&rest, 0x7ff, &priority) || !take_text(&rest, ",") ||
            !take_decimal(&rest, UINT64_MAX, &sequence) || !take_text(&rest, ",") ||
            !take_decimal(&rest, UINT64_MAX, &usec) || !take_text(&rest, ","))
                return -EBADMSG;

        *ret_sequence = sequence;

        rest.p = text + 1;
        if (priority >> 3 != 0 || !take_error(&rest, &error))
                return 0;

        error.sequence = sequence;
        error.monotonic_usec = usec;
        *ret = error;
        return 1;
}

/* Returns false for a line that was read before. */
static bool kmsg_take(Kmsg *kmsg, const char *line, size_t size) {
        const KmsgListener *listener = kmsg->listener;
        uint64_t sequence, now;
        KmsgError error;
        int r;

        kmsg->n_refused = 0;
        r = kmsg_parse(line, size, &error, &sequence);
        if (r < 0)
                return true;

        if (kmsg->started && sequence < kmsg->next)
                return false;
        if (kmsg->started && sequence > kmsg->next)
                listener->overrun(sequence - kmsg->next, listener->userdata);
        kmsg->started = true;
        kmsg->next = sequence + 1;

        if (r == 0)
                return true;

        /* printk's clock is not disciplined as ours is, and weeks later it may be seconds ahead. */
        now = now_usec(CLOCK_MONOTONIC);
        if (error.monotonic_usec > now)
                error.monotonic_usec = now;

        listener->error(&error, listener->userdata);
        return true;
}

/*
 * Returns 1 if there may be more, 0 if there is not now, or a negative errno if there never will.
 */
static int kmsg_read(Kmsg *kmsg, int fd) {
        char line[KMSG_LINE_MAX];
        ssize_t n;

        /* The former run may have read all of a long log: who cannot wait must come to its end. */
        do
                n = read(fd, line, sizeof(line));
        while (n > 0 && !kmsg_take(kmsg, line, (size_t) n));

        if (n > 0)
                return 1;
        if (n == 0)
                return -EIO; /* the kernel log has no end */
        if (errno == EAGAIN)
                return 0;

        /* EPIPE: lines were overwritten; the sequence number of the next tells how many. EINVAL: the
         * line did not fit, and was skipped. Both go on behind it, or else they would go on for ever. */
        if (errno == EINTR || errno == EPIPE)
                return 1;
        if (errno == EINVAL && ++kmsg->n_refused < KMSG_REFUSALS)
                return 1;

        return -errno;
}

/* Reads so many lines at most. Returns what the last kmsg_read() did. */
static int kmsg_read_batch(Kmsg *kmsg, int fd, unsigned n) {
        const KmsgListener *listener = kmsg->listener;
        uint64_t before = kmsg->next;
        int r = 1;

        for (unsigned i = 0; i < n && r > 0; i++)
                r = kmsg_read(kmsg, fd);

        if (kmsg->next != before)
                listener->progress(kmsg->next - 1, listener->userdata);
        return r;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Kmsg *kmsg = userdata;
        const KmsgListener *listener = kmsg->listener;
        int r;

        if (listener->ready && !listener->ready(listener->userdata))
                return 0;

        /* What is left after a batch wakes us up again. */
        r = kmsg_read_batch(kmsg, fd, KMSG_BATCH);
        if (r < 0) {
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
                listener->failed(r, listener->userdata); /* may close us */
        }

        return 0;
}

void kmsg_catch_up(Kmsg *kmsg) {
        assert(kmsg);

        /* What fails here fails in the event loop too, which tells of it. */
        (void) kmsg_read_batch(kmsg, sd_event_source_get_io_fd(kmsg->source), KMSG_CATCH_UP);
}

int kmsg_open_fd(
        sd_event *event, int fd, uint64_t sequence, const KmsgListener *listener, Kmsg **ret) {
        _cleanup_(kmsg_closep) Kmsg *kmsg = NULL;
        _cleanup_close_ int owned = fd;
        int r;

        assert(event);
        assert(fd >= 0);
        assert(listener);
        assert(ret);

        kmsg = malloc(sizeof(*kmsg));
        if (!kmsg)
                return -ENOMEM;

        *kmsg = (Kmsg){
                .listener = listener,
                .started = sequence != UINT64_MAX,
                .next = sequence + 1,
        };

        r = sd_event_add_io(event, &kmsg->source, owned, EPOLLIN, on_readable, kmsg);
        if (r < 0)
                return r;
        r = sd_event_source_set_io_fd_own(kmsg->source, true);
        if (r < 0)
                return r;
        (void) TAKE_FD(owned);
        (void) sd_event_source_set_description(kmsg->source, "kmsg");
        /* In a storm of errors too, the log is read before it is overwritten, and while it is known
         * which records its lines belong to. */
        r = sd_event_source_set_priority(kmsg->source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(kmsg);
        return 0;
}

/*
 * Goes to the end of the log by reading it, for only its last line tells where that is: the next
 * run has to know, even if nothing is logged until this one ends. *ret_sequence stays as it was if
 * there is no line.
 */
static int kmsg_go_to_end(int fd, uint64_t *ret_sequence) {
        char line[KMSG_LINE_MAX];
        unsigned n_refused = 0;
        KmsgError error;

        while (n_refused < KMSG_REFUSALS) {
                ssize_t n = read(fd, line, sizeof(line));

                if (n == 0)
                        return -EIO;
                if (n < 0 && errno == EAGAIN)
                        return 0;
                if (n < 0 && errno != EINTR && errno != EPIPE && errno != EINVAL)
                        return -errno;

                n_refused = n < 0 ? n_refused + 1 : 0;
                if (n > 0)
                        (void) kmsg_parse(line, (size_t) n, &error, ret_sequence);
        }

        return -EIO;
}

int kmsg_open(sd_event *event, uint64_t sequence, const KmsgListener *listener, Kmsg **ret) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;

        if (sequence == UINT64_MAX) {
                r = kmsg_go_to_end(fd, &sequence);
                if (r < 0)
                        return r;
        }

        r = kmsg_open_fd(event, TAKE_FD(fd), sequence, listener, ret);
        if (r >= 0 && sequence != UINT64_MAX)
                listener->progress(sequence, listener->userdata);
        return r;
}

Kmsg *kmsg_close(Kmsg *kmsg) {
        if (!kmsg)
                return NULL;

        (void) sd_event_source_disable_unref(kmsg->source);
        free(kmsg);
        return NULL;
}
