/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The journal for a program that says little and must not wait. */

#include <stddef.h>
#include <sys/uio.h>

#define JOURNAL_LINE_SOCKET "/run/systemd/journal/socket"

typedef struct JournalLine {
        const char *program;     /* for standard error */
        const char *socket_path; /* JOURNAL_LINE_SOCKET but in tests */
} JournalLine;

/*
 * A LogSink (common/log.h), with a JournalLine as userdata. What journald does not take at once
 * goes to standard error instead, without the fields.
 */
void journal_line_send(const struct iovec *fields, size_t n_fields, void *userdata);
