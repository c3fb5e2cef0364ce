/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel log as a source of errors: PEC and FID of every error of every function, held by
 * anybody or nobody. Needs CAP_SYSLOG.
 *
 * Format of /dev/kmsg: Documentation/ABI/testing/dev-kmsg of Linux. User space can write there
 * too, but not with facility 0, so only lines of facility 0 count.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "parse.h"
#include "util.h"

typedef struct Kmsg Kmsg;

typedef struct KmsgError {
        char address[PCI_ADDRESS_SIZE];
        uint32_t fid;
        uint16_t pec;
        uint64_t sequence;       /* of the line in the kernel log */
        uint64_t monotonic_usec; /* the line's own time stamp; of a Kmsg, never after now */
} KmsgError;

/* Of the callbacks only failed() may close the Kmsg. */
typedef struct KmsgListener {
        /* Whether lines can be taken in now; otherwise it is asked again in a later turn of the event
         * loop. May be NULL. Not for kmsg_catch_up(). */
        bool (*ready)(void *userdata);
        /* An error of a PCI function was reported. */
        void (*error)(const KmsgError *error, void *userdata);
        /* The kernel overwrote count lines before they were read. */
        void (*overrun)(uint64_t count, void *userdata);
        /* Lines up to this sequence number were read, whatever they said. After each batch. */
        void (*progress)(uint64_t sequence, void *userdata);
        /* Reading failed with this negative errno; nothing more will come. */
        void (*failed)(int error, void *userdata);
        void *userdata;
} KmsgListener;

/*
 * Parses one line as /dev/kmsg gives it. Returns 1 and fills *ret for an error of a PCI function,
 * 0 for any other line, also one that user space wrote, or -EBADMSG if it is none. *ret_sequence
 * is filled unless it is none.
 */
int kmsg_parse(const char *line, size_t size, KmsgError *ret, uint64_t *ret_sequence);

/*
 * Reads /dev/kmsg in an event loop: the lines after sequence (of this boot), or, if sequence is
 * UINT64_MAX, those that come from now on. Tells progress() from where before it returns. listener
 * must outlive it. Returns 0, -EPERM or -EACCES without CAP_SYSLOG, -ENOENT where there is no
 * /dev/kmsg,
 * other errors of open(2) and read(2).
 */
int kmsg_open(sd_event *event, uint64_t sequence, const KmsgListener *listener, Kmsg **ret);

/*
 * The same for an open file descriptor, which it takes over, also if it fails. Each read(2) gives
 * one line. Does not seek.
 */
int kmsg_open_fd(
        sd_event *event, int fd, uint64_t sequence, const KmsgListener *listener, Kmsg **ret);

/*
 * Reads what the kernel has logged up to now, without waiting for a turn in the event loop: for who
 * learned something else that came after it. Never calls failed().
 */
void kmsg_catch_up(Kmsg *kmsg);

Kmsg *kmsg_close(Kmsg *kmsg);
DEFINE_TRIVIAL_CLEANUP_FUNC(Kmsg *, kmsg_close);
