/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Calls that fail when a test wants it: each wrapped call asks fault() first. "Fail the n-th call,
 * for n = 1, 2, … until there is none" reaches every error path, without knowing any:
 *
 *     for (unsigned n = 1, failed = 1; failed > 0; n++) {
 *             faults_begin(NULL, n, 1, -ENOMEM);
 *             … what is tested …
 *             failed = faults_end();
 *             … what has to be true, whatever failed …
 *     }
 *
 * Not for code that runs in threads.
 */

/*
 * From now on the calls first, first + 1, … first + n - 1, counted from 1, fail with this negative
 * errno. Counted are those whose name begins with call, or all if it is NULL.
 */
void faults_begin(const char *call, unsigned first, unsigned n, int error);
#define FAULTS_FOR_EVER 1000000U
/* No call fails any more. Returns how many failed. */
unsigned faults_end(void);
/* For a message: the last call that failed. */
const char *faults_last(void);

/* For the wrappers: returns the error that this call is to fail with, or 0. Sets errno. */
int fault(const char *call);
