/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the daemon says of itself, as journal entries with fields.
 *
 * The log never blocks its caller: it composes an entry and gives it to a sink. Floors 1 and 2 do
 * not log, they return errors.
 */

#include <stdarg.h>
#include <stddef.h>
#include <sys/uio.h>
#include <syslog.h>

#include "util.h"

typedef struct Log Log;

/*
 * Takes one entry: fields is an array of "NAME=value", the last of them MESSAGE. The bytes are the
 * caller's. A sink keeps or drops the entry, and never blocks.
 */
typedef void (*LogSink)(const struct iovec *fields, size_t n_fields, void *userdata);

typedef enum LogTarget {
        LOG_TARGET_CONSOLE, /* standard error, one line an entry */
        LOG_TARGET_JOURNAL, /* the sink; standard error while there is none */
        LOG_TARGET_NULL,
        _LOG_TARGET_MAX,
} LogTarget;

/* Makes a log that writes LOG_INFO and worse to standard error. Returns 0 or -ENOMEM. */
int log_new(Log **ret);
Log *log_free(Log *log);
DEFINE_TRIVIAL_CLEANUP_FUNC(Log *, log_free);

/* The program that speaks, ERRORD_PROGRAM at first. The string is the caller's. */
void log_set_program(Log *log, const char *program);
void log_set_sink(Log *log, LogSink sink, void *userdata);
void log_set_target(Log *log, LogTarget target);
LogTarget log_get_target(const Log *log);

/* Entries above this syslog level are dropped. */
void log_set_level(Log *log, int level);
int log_get_level(const Log *log);

/* "console", "journal", "null"; NULL, or -EINVAL, for anything else. */
const char *log_target_to_string(LogTarget target);
int log_target_from_string(const char *text);
/* "emerg" … "debug", as syslog.conf(5) and LogControl1 name them, or a digit from 0 to 7. */
const char *log_level_to_string(int level);
int log_level_from_string(const char *text);

/* How many fields a caller may add to an entry. */
#define LOG_FIELDS_MAX 32U

/*
 * Writes one entry of a syslog level. fields may be NULL; otherwise it ends with NULL and holds
 * "NAME=value" strings that are added to PRIORITY, SYSLOG_IDENTIFIER and DOCUMENTATION. error is a
 * negative errno (or 0) whose text is appended to the message and whose number is added as ERRNO,
 * as systemd.journal-fields(7) wants it. Returns error, so that a caller can say and return it in
 * one statement. Leaves errno alone. A control character in the message becomes a blank, a message
 * of more than about 2000 bytes is cut off. Allocates nothing.
 */
int log_entry(Log *log, int level, int error, const char *const *fields, const char *format, ...)
        _printf_(5, 6);

#define log_debug(log, ...)          ((void) log_entry(log, LOG_DEBUG, 0, NULL, __VA_ARGS__))
#define log_info(log, ...)           ((void) log_entry(log, LOG_INFO, 0, NULL, __VA_ARGS__))
#define log_notice(log, ...)         ((void) log_entry(log, LOG_NOTICE, 0, NULL, __VA_ARGS__))
#define log_warning(log, error, ...) log_entry(log, LOG_WARNING, error, NULL, __VA_ARGS__)
#define log_error(log, error, ...)   log_entry(log, LOG_ERR, error, NULL, __VA_ARGS__)
