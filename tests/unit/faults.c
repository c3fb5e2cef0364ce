/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "faults.h"

static struct {
        const char *call;
        unsigned first, n;
        int error;
        unsigned n_calls, n_failed;
        const char *last;
} faults;

void faults_begin(const char *call, unsigned first, unsigned n, int error) {
        faults.call = call;
        faults.first = first;
        faults.n = n;
        faults.error = error;
        faults.n_calls = faults.n_failed = 0;
        faults.last = "none";
}

unsigned faults_end(void) {
        unsigned n_failed = faults.n_failed;

        faults.n = faults.n_failed = 0;
        return n_failed;
}

const char *faults_last(void) {
        return faults.last;
}

int fault(const char *call) {
        if (faults.n == 0 || (faults.call && strncmp(call, faults.call, strlen(faults.call)) != 0))
                return 0;
        if (++faults.n_calls < faults.first || faults.n_calls - faults.first >= faults.n)
                return 0;

        faults.n_failed++;
        faults.last = call;
        errno = -faults.error;
        return faults.error;
}
