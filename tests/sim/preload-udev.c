/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What umockdev's library does not do for udev monitors and for tests of access. */

#include "preload.h" /* first: see there */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "uevent.h"

const char *sim_udev_path(const char *path, char buf[static PATH_MAX]) {
        static const char data[] = "/run/udev/data/";
        Sim *sim;

        if (!path || strncmp(path, data, sizeof(data) - 1) != 0 || !(sim = sim_here()) ||
            snprintf(buf, PATH_MAX, "%s%s", sim->dir, path) >= PATH_MAX)
                return path;
        return buf;
}

#define DEFINE_FOPEN(name)                                                                         \
        SIM_EXPORT FILE *name(const char *path, const char *mode) {                                \
                char buf[PATH_MAX];                                                                \
                                                                                                   \
                return SIM_NEXT(name, FILE *, const char *, const char *)(                         \
                        sim_udev_path(path, buf), mode);                                           \
        }

DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)

/* umockdev names a monitor's socket after its fd number: of two monitors with the same number in two
 * processes only the last would get events. So each gets a name of its own. */
static void rename_monitor(Sim *sim, int fd) {
        char path[PATH_MAX];
        struct sockaddr_un sa;
        socklen_t size = sizeof(sa);

        if (syscall(SYS_getsockname, fd, &sa, &size) < 0 || sa.sun_family != AF_UNIX)
                return;
        snprintf(path,
                 sizeof(path),
                 "%s/monitors/%llu",
                 sim->dir,
                 (unsigned long long) sim->state->next_generation++);
        if (rename(sa.sun_path, path) < 0)
                fprintf(stderr, "zpci-sim: cannot rename %s: %s\n", sa.sun_path, strerror(errno));
}

SIM_EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t size) {
        Sim *sim = addr->sa_family == AF_NETLINK ? sim_here() : NULL;
        int r;

        if (!sim)
                return SIM_NEXT(bind, int, int, const struct sockaddr *, socklen_t)(fd, addr, size);

        sim_lock(sim); /* nobody else may bind the same name in between */
        r = SIM_NEXT(bind, int, int, const struct sockaddr *, socklen_t)(fd, addr, size);
        if (r == 0)
                rename_monitor(sim, fd);
        sim_unlock(sim);
        return r;
}

/* The controller's sign for "the kernel had no room for an event": an error of the socket. */
SIM_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
        ssize_t n = SIM_NEXT(recvmsg, ssize_t, int, struct msghdr *, int)(fd, message, flags);

        if (n == sizeof(SIM_UEVENT_OVERRUN) && message->msg_iovlen > 0 &&
            message->msg_iov[0].iov_len >= sizeof(SIM_UEVENT_OVERRUN) &&
            memcmp(message->msg_iov[0].iov_base, SIM_UEVENT_OVERRUN, sizeof(SIM_UEVENT_OVERRUN)) ==
                    0) {
                errno = ENOBUFS;
                return -1;
        }
        return n;
}
