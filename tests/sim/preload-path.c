/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the nodes look like: umockdev's library makes character devices of their paths for stat(), but knows
 * nothing of open fds, of faccessat() and of links below /proc. */

#include "preload.h" /* first: see there */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Of an open file only: the path is empty then. */
SIM_EXPORT int
statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict st) {
        int r = SIM_NEXT(statx, int, int, const char *, int, unsigned, struct statx *)(
                dir, path, flags, mask, st);
        dev_t rdev;
        mode_t mode;

        if (r < 0 || !(flags & AT_EMPTY_PATH) || *path != '\0')
                return r;

        mode = st->stx_mode;
        rdev = makedev(st->stx_rdev_major, st->stx_rdev_minor);
        disguise(dir, &mode, &rdev);
        st->stx_mode = (uint16_t) mode;
        st->stx_rdev_major = major(rdev);
        st->stx_rdev_minor = minor(rdev);
        return r;
}

/*
 * The name of an open file: without the testbed, and of a group's device what the kernel says. What was
 * opened in a mount namespace that is gone, as that of a sandboxed service that ended, has no testbed in
 * front of its name any more.
 */
static ssize_t rename_link(const Sim *sim, char *name, ssize_t n) {
        static const char device[] = "anon_inode:[vfio-device]";
        size_t prefix = strlen(sim->dir);
        const char *rest;

        name[n] = '\0';
        rest = strncmp(name, sim->dir, prefix) == 0 ? name + prefix : name;
        if (rest != name && strncmp(rest, "/dev/", 5) == 0) {
                n -= (ssize_t) prefix;
                memmove(name, rest, (size_t) n);
                return n;
        }
        if (strncmp(rest, "/sim/device/", 12) == 0) {
                memcpy(name, device, sizeof(device) - 1);
                return sizeof(device) - 1;
        }
        return n;
}

/* The testbed, if this may be a link below /proc. */
static Sim *sim_of_link(const char *path) {
        return path && (*path != '/' || strncmp(path, "/proc/", 6) == 0) ? sim_here() : NULL;
}

typedef ssize_t (*ReadLink)(int dir, const char *path, char *buf, size_t size);

/* Reads the whole link before it is renamed: what fits into 'buf' is of the new name. */
static ssize_t read_link(ReadLink next, int dir, const char *path, char *buf, size_t size) {
        Sim *sim = sim_of_link(path);
        char name[PATH_MAX];
        ssize_t n;

        if (!sim || size == 0)
                return next(dir, path, buf, size);

        n = next(dir, path, name, sizeof(name) - 1);
        if (n < 0)
                return n;
        n = rename_link(sim, name, n);
        if ((size_t) n > size)
                n = (ssize_t) size;
        memcpy(buf, name, (size_t) n);
        return n;
}

static ssize_t next_readlink(int dir, const char *path, char *buf, size_t size) {
        return SIM_NEXT(readlink, ssize_t, const char *, char *, size_t)(path, buf, size);
}

static ssize_t next_readlinkat(int dir, const char *path, char *buf, size_t size) {
        return SIM_NEXT(readlinkat, ssize_t, int, const char *, char *, size_t)(
                dir, path, buf, size);
}

SIM_EXPORT ssize_t readlink(const char *path, char *buf, size_t size) {
        return read_link(next_readlink, AT_FDCWD, path, buf, size);
}

SIM_EXPORT ssize_t readlinkat(int dir, const char *path, char *buf, size_t size) {
        return read_link(next_readlinkat, dir, path, buf, size);
}

/* What the C library's headers make of the calls where they cannot tell whether 'size' is right. */
ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t buffer_size);
ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t size, size_t buffer_size);

SIM_EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t buffer_size) {
        if (size > buffer_size)
                abort();
        return readlink(path, buf, size);
}

SIM_EXPORT ssize_t
__readlinkat_chk(int dir, const char *path, char *buf, size_t size, size_t buffer_size) {
        if (size > buffer_size)
                abort();
        return readlinkat(dir, path, buf, size);
}
