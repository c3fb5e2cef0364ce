/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The preload library: stands before umockdev's and answers for the device nodes of the testbed.
 *
 * Nothing is remembered about fd numbers. A node is told by what the kernel says of the file behind the
 * fd, so that a duplicate, an fd that came over a socket or out of a service manager's store, and one
 * that was inherited are all the same. What is not ours goes on to the next library untouched. */

#include "preload.h" /* first: see there */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfio.h"

static Sim the_sim;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void attach(void) {
        const char *dir = getenv("UMOCKDEV_DIR");
        int r;

        if (!dir)
                return;
        r = sim_attach(&the_sim, dir);
        if (r < 0)
                fprintf(stderr, "zpci-sim: cannot use the testbed %s: %s\n", dir, strerror(-r));
}

Sim *sim_here(void) {
        int saved = errno;

        pthread_once(&once, attach);
        errno = saved;
        return the_sim.state ? &the_sim : NULL;
}

int sim_result(long r) {
        if (r >= 0)
                return (int) r;
        errno = (int) -r;
        return -1;
}

/* Opens a node of ours and returns true, or leaves the path to others. */
static bool open_ours(const char *path, int flags, int *ret) {
        Sim *sim;

        /* umockdev's library looks for an emulation of its ioctls, and forgets the socket. */
        if (path && strcmp(path, "/dev/null") == 0) {
                *ret = (int) syscall(SYS_openat, AT_FDCWD, path, flags, 0);
                return true;
        }

        if (!path || strncmp(path, "/dev/", 5) != 0)
                return false;
        sim = sim_here();
        if (!sim)
                return false;

        if (strcmp(path, "/dev/kmsg") == 0 && !(flags & O_PATH))
                *ret = sim_result(sim_kmsg_open(sim, flags));
        else if ((strncmp(path, "/dev/vfio/", 10) == 0 && !(flags & O_DIRECTORY)) ||
                 strcmp(path, "/dev/iommu") == 0)
                *ret = sim_result(sim_vfio_open(sim, path, flags));
        else
                return false;
        return true;
}

#define MODE_OF(flags)                                                                             \
        ({                                                                                         \
                mode_t _mode = 0;                                                                  \
                if ((flags) & (O_CREAT | O_TMPFILE)) {                                             \
                        va_list _ap;                                                               \
                        va_start(_ap, flags);                                                      \
                        _mode = va_arg(_ap, mode_t);                                               \
                        va_end(_ap);                                                               \
                }                                                                                  \
                _mode;                                                                             \
        })

#define DEFINE_OPEN(name)                                                                          \
        SIM_EXPORT int name(const char *path, int flags, ...) {                                    \
                mode_t mode = MODE_OF(flags);                                                      \
                char buf[PATH_MAX];                                                                \
                int fd;                                                                            \
                                                                                                   \
                if (open_ours(path, flags, &fd))                                                   \
                        return fd;                                                                 \
                return SIM_NEXT(name, int, const char *, int, ...)(                                \
                        sim_udev_path(path, buf), flags, mode);                                    \
        }

#define DEFINE_OPEN_2(name)                                                                        \
        int name(const char *path, int flags);                                                     \
        SIM_EXPORT int name(const char *path, int flags) {                                         \
                char buf[PATH_MAX];                                                                \
                int fd;                                                                            \
                                                                                                   \
                if (open_ours(path, flags, &fd))                                                   \
                        return fd;                                                                 \
                return SIM_NEXT(name, int, const char *, int)(sim_udev_path(path, buf), flags);    \
        }

#define DEFINE_OPENAT(name)                                                                        \
        SIM_EXPORT int name(int dir, const char *path, int flags, ...) {                           \
                mode_t mode = MODE_OF(flags);                                                      \
                char buf[PATH_MAX];                                                                \
                int fd;                                                                            \
                                                                                                   \
                if (open_ours(path, flags, &fd))                                                   \
                        return fd;                                                                 \
                return SIM_NEXT(name, int, int, const char *, int, ...)(                           \
                        dir, sim_udev_path(path, buf), flags, mode);                               \
        }

#define DEFINE_OPENAT_2(name)                                                                      \
        int name(int dir, const char *path, int flags);                                            \
        SIM_EXPORT int name(int dir, const char *path, int flags) {                                \
                char buf[PATH_MAX];                                                                \
                int fd;                                                                            \
                                                                                                   \
                if (open_ours(path, flags, &fd))                                                   \
                        return fd;                                                                 \
                return SIM_NEXT(name, int, int, const char *, int)(                                \
                        dir, sim_udev_path(path, buf), flags);                                     \
        }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPEN_2(__open_2)
DEFINE_OPEN_2(__open64_2)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)
DEFINE_OPENAT_2(__openat_2)
DEFINE_OPENAT_2(__openat64_2)

SIM_EXPORT int ioctl(int fd, unsigned long request, ...) {
        va_list ap;
        void *arg;
        SimRef ref;
        Sim *sim;

        va_start(ap, request);
        arg = va_arg(ap, void *);
        va_end(ap);

        if (_IOC_TYPE(request) == VFIO_TYPE && (sim = sim_here()) && sim_identify(sim, fd, &ref))
                return sim_result(sim_vfio_ioctl(sim, fd, &ref, request, arg));
        return SIM_NEXT(ioctl, int, int, unsigned long, ...)(fd, request, arg);
}

SIM_EXPORT int close(int fd) {
        Sim *sim = sim_here();
        bool ours;
        SimRef ref;
        int r, saved;

        saved = errno;
        ours = sim && sim_identify(sim, fd, &ref);
        errno = saved;

        r = SIM_NEXT(close, int, int)(fd);
        if (r < 0 || !ours)
                return r;

        sim_vfio_closed(sim, &ref);
        errno = saved;
        return r;
}
