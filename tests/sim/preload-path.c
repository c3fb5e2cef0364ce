/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the nodes look like: umockdev's library makes character devices of their paths for stat(), but knows
 * nothing of open fds, of faccessat() and of links below /proc. */

#include "preload.h" /* first: see there */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "device.h"

SIM_EXPORT int faccessat(int dir, const char *path, int mode, int flags) {
        char there[PATH_MAX];
        Sim *sim;

        if ((strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/sys/", 5) == 0) &&
            (sim = sim_here()) &&
            snprintf(there, sizeof(there), "%s%s", sim->dir, path) < (int) sizeof(there) &&
            (path[1] == 's' || syscall(SYS_faccessat, AT_FDCWD, there, F_OK) == 0))
                path = there;
        return SIM_NEXT(faccessat, int, int, const char *, int, int)(dir, path, mode, flags);
}

static void disguise(int fd, mode_t *mode, dev_t *rdev) {
        Sim *sim = S_ISREG(*mode) ? sim_here() : NULL;
        SimRef ref;

        if (!sim || !sim_identify(sim, fd, &ref))
                return;

        *mode &= ~(mode_t) S_IFMT;
        if (ref.node == SIM_NODE_DEVICE)
                return; /* an anonymous inode has no type at all */

        *mode |= S_IFCHR;
        if (ref.node == SIM_NODE_GROUP)
                *rdev = makedev(SIM_GROUP_MAJOR, sim->state->functions[ref.slot].group);
        else if (ref.node == SIM_NODE_CDEV)
                *rdev = makedev(SIM_CDEV_MAJOR,
                                (unsigned) sim->state->functions[ref.slot].vfio_index);
        else
                *rdev = makedev(10, ref.node == SIM_NODE_CONTAINER ? 196 : 263);
}

#define DEFINE_FSTAT(name, type)                                                                   \
        SIM_EXPORT int name(int fd, struct type *st) {                                             \
                int r = SIM_NEXT(name, int, int, struct type *)(fd, st);                           \
                                                                                                   \
                if (r == 0)                                                                        \
                        disguise(fd, &st->st_mode, &st->st_rdev);                                  \
                return r;                                                                          \
        }

DEFINE_FSTAT(fstat, stat)
DEFINE_FSTAT(fstat64, stat64)

/* The name of an open file: without the testbed, and of a group's device what the kernel says. */
static ssize_t rename_link(const char *path, char *buf, ssize_t n) {
        static const char device[] = "anon_inode:[vfio-device]";
        Sim *sim = n > 0 && strncmp(path, "/proc/", 6) == 0 ? sim_here() : NULL;
        size_t prefix = sim ? strlen(sim->dir) : 0;

        if (!sim || (size_t) n <= prefix || strncmp(buf, sim->dir, prefix) != 0)
                return n;
        if (strncmp(buf + prefix, "/dev/", 5) == 0) {
                memmove(buf, buf + prefix, (size_t) n - prefix);
                return n - (ssize_t) prefix;
        }
        if (strncmp(buf + prefix, "/sim/device/", 12) == 0 && n > (ssize_t) sizeof(device) - 1) {
                memcpy(buf, device, sizeof(device) - 1);
                return sizeof(device) - 1;
        }
        return n;
}

SIM_EXPORT ssize_t readlink(const char *path, char *buf, size_t size) {
        return rename_link(
                path,
                buf,
                SIM_NEXT(readlink, ssize_t, const char *, char *, size_t)(path, buf, size));
}

SIM_EXPORT ssize_t readlinkat(int dir, const char *path, char *buf, size_t size) {
        return rename_link(path,
                           buf,
                           SIM_NEXT(readlinkat, ssize_t, int, const char *, char *, size_t)(
                                   dir, path, buf, size));
}

ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t buffer_size);

SIM_EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t buffer_size) {
        return rename_link(path,
                           buf,
                           SIM_NEXT(__readlink_chk, ssize_t, const char *, char *, size_t, size_t)(
                                   path, buf, size, buffer_size));
}

ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t size, size_t buffer_size);

SIM_EXPORT ssize_t
__readlinkat_chk(int dir, const char *path, char *buf, size_t size, size_t buffer_size) {
        return rename_link(
                path,
                buf,
                SIM_NEXT(__readlinkat_chk, ssize_t, int, const char *, char *, size_t, size_t)(
                        dir, path, buf, size, buffer_size));
}
