/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A preload library for any process: its wall clock is off by the microseconds that are in the file
 * $ZPCI_SIM_CLOCK, and jumps when they change. No other clock is. */

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SIM_EXPORT   __attribute__((__visibility__("default")))
#define USEC_PER_SEC 1000000

static const volatile int64_t *shift;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void attach(void) {
        const char *path = getenv("ZPCI_SIM_CLOCK");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);

        if (fd >= 0)
                (void) close(fd);
        if (p == MAP_FAILED) {
                (void) fprintf(stderr, "zpci-sim: no clock (ZPCI_SIM_CLOCK)\n");
                abort();
        }
        shift = p;
}

static int next_gettime(clockid_t clock, struct timespec *ret) {
        static int (*next)(clockid_t, struct timespec *);

        if (!next)
                next = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
        return next(clock, ret);
}

static int64_t now_usec(void) {
        struct timespec ts = { 0 };

        (void) pthread_once(&once, attach);
        (void) next_gettime(CLOCK_REALTIME, &ts);
        return (int64_t) ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000 + *shift;
}

SIM_EXPORT int clock_gettime(clockid_t clock, struct timespec *ret) {
        int64_t now;

        if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
                return next_gettime(clock, ret);

        now = now_usec();
        ret->tv_sec = (time_t) (now / USEC_PER_SEC);
        ret->tv_nsec = (long) (now % USEC_PER_SEC * 1000);
        return 0;
}

SIM_EXPORT int gettimeofday(struct timeval *restrict ret, void *restrict zone) {
        int64_t now = now_usec();

        ret->tv_sec = (time_t) (now / USEC_PER_SEC);
        ret->tv_usec = (suseconds_t) (now % USEC_PER_SEC);
        return 0;
}

SIM_EXPORT time_t time(time_t *ret) {
        time_t now = (time_t) (now_usec() / USEC_PER_SEC);

        if (ret)
                *ret = now;
        return now;
}
