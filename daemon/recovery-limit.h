/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How often a function may be recovered before it is given up: at most so many times within any
 * interval of a given length.
 *
 * The history is plain data without a pointer, and forgets nothing when the limit changes.
 */

#include <stdbool.h>
#include <stdint.h>

#define RECOVERY_LIMIT_MAX 64U /* recoveries that are remembered */

typedef struct RecoveryLimit {
        uint32_t count;         /* at most RECOVERY_LIMIT_MAX, 0: no limit */
        uint64_t interval_usec; /* above 0 if there is a limit */
} RecoveryLimit;

/* Zero is the history of a function that was never recovered. */
typedef struct RecoveryHistory {
        uint64_t total;
        uint64_t times_usec[RECOVERY_LIMIT_MAX]; /* of recovery n, at n modulo the size */
} RecoveryHistory;

/*
 * Parses "5/10min" (from 1 to RECOVERY_LIMIT_MAX within up to a day) or "off". Returns 0, -EINVAL
 * or -ERANGE: then *ret is unchanged.
 */
int recovery_limit_parse(const char *text, RecoveryLimit *ret);

/*
 * Enters a recovery at now_usec, of a clock that does not go backwards, if the limit lets it be.
 * What is exactly interval_usec ago does not count any more. Returns false, and enters nothing, if
 * it would be past the limit.
 */
bool recovery_history_add(RecoveryHistory *history, const RecoveryLimit *limit, uint64_t now_usec);
