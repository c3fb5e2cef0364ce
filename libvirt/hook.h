/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is done at the start and at the end of a guest. */

#include <stdbool.h>
#include <stdint.h>

#include "log.h"

typedef struct HookOperation {
        const char *operation;
        const char *suboperation;
        bool is_first;       /* of those of one start: that no daemon runs is said once */
        bool takes;          /* the guest gets the functions; or it has had them */
        uint64_t grace_usec; /* of Release() */
} HookOperation;

/* Returns NULL if there is nothing to do for it. */
const HookOperation *hook_operation_find(const char *operation, const char *suboperation);

/*
 * Reads the domain XML from standard input, and asks the daemon about the functions in it, until a
 * time of CLOCK_MONOTONIC. What does not go well is in the log.
 */
void hook_run(const HookOperation *operation, const char *guest, uint64_t deadline_usec, Log *log);
