/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The fds of a former run, as the service manager passes them on: from the third on, with names. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

#define FIRST_FD   3 /* SD_LISTEN_FDS_START */
#define FORMER_FDS 8

/*
 * To be called before anything else of a test opens an fd; takes over those that are given, and
 * ends with -1.
 */
static inline void former_fds(const char *names, const int *fds) {
        char text[32];
        int up[FORMER_FDS], n = 0;

        for (; fds[n] >= 0; n++) {
                up[n] = fcntl(fds[n], F_DUPFD_CLOEXEC, 100);
                close(fds[n]);
        }
        for (int i = 0; i < n; i++) {
                (void) dup2(up[i], FIRST_FD + i);
                close(up[i]);
        }
        (void) snprintf(text, sizeof(text), "%d", (int) getpid());
        (void) setenv("LISTEN_PID", text, 1);
        (void) snprintf(text, sizeof(text), "%d", n);
        (void) setenv("LISTEN_FDS", text, 1);
        (void) setenv("LISTEN_FDNAMES", names, 1);
}
