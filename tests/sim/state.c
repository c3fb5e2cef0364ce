/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

/* System calls without the C library: its functions are the ones that we (and umockdev) replace. */
static int raw_open(const char *path, int flags, unsigned mode) {
        return (int) syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

static int map_state(Sim *sim, const char *dir, int fd) {
        SimState *state = mmap(NULL, sizeof(SimState), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (state == MAP_FAILED)
                return -errno;

        sim->dir = strdup(dir);
        if (!sim->dir) {
                munmap(state, sizeof(SimState));
                return -ENOMEM;
        }
        sim->state = state;
        return 0;
}

static int init_mutex(pthread_mutex_t *mutex) {
        pthread_mutexattr_t attr;
        int r;

        r = pthread_mutexattr_init(&attr);
        if (r != 0)
                return -r;
        pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        r = pthread_mutex_init(mutex, &attr);
        pthread_mutexattr_destroy(&attr);
        return -r;
}

int sim_create(Sim *sim, const char *dir, unsigned mode) {
        char path[PATH_MAX];
        int fd, r;

        snprintf(path, sizeof(path), "%s/sim/state", dir);
        fd = raw_open(path, O_RDWR | O_CREAT | O_EXCL, mode);
        if (fd < 0)
                return -errno;

        if (fchmod(fd, mode) < 0 || ftruncate(fd, sizeof(SimState)) < 0)
                r = -errno;
        else
                r = map_state(sim, dir, fd);
        syscall(SYS_close, fd);
        if (r < 0)
                return r;

        sim->state->size = sizeof(SimState);
        sim->state->next_generation = 1;
        r = init_mutex(&sim->state->mutex);
        if (r < 0)
                return r;
        sim->state->version = SIM_VERSION;
        return 0;
}

int sim_attach(Sim *sim, const char *dir) {
        char path[PATH_MAX];
        struct statx st;
        int fd, r;

        snprintf(path, sizeof(path), "%s/sim/state", dir);
        fd = raw_open(path, O_RDWR, 0);
        if (fd < 0)
                return -errno;

        if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &st) < 0)
                r = -errno;
        else if (st.stx_size != sizeof(SimState))
                r = -EPROTO; /* the library and the controller are of different builds */
        else
                r = map_state(sim, dir, fd);
        syscall(SYS_close, fd);
        return r;
}

void sim_lock(Sim *sim) {
        if (pthread_mutex_lock(&sim->state->mutex) == EOWNERDEAD)
                /* Every change under the lock is short and leaves usable state at each step. */
                pthread_mutex_consistent(&sim->state->mutex);
}

void sim_unlock(Sim *sim) {
        pthread_mutex_unlock(&sim->state->mutex);
}

uint64_t sim_now(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000U + (uint64_t) ts.tv_nsec;
}

void sim_sleep_until(uint64_t when) {
        struct timespec ts = {
                .tv_sec = (time_t) (when / 1000000000U),
                .tv_nsec = (long) (when % 1000000000U),
        };

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
                ;
}

SimFunction *sim_find(Sim *sim, const char *address) {
        for (unsigned i = 0; i < SIM_FUNCTIONS; i++) {
                SimFunction *f = sim->state->functions + i;

                if (f->used && strcmp(f->address, address) == 0)
                        return f;
        }
        return NULL;
}
