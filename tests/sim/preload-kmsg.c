/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /dev/kmsg is a packet connection to the controller, which can be polled, gives a record a read, and
 * blocks or not as it was opened. Seeking, the overrun and the end need help. */

#include "preload.h" /* first: see there */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc.h"

#define SOUGHT_MSEC 10000

int sim_kmsg_open(Sim *sim, int flags) {
        SimRequest request = { .kind = SIM_REQUEST_KMSG };
        char node[PATH_MAX];
        int fd, r;

        /* whether it is there, and whether this user may */
        snprintf(node, sizeof(node), "%s/dev/kmsg", sim->dir);
        fd = (int) syscall(SYS_openat, AT_FDCWD, node, (flags & O_ACCMODE) | O_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        syscall(SYS_close, fd);

        fd = sim_rpc_connect(sim,
                             (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0) |
                                     (flags & O_NONBLOCK ? SOCK_NONBLOCK : 0));
        if (fd < 0)
                return fd;
        if (syscall(SYS_write, fd, &request, sizeof(request)) != sizeof(request)) {
                r = -errno;
                syscall(SYS_close, fd);
                return r;
        }
        return fd;
}

/* Leaves errno alone: it may belong to a call on a file that is none of ours. */
static bool is_kmsg(int fd) {
        struct sockaddr_un sa = {};
        socklen_t size = sizeof(sa);
        Sim *sim = sim_here();
        int saved = errno;
        bool ours = false;

        if (sim && syscall(SYS_getpeername, fd, &sa, &size) >= 0 && sa.sun_family == AF_UNIX) {
                size_t n = strlen(sim->dir);

                ours = strncmp(sa.sun_path, sim->dir, n) == 0 &&
                       strcmp(sa.sun_path + n, "/sim/kernel") == 0;
        }
        errno = saved;
        return ours;
}

/* Asks the controller to go on elsewhere, and drops what it has sent until it says that it does. */
static int seek(int fd, off_t offset, int whence) {
        char buf[16], where = whence == SEEK_END ? SIM_KMSG_SEEK_END : SIM_KMSG_SEEK_FIRST;
        ssize_t n;

        if (offset != 0)
                return -ESPIPE;
        if (whence != SEEK_SET && whence != SEEK_END && whence != SEEK_DATA)
                return -EINVAL;
        if (syscall(SYS_write, fd, &where, 1) != 1)
                return -errno;

        for (;;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                int r = poll(&p, 1, SOUGHT_MSEC);

                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r == 0)
                        return -ETIMEDOUT;
                n = (ssize_t) syscall(SYS_recvfrom, fd, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL);
                if (n == 0)
                        return -EIO;
                if (n == 1 && buf[0] == SIM_KMSG_SOUGHT)
                        return 0;
        }
}

#define DEFINE_LSEEK(name, type)                                                                   \
        SIM_EXPORT type name(int fd, type offset, int whence) {                                    \
                int saved = errno;                                                                 \
                type r = SIM_NEXT(name, type, int, type, int)(fd, offset, whence);                 \
                                                                                                   \
                if (r >= 0 || errno != ESPIPE || !is_kmsg(fd))                                     \
                        return r;                                                                  \
                errno = saved;                                                                     \
                return sim_result(seek(fd, offset, whence));                                       \
        }

DEFINE_LSEEK(lseek, off_t)
DEFINE_LSEEK(lseek64, off64_t)

/* A read that found nothing asks the controller before it says so: a record that was logged before the call
 * is there for a real reader, and may still be on its way to ours. */
static ssize_t ask(int fd, void *buf, size_t size) {
        const char question = SIM_KMSG_EMPTY;
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int r;

        if (syscall(SYS_write, fd, &question, 1) != 1)
                return -1;
        do
                r = poll(&p, 1, SOUGHT_MSEC);
        while (r < 0 && errno == EINTR);
        return (ssize_t) syscall(SYS_read, fd, buf, size);
}

static ssize_t read_on(int fd, void *buf, size_t size, ssize_t n) {
        const char *sign = buf;

        if (n < 0 && errno == EAGAIN && is_kmsg(fd)) {
                n = ask(fd, buf, size);
                if (n == 1 && *sign == SIM_KMSG_EMPTY) {
                        errno = EAGAIN;
                        return -1;
                }
        }
        if (n != 1 || (*sign != SIM_KMSG_OVERRUN && *sign != SIM_KMSG_EMPTY) || !is_kmsg(fd))
                return n;
        if (*sign == SIM_KMSG_EMPTY) /* a late answer: records came in between */
                return read(fd, buf, size);
        errno = EPIPE;
        return -1;
}

SIM_EXPORT ssize_t read(int fd, void *buf, size_t size) {
        return read_on(fd, buf, size, SIM_NEXT(read, ssize_t, int, void *, size_t)(fd, buf, size));
}

ssize_t __read_chk(int fd, void *buf, size_t size, size_t buffer_size);

SIM_EXPORT ssize_t __read_chk(int fd, void *buf, size_t size, size_t buffer_size) {
        return read_on(fd,
                       buf,
                       size,
                       SIM_NEXT(__read_chk, ssize_t, int, void *, size_t, size_t)(
                               fd, buf, size, buffer_size));
}
