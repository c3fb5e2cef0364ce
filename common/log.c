/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"
#include "names.h"

#define FIELD_MESSAGE "MESSAGE="
#define ELLIPSIS      "…"
#define PROGRAM_SIZE  64U
#define MESSAGE_SIZE                                                                               \
        2048U /* a line stays below PIPE_BUF, so that it is written at once or not at all */

/*
 * Everything is composed in buffers of a fixed size on the stack: a daemon that is out of memory
 * can still say so.
 */

typedef enum ConsoleStyle {
        CONSOLE_PLAIN,    /* a file, a pipe: "zpci-errord: text" */
        CONSOLE_TERMINAL, /* the same, in colours */
        CONSOLE_STREAM,   /* a stream to journald: "<3>text", sd-daemon(3) */
} ConsoleStyle;

struct Log {
        const char *program;
        LogTarget target;
        LogSink sink;
        void *userdata;
        int level;
        ConsoleStyle style;
};

static const char *const targets[_LOG_TARGET_MAX] = {
        [LOG_TARGET_CONSOLE] = "console",
        [LOG_TARGET_JOURNAL] = "journal",
        [LOG_TARGET_NULL] = "null",
};

static const char *const levels[LOG_DEBUG + 1] = {
        [LOG_EMERG] = "emerg", [LOG_ALERT] = "alert",     [LOG_CRIT] = "crit",
        [LOG_ERR] = "err",     [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
        [LOG_INFO] = "info",   [LOG_DEBUG] = "debug",
};

/* https://no-color.org/, and terminals that can do nothing. */
static bool terminal_has_colours(void) {
        const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

        return (!term || strcmp(term, "dumb") != 0) && (!no_color || no_color[0] == '\0');
}

/* journald tells its clients by $JOURNAL_STREAM which socket is a stream to it, systemd.exec(5). */
static ConsoleStyle console_style(void) {
        char stream[2 * 20 + 2];
        const char *expected = getenv("JOURNAL_STREAM");
        struct stat st;

        if (isatty(STDERR_FILENO))
                return terminal_has_colours() ? CONSOLE_TERMINAL : CONSOLE_PLAIN;
        if (!expected || fstat(STDERR_FILENO, &st) < 0)
                return CONSOLE_PLAIN;

        (void) snprintf(
                stream, sizeof(stream), "%ju:%ju", (uintmax_t) st.st_dev, (uintmax_t) st.st_ino);
        return strcmp(stream, expected) == 0 ? CONSOLE_STREAM : CONSOLE_PLAIN;
}

int log_new(Log **ret) {
        Log *log;

        assert(ret);

        log = malloc(sizeof(*log));
        if (!log)
                return -ENOMEM;

        *log = (Log){
                .program = ERRORD_PROGRAM,
                .target = LOG_TARGET_CONSOLE,
                .level = LOG_INFO,
                .style = console_style(),
        };

        *ret = log;
        return 0;
}

Log *log_free(Log *log) {
        free(log);
        return NULL;
}

void log_set_program(Log *log, const char *program) {
        assert(log);
        assert(program && strlen(program) < PROGRAM_SIZE);

        log->program = program;
}

void log_set_sink(Log *log, LogSink sink, void *userdata) {
        assert(log);

        log->sink = sink;
        log->userdata = userdata;
}

void log_set_target(Log *log, LogTarget target) {
        assert(log);
        assert(target < _LOG_TARGET_MAX);

        log->target = target;
}

LogTarget log_get_target(const Log *log) {
        assert(log);

        return log->target;
}

void log_set_level(Log *log, int level) {
        assert(log);
        assert(level >= LOG_EMERG && level <= LOG_DEBUG);

        log->level = level;
}

int log_get_level(const Log *log) {
        assert(log);

        return log->level;
}

const char *log_target_to_string(LogTarget target) {
        return (size_t) target < ELEMENTSOF(targets) ? targets[target] : NULL;
}

int log_target_from_string(const char *text) {
        for (size_t i = 0; text && i < ELEMENTSOF(targets); i++)
                if (strcmp(text, targets[i]) == 0)
                        return (int) i;

        return -EINVAL;
}

const char *log_level_to_string(int level) {
        return level >= LOG_EMERG && level <= LOG_DEBUG ? levels[level] : NULL;
}

int log_level_from_string(const char *text) {
        if (text && text[0] >= '0' && text[0] <= '7' && text[1] == '\0')
                return text[0] - '0';

        for (size_t i = 0; text && i < ELEMENTSOF(levels); i++)
                if (strcmp(text, levels[i]) == 0)
                        return (int) i;

        return -EINVAL;
}

/* Cuts text off so that the ellipsis fits size bytes, without leaving half a character of UTF-8. */
static void shorten(char *text, size_t size) {
        size_t end = size - sizeof(ELLIPSIS);

        while (end > 0 && ((unsigned char) text[end] & 0xc0) == 0x80)
                end--;
        memcpy(text + end, ELLIPSIS, sizeof(ELLIPSIS));
}

static void compose(char *text, size_t size, int error, const char *format, va_list ap) {
        char buffer[128];
        int n, m = 0;

        n = vsnprintf(text, size, format, ap);
        if (n < 0)
                n = snprintf(text, size, "%s", format);
        if (error < 0 && (size_t) n < size)
                m = snprintf(text + n,
                             size - (size_t) n,
                             ": %s",
                             strerror_r(-error, buffer, sizeof(buffer)));
        if ((size_t) n + (size_t) m >= size)
                shorten(text, size);

        /* What comes from outside must not start another line, nor talk to the terminal. */
        for (char *p = text; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';
}

static const char *level_colour(int level) {
        if (level <= LOG_ERR)
                return "\x1b[1;31m";
        if (level == LOG_WARNING)
                return "\x1b[1;33m";
        if (level == LOG_NOTICE)
                return "\x1b[1m";

        return "";
}

/* A reader of standard error that stands still must not stop us: then the line is lost. */
static void write_console(const Log *log, int level, const char *text) {
        struct pollfd ready = {
                .fd = STDERR_FILENO,
                .events = POLLOUT,
        };
        char line[MESSAGE_SIZE + PROGRAM_SIZE + 64];
        int n = 0;

        switch (log->style) {
        case CONSOLE_PLAIN:
                n = snprintf(line, sizeof(line), "%s: %s\n", log->program, text);
                break;
        case CONSOLE_TERMINAL:
                n = snprintf(line,
                             sizeof(line),
                             "%s: %s%s\x1b[0m\n",
                             log->program,
                             level_colour(level),
                             text);
                break;
        case CONSOLE_STREAM:
                n = snprintf(line, sizeof(line), "<%d>%s\n", level, text);
                break;
        }
        assert(n > 0 && (size_t) n < sizeof(line));

        if (poll(&ready, 1, 0) == 1 && write(STDERR_FILENO, line, (size_t) n) < 0)
                return; /* nobody is left to tell */
}

static struct iovec text_iovec(const char *text) {
        return (struct iovec){
                .iov_base = (char *) text, /* an iovec has no const, a LogSink promises it */
                .iov_len = strlen(text),
        };
}

static void
write_sink(const Log *log, int level, int error, const char *const *fields, const char *message) {
        char priority[sizeof("PRIORITY=7")], number[sizeof("ERRNO=") + 10];
        char program[sizeof("SYSLOG_IDENTIFIER=") + PROGRAM_SIZE];
        struct iovec entry[LOG_FIELDS_MAX + 5];
        size_t n = 0;

        (void) snprintf(priority, sizeof(priority), "PRIORITY=%d", level & LOG_PRIMASK);
        entry[n++] = text_iovec(priority);
        (void) snprintf(program, sizeof(program), "SYSLOG_IDENTIFIER=%s", log->program);
        entry[n++] = text_iovec(program);
        entry[n++] = text_iovec("DOCUMENTATION=" ERRORD_DOCUMENTATION);

        if (error < 0) {
                (void) snprintf(number, sizeof(number), "ERRNO=%d", -error);
                entry[n++] = text_iovec(number);
        }

        for (size_t i = 0; fields && fields[i]; i++) {
                assert(i < LOG_FIELDS_MAX);
                entry[n++] = text_iovec(fields[i]);
        }

        entry[n++] = text_iovec(message);
        log->sink(entry, n, log->userdata);
}

int log_entry(Log *log, int level, int error, const char *const *fields, const char *format, ...) {
        char message[sizeof(FIELD_MESSAGE) - 1 + MESSAGE_SIZE] = FIELD_MESSAGE;
        char *text = message + sizeof(FIELD_MESSAGE) - 1;
        int saved_errno = errno;
        va_list ap;

        assert(log);
        assert(level >= LOG_EMERG && level <= LOG_DEBUG);
        assert(error <= 0);

        if (level > log->level || log->target == LOG_TARGET_NULL)
                return error;

        va_start(ap, format);
        compose(text, MESSAGE_SIZE, error, format, ap);
        va_end(ap);

        if (log->target == LOG_TARGET_JOURNAL && log->sink)
                write_sink(log, level, error, fields, message);
        else
                write_console(log, level, text);

        errno = saved_errno;
        return error;
}
