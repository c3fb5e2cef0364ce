/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The eBPF program in the kernel: loading and attaching it, or finding the one that runs already. */

#include <stdbool.h>

#include "util.h"

typedef struct Program {
        int ring;     /* BPF map of accounts */
        int counters; /* BPF map of witness_counters */
        int link;     /* the program is attached for as long as somebody has this open */
} Program;

#define PROGRAM_NONE ((Program){ .ring = -EBADF, .counters = -EBADF, .link = -EBADF })

/*
 * Has the program attached to a function of the kernel. If one is attached already, by whomever, it
 * is that one, unless it is of another version; otherwise it is a new one. Whatever libbpf has to
 * say goes to standard error if verbose.
 *
 * Returns 0, -EPERM (want of privilege, or kernel lockdown), -ENOENT if the kernel has no such
 * function, or another error of bpf(2) and perf_event_open(2). *ret is to be given to
 * program_done(), which closes its fds.
 */
int program_attach(const char *symbol, bool verbose, Program *ret);
void program_done(Program *program);
