/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The witness's ring buffer can be mapped and polled. A test plays it with a file of the testbed that it
 * maps itself, and an eventfd that is handed to the daemon: to map that is to map the file. */

#include "preload.h" /* first: see there */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool is_eventfd(int fd) {
        char link[64], target[64];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, target, sizeof(target) - 1);
        if (n < 0)
                return false;
        target[n] = '\0';
        return strcmp(target, "anon_inode:[eventfd]") == 0;
}

static void *map(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
        return SIM_NEXT(mmap, void *, void *, size_t, int, int, int, off_t)(
                address, size, protection, flags, fd, offset);
}

SIM_EXPORT void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
        void *p = map(address, size, protection, flags, fd, offset);
        Sim *sim = p == MAP_FAILED && fd >= 0 && is_eventfd(fd) ? sim_here() : NULL;
        char path[PATH_MAX];
        int ring;

        if (!sim)
                return p;

        snprintf(path, sizeof(path), "%s/witness", sim->dir);
        ring = open(path, O_RDWR | O_CLOEXEC);
        if (ring < 0)
                return MAP_FAILED;
        p = map(address, size, protection, flags, ring, offset);
        close(ring);
        return p;
}

/* What the C library has it called where files may be large. */
SIM_EXPORT void *
mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
        return mmap(address, size, protection, flags, fd, offset);
}
