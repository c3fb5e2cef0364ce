/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "journal-line.h"
#include "util.h"

#define FIELDS_MAX 64U

static int journal_line_connect(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, path);

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

/* "NAME=value\n" for each, systemd.io/JOURNAL_NATIVE_PROTOCOL; log_entry() leaves no line feed. */
static int journal_line_try(const char *path, const struct iovec *fields, size_t n_fields) {
        struct iovec iov[2 * FIELDS_MAX];
        struct msghdr message = {
                .msg_iov = iov,
                .msg_iovlen = 2 * n_fields,
        };
        _cleanup_close_ int fd = -EBADF;

        assert(n_fields <= FIELDS_MAX);

        for (size_t i = 0; i < n_fields; i++) {
                iov[2 * i] = fields[i];
                iov[2 * i + 1] = (struct iovec){ .iov_base = (char *) "\n", .iov_len = 1 };
        }

        fd = journal_line_connect(path);
        if (fd < 0)
                return fd;
        return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void journal_line_send(const struct iovec *fields, size_t n_fields, void *userdata) {
        static const char name[] = "MESSAGE=";
        const struct iovec *last = fields + n_fields - 1; /* LogSink promises that this is it */
        struct pollfd ready = {
                .fd = STDERR_FILENO,
                .events = POLLOUT,
        };
        const JournalLine *line = userdata;

        assert(n_fields > 0);
        assert(line);

        if (journal_line_try(line->socket_path, fields, n_fields) < 0 && poll(&ready, 1, 0) == 1)
                (void) dprintf(STDERR_FILENO,
                               "%s: %.*s\n",
                               line->program,
                               (int) (last->iov_len - strlen(name)),
                               (const char *) last->iov_base + strlen(name));
}
