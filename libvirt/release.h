/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks the daemon to release functions, all at once. */

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

typedef enum ReleaseOutcome {
        RELEASE_PENDING,   /* no answer yet */
        RELEASE_DONE,      /* the daemon does not hold it any more */
        RELEASE_UNKNOWN,   /* nothing that the daemon could hold */
        RELEASE_NO_DAEMON, /* it does not run */
        RELEASE_FAILED,
} ReleaseOutcome;

typedef struct ReleaseBatch ReleaseBatch;

typedef struct Release {
        const char *address;
        ReleaseOutcome outcome;
        char problem[256]; /* what the daemon said, if RELEASE_FAILED */
        ReleaseBatch *batch;
} Release;

/*
 * Calls Release(grace_usec) for each of the functions, of which only the addresses have to be set.
 * The holder (who) is optional. Never starts the daemon. Returns 0 when all have their outcome,
 * -ETIMEDOUT if a time of CLOCK_MONOTONIC came first, or another negative errno if the bus failed;
 * some may be pending then. The bus is closed in any case.
 */
int release_all(sd_bus *bus,
                uint64_t grace_usec,
                const char *holder,
                uint64_t deadline_usec,
                Release *releases,
                size_t n);
