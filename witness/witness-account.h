/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the eBPF program, its loader and the daemon have in common. Integers are in the byte order of
 * the machine, but for the record.
 *
 * A loader leaves a program alone that it finds running under the same name, and replaces one of
 * another name, maps and all. So whatever changes here or in the program, its name has to.
 */

#include <linux/types.h>

#define WITNESS_PROGRAM "zpci_witness_1" /* of at most 15 letters, or the kernel cuts it off */
#define WITNESS_SYMBOL  "zpci_event_error"
#define WITNESS_RAW_SIZE                                                                           \
        32 /* bytes of the platform's record; the kernel function is told no length */
#define WITNESS_RING_SIZE 262144 /* more than 4000 accounts: the daemon may be away for a while */

/* Names in the service manager's fd store. */
#define WITNESS_FD_RING     "witness-ring"     /* BPF ring buffer of accounts */
#define WITNESS_FD_COUNTERS "witness-counters" /* BPF array with one WitnessCounters */
#define WITNESS_FD_LINK     "witness-link"     /* keeps the program attached */
#define WITNESS_FD_STATUS                                                                          \
        "witness-status" /* instead of them: a file that says why not, in one word */

/* One call of the kernel function: one error. */
struct witness_account {
        __u64 sequence; /* goes up by one for each error, also for those that found no room */
        __u64 nsec;     /* CLOCK_MONOTONIC */
        __u8 raw[WITNESS_RAW_SIZE];
};

struct witness_counters {
        __u64 sequence; /* of the newest error; starts with the time of loading, so that no two programs share any */
        __u64 lost; /* errors that found no room in the ring */
};
