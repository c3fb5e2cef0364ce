/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "journal-queue.h"
#include "journal.h"
#include "names.h"

/* Until the next try, if journald is absent, and if memory or file descriptors are short. */
#define RECONNECT_USEC (1 * USEC_PER_SEC)
#define SHORTAGE_USEC  (100 * USEC_PER_MSEC)

#define ANNOUNCEMENT_SIZE 256U

struct Journal {
        sd_event *event;
        sd_event_source *writable; /* of fd; made when it is first full, so that what the daemon
                                    * says after its event loop ended still gets through */
        sd_event_source *timer;
        struct sockaddr_un address;
        int fd;
        uint64_t connect_usec; /* when connecting may be tried next */

        JournalQueue queue;
        uint64_t dropped; /* and not yet said */
};

static int journal_wake_up(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void) journal_flush(userdata);
        return 0;
}

static int journal_wake_up_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) journal_flush(userdata);
        return 0;
}

int journal_new(sd_event *event, const char *socket_path, Journal **ret) {
        _cleanup_(journal_freep) Journal *journal = NULL;
        int r;

        assert(event);
        assert(socket_path);
        assert(ret);

        journal = malloc(sizeof(*journal));
        if (!journal)
                return -ENOMEM;

        *journal = (Journal){
                .event = sd_event_ref(event),
                .address.sun_family = AF_UNIX,
                .fd = -EBADF,
        };

        if (strlen(socket_path) >= sizeof(journal->address.sun_path))
                return -ENAMETOOLONG;
        strcpy(journal->address.sun_path, socket_path);

        r = sd_event_add_time(
                event, &journal->timer, CLOCK_MONOTONIC, 0, 0, journal_wake_up_timer, journal);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(journal->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(journal->timer, "journal-retry");

        *ret = TAKE_PTR(journal);
        return 0;
}

static void journal_disconnect(Journal *journal) {
        journal->writable = sd_event_source_disable_unref(journal->writable);
        journal->fd = safe_close(journal->fd);
}

Journal *journal_free(Journal *journal) {
        if (!journal)
                return NULL;

        while (journal->queue.first)
                (void) journal_queue_pop(&journal->queue);
        journal_disconnect(journal);
        sd_event_source_disable_unref(journal->timer);
        sd_event_unref(journal->event);
        free(journal);
        return NULL;
}

/* Has the loop wake up then. Only who waits enables a source: none is while all is sent. */
static int journal_wait_until(Journal *journal, uint64_t usec) {
        (void) sd_event_source_set_time(journal->timer, usec);
        (void) sd_event_source_set_enabled(journal->timer, SD_EVENT_ONESHOT);
        return -EAGAIN;
}

/* Whatever is in the way of a connection, journald may be there later. */
static int journal_connect(Journal *journal) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        _cleanup_close_ int fd = -EBADF;

        if (journal->fd >= 0)
                return 0;
        if (now < journal->connect_usec)
                return journal_wait_until(journal, journal->connect_usec);
        journal->connect_usec = now + RECONNECT_USEC;

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 ||
            connect(fd, (const struct sockaddr *) &journal->address, sizeof(journal->address)) < 0)
                return journal_wait_until(journal, journal->connect_usec);

        journal->fd = TAKE_FD(fd);
        return 0;
}

/* Has the loop wake up when journald has room again. */
static int journal_wait_writable(Journal *journal) {
        if (!journal->writable && sd_event_add_io(journal->event,
                                                  &journal->writable,
                                                  journal->fd,
                                                  EPOLLOUT,
                                                  journal_wake_up,
                                                  journal) < 0)
                return journal_wait_until(journal, now_usec(CLOCK_MONOTONIC) + SHORTAGE_USEC);

        (void) sd_event_source_set_description(journal->writable, "journal-writable");
        (void) sd_event_source_set_enabled(journal->writable, SD_EVENT_ONESHOT);
        return -EAGAIN;
}

static int journal_sendmsg_memfd(const Journal *journal, const struct iovec *iov, size_t n_iov) {
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct msghdr message = {
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        _cleanup_close_ int fd = journal_wire_memfd(iov, n_iov);

        if (fd < 0)
                return fd;

        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));

        return sendmsg(journal->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int journal_sendmsg(const Journal *journal, struct iovec *iov, size_t n_iov) {
        struct msghdr message = {
                .msg_iov = iov,
                .msg_iovlen = n_iov,
        };

        if (sendmsg(journal->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
                return 0;
        if (errno == EMSGSIZE)
                return journal_sendmsg_memfd(journal, iov, n_iov);

        return -errno;
}

static int journal_transmit(Journal *journal, struct iovec *iov, size_t n_iov) {
        int r;

        for (;;) {
                r = journal_connect(journal);
                if (r < 0)
                        return r;

                r = journal_sendmsg(journal, iov, n_iov);
                switch (r) {
                case -EAGAIN:
                        return journal_wait_writable(journal);

                case -ENOBUFS:
                case -ENOMEM:
                case -EMFILE:
                case -ENFILE:
                case -ENOSPC: /* as a memfd says it */
                case -ETOOMANYREFS:
                        return journal_wait_until(journal,
                                                  now_usec(CLOCK_MONOTONIC) + SHORTAGE_USEC);

                case -ENOENT:
                case -ENOTCONN:
                case -ECONNREFUSED:
                case -ECONNRESET:
                case -EPIPE:
                case -EACCES:
                case -EPERM:
                        /* journald went away. Perhaps it is back already; we ask once a second. */
                        journal_disconnect(journal);
                        continue;

                default:
                        return r;
                }
        }
}

bool journal_is_taken(const Journal *journal) {
        int unread;

        assert(journal);

        return journal->fd < 0 || (ioctl(journal->fd, SIOCOUTQ, &unread) >= 0 && unread == 0);
}

int journal_send(Journal *journal, const struct iovec *fields, size_t n_fields) {
        JournalWire wire;
        int r;

        assert(journal);

        r = journal_wire_build(&wire, fields, n_fields);
        if (r < 0)
                return r;

        return journal_transmit(journal, wire.iov, wire.n_iov);
}

/* Puts the announcement where the dropped entries would have been. */
static void journal_announce_dropped(Journal *journal) {
        char text[ANNOUNCEMENT_SIZE];
        JournalWire wire;
        int n;

        if (journal->dropped == 0)
                return;

        n = snprintf(text,
                     sizeof(text),
                     "PRIORITY=4\nSYSLOG_IDENTIFIER=" ERRORD_PROGRAM "\nMESSAGE=%" PRIu64
                     " %s of the daemon about itself %s missing here: journald did not take %s\n",
                     journal->dropped,
                     journal->dropped == 1 ? "message" : "messages",
                     journal->dropped == 1 ? "is" : "are",
                     journal->dropped == 1 ? "it" : "them");
        assert(n > 0 && (size_t) n < sizeof(text));

        wire.iov[0] = (struct iovec){ text, (size_t) n };
        wire.n_iov = 1;
        wire.size = (size_t) n;
        if (journal_queue_push(&journal->queue, &wire, journal->dropped) >= 0)
                journal->dropped = 0;
}

void journal_send_or_queue(const struct iovec *fields, size_t n_fields, void *userdata) {
        Journal *journal = userdata;
        size_t room = 1, size;
        JournalWire wire;
        int r;

        assert(journal);

        r = journal_wire_build(&wire, fields, n_fields);
        if (r >= 0 && !journal->queue.first && journal->dropped == 0) {
                r = journal_transmit(journal, wire.iov, wire.n_iov);
                if (r >= 0)
                        return;
        }

        /*
         * An announcement goes in only with the entry it precedes: one for all that were dropped.
         */
        size = wire.size;
        if (journal->dropped > 0) {
                room++;
                size += ANNOUNCEMENT_SIZE;
        }
        if ((r < 0 && r != -EAGAIN) || !journal_queue_has_room(&journal->queue, room, size))
                journal->dropped++;
        else {
                journal_announce_dropped(journal);
                if (journal_queue_push(&journal->queue, &wire, 1) < 0)
                        journal->dropped++;
        }
        (void) journal_flush(journal);
}

size_t journal_flush(Journal *journal) {
        uint64_t stands_for;
        struct iovec iov;
        int r;

        assert(journal);

        if (!journal->queue.first)
                journal_announce_dropped(journal);

        while (journal->queue.first) {
                iov = (struct iovec){
                        .iov_base = journal->queue.first->bytes,
                        .iov_len = journal->queue.first->size,
                };
                r = journal_transmit(journal, &iov, 1);
                if (r == -EAGAIN)
                        break;

                stands_for = journal_queue_pop(&journal->queue);
                if (r < 0)
                        journal->dropped += stands_for;
                else
                        journal_announce_dropped(journal);
        }

        return journal->queue.n_entries;
}

bool journal_wait(const Journal *journal, uint64_t until_usec) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        struct pollfd poll_fd;
        struct timespec ts;

        assert(journal);

        if (now >= until_usec || !journal->writable ||
            sd_event_source_get_enabled(journal->writable, NULL) <= 0)
                return false;

        ts = usec_to_timespec(until_usec - now);
        poll_fd = (struct pollfd){ .fd = journal->fd, .events = POLLOUT };
        return ppoll(&poll_fd, 1, &ts, NULL) > 0;
}
