/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "log.h"

/* What a sink was given last, a field a line. */
typedef struct Sunk {
        char text[8192];
        unsigned n;
} Sunk;

static void sink(const struct iovec *fields, size_t n_fields, void *userdata) {
        Sunk *sunk = userdata;
        size_t used = 0;

        for (size_t i = 0; i < n_fields; i++) {
                assert_true(used + fields[i].iov_len + 1 < sizeof(sunk->text));
                memcpy(sunk->text + used, fields[i].iov_base, fields[i].iov_len);
                used += fields[i].iov_len;
                sunk->text[used++] = '\n';
        }
        sunk->text[used] = '\0';
        sunk->n++;
}

/* Standard error as a pipe, from its making to its end. */
typedef struct Stderr {
        int saved;
        int read;
} Stderr;

static Stderr stderr_take(int flags) {
        int fds[2], saved;

        assert_int_equal(pipe2(fds, flags), 0);
        saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        assert_true(saved >= 0);
        assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
        close(fds[1]);

        return (Stderr){
                .saved = saved,
                .read = fds[0],
        };
}

/* Gives standard error back and reads what was written: all of it is in the pipe, whose writer is gone. */
static void stderr_give_back(Stderr *taken, char *text, size_t size) {
        size_t used = 0;
        ssize_t n;

        assert_int_equal(dup2(taken->saved, STDERR_FILENO), STDERR_FILENO);
        while ((n = read(taken->read, text + used, size - 1 - used)) > 0)
                used += (size_t) n;
        assert_int_equal(n, 0);
        text[used] = '\0';

        close(taken->saved);
        close(taken->read);
}

static void test_sink_fields(void **state) {
        const char *const fields[] = { "ZPCI_ADDRESS=0001:00:00.0", "ZPCI_STATE=failed", NULL };
        _cleanup_(log_freep) Log *log = NULL;
        Sunk sunk = { 0 };

        assert_int_equal(log_new(&log), 0);
        log_set_sink(log, sink, &sunk);
        log_set_target(log, LOG_TARGET_JOURNAL);

        errno = ENOTTY;
        assert_int_equal(log_entry(log, LOG_WARNING, -EBUSY, fields, "no %s", "luck"), -EBUSY);
        assert_int_equal(errno, ENOTTY);
        assert_string_equal(sunk.text,
                            "PRIORITY=4\n"
                            "SYSLOG_IDENTIFIER=zpci-errord\n"
                            "DOCUMENTATION=man:zpci-errord(8)\n"
                            "ERRNO=16\n"
                            "ZPCI_ADDRESS=0001:00:00.0\n"
                            "ZPCI_STATE=failed\n"
                            "MESSAGE=no luck: Device or resource busy\n");

        log_info(log, "all is %s", "well");
        assert_string_equal(sunk.text,
                            "PRIORITY=6\n"
                            "SYSLOG_IDENTIFIER=zpci-errord\n"
                            "DOCUMENTATION=man:zpci-errord(8)\n"
                            "MESSAGE=all is well\n");
}

static void test_every_field_fits(void **state) {
        const char *fields[LOG_FIELDS_MAX + 1] = { NULL };
        _cleanup_(log_freep) Log *log = NULL;
        Sunk sunk = { 0 };

        for (size_t i = 0; i < LOG_FIELDS_MAX; i++)
                fields[i] = "A=b";
        assert_int_equal(log_new(&log), 0);
        log_set_sink(log, sink, &sunk);
        log_set_target(log, LOG_TARGET_JOURNAL);

        log_entry(log, LOG_ERR, -4095, fields, "x");
        assert_non_null(strstr(sunk.text, "ERRNO=4095\nA=b\n"));
        assert_non_null(strstr(sunk.text, "A=b\nMESSAGE=x: Unknown error 4095\n"));
}

static void test_levels(void **state) {
        _cleanup_(log_freep) Log *log = NULL;
        Sunk sunk = { 0 };

        assert_int_equal(log_new(&log), 0);
        log_set_sink(log, sink, &sunk);
        log_set_target(log, LOG_TARGET_JOURNAL);
        assert_int_equal(log_get_level(log), LOG_INFO);

        log_debug(log, "no");
        assert_int_equal(sunk.n, 0);
        log_info(log, "yes");
        assert_int_equal(sunk.n, 1);

        log_set_level(log, LOG_ERR);
        assert_int_equal(log_warning(log, -EIO, "no"), -EIO);
        assert_int_equal(sunk.n, 1);
        assert_int_equal(log_error(log, -EIO, "yes"), -EIO);
        assert_int_equal(sunk.n, 2);

        log_set_target(log, LOG_TARGET_NULL);
        assert_int_equal(log_error(log, -EIO, "no"), -EIO);
        assert_int_equal(sunk.n, 2);
}

/* What comes from outside can neither start a line nor colour a terminal. */
static void test_control_characters(void **state) {
        _cleanup_(log_freep) Log *log = NULL;
        Sunk sunk = { 0 };

        assert_int_equal(log_new(&log), 0);
        log_set_sink(log, sink, &sunk);
        log_set_target(log, LOG_TARGET_JOURNAL);

        log_info(log, "a\nPRIORITY=0\tb\x1b[31m\x7f\xc3\xa9");
        assert_non_null(strstr(sunk.text, "\nMESSAGE=a PRIORITY=0 b [31m \xc3\xa9\n"));
}

/* However long, and wherever the cut falls in a character of two bytes. */
static void test_long_message(void **state) {
        _cleanup_(log_freep) Log *log = NULL;
        Sunk sunk = { 0 };
        char text[4097];

        assert_int_equal(log_new(&log), 0);
        log_set_sink(log, sink, &sunk);
        log_set_target(log, LOG_TARGET_JOURNAL);

        for (size_t shift = 0; shift < 2; shift++) {
                memset(text, 'x', sizeof(text));
                for (size_t i = shift; i + 1 < sizeof(text) - 1; i += 2)
                        memcpy(text + i, "\xc3\xa9", 2);
                text[sizeof(text) - 1] = '\0';

                for (int error = 0; error >= -1; error--) {
                        const char *message;
                        size_t length;

                        log_entry(log, LOG_INFO, error, NULL, "%s", text);
                        message = strstr(sunk.text, "MESSAGE=") + strlen("MESSAGE=");
                        length = strlen(message);
                        assert_in_range(length, 2000, 2048);
                        /* A whole character, the ellipsis, and the line feed of this test's sink. */
                        assert_memory_equal(message + length - 6, "\xc3\xa9…\n", 6);
                }
        }
}

static void test_error_text_is_cut(void **state) {
        _cleanup_(log_freep) Log *log = NULL;
        Sunk sunk = { 0 };

        assert_int_equal(log_new(&log), 0);
        log_set_sink(log, sink, &sunk);
        log_set_target(log, LOG_TARGET_JOURNAL);

        log_entry(log, LOG_INFO, -EBUSY, NULL, "%2040s", "x");
        assert_non_null(strstr(sunk.text, "x: De…\n"));
}

static void test_console(void **state) {
        _cleanup_(log_freep) Log *log = NULL;
        char text[256];
        Stderr taken;

        unsetenv("JOURNAL_STREAM");
        taken = stderr_take(O_CLOEXEC);
        assert_int_equal(log_new(&log), 0);
        log_error(log, -ENOENT, "first");
        log_set_target(log, LOG_TARGET_JOURNAL); /* no sink yet */
        log_info(log, "second");
        stderr_give_back(&taken, text, sizeof(text));

        assert_string_equal(text,
                            "zpci-errord: first: No such file or directory\nzpci-errord: second\n");
}

/* The level goes along only if it is journald that reads it. */
static void test_console_is_journal_stream(void **state) {
        for (int ours = 0; ours < 2; ours++) {
                _cleanup_(log_freep) Log *log = NULL;
                char text[256], stream[64];
                struct stat st;
                Stderr taken;

                taken = stderr_take(O_CLOEXEC);
                assert_int_equal(fstat(STDERR_FILENO, &st), 0);
                (void) snprintf(stream,
                                sizeof(stream),
                                "%ju:%ju",
                                (uintmax_t) st.st_dev,
                                (uintmax_t) st.st_ino + !ours);
                setenv("JOURNAL_STREAM", stream, 1);
                assert_int_equal(log_new(&log), 0);
                log_error(log, 0, "text");
                stderr_give_back(&taken, text, sizeof(text));
                unsetenv("JOURNAL_STREAM");

                assert_string_equal(text, ours ? "<3>text\n" : "zpci-errord: text\n");
        }
}

/* Nobody reads standard error: lines get lost, but we go on. That this test ends is the proof. */
static void test_console_full(void **state) {
        static char text[1024 * 1024];
        _cleanup_(log_freep) Log *log = NULL;
        size_t lines = 0;
        Stderr taken;

        unsetenv("JOURNAL_STREAM");
        taken = stderr_take(O_CLOEXEC);
        assert_int_equal(log_new(&log), 0);
        for (unsigned i = 0; i < 1000; i++)
                log_info(log, "%01999u", i);
        stderr_give_back(&taken, text, sizeof(text));

        /* Every line that is there is whole. */
        for (char *p = text; *p; p = strchr(p, '\n') + 1, lines++)
                assert_int_equal(strchr(p, '\n') - p, strlen("zpci-errord: ") + 1999);
        assert_in_range(lines, 1, 999);
}

static void test_names(void **state) {
        for (int level = LOG_EMERG; level <= LOG_DEBUG; level++) {
                char digit[2] = { (char) ('0' + level), '\0' };

                assert_int_equal(log_level_from_string(log_level_to_string(level)), level);
                assert_int_equal(log_level_from_string(digit), level);
        }
        assert_string_equal(log_level_to_string(LOG_ERR), "err");
        assert_string_equal(log_level_to_string(LOG_WARNING), "warning");
        assert_null(log_level_to_string(-1));
        assert_null(log_level_to_string(LOG_DEBUG + 1));
        assert_int_equal(log_level_from_string("8"), -EINVAL);
        assert_int_equal(log_level_from_string("33"), -EINVAL);
        assert_int_equal(log_level_from_string(""), -EINVAL);
        assert_int_equal(log_level_from_string("error"), -EINVAL);
        assert_int_equal(log_level_from_string(NULL), -EINVAL);

        for (int target = 0; target < _LOG_TARGET_MAX; target++)
                assert_int_equal(log_target_from_string(log_target_to_string((LogTarget) target)),
                                 target);
        assert_string_equal(log_target_to_string(LOG_TARGET_JOURNAL), "journal");
        assert_null(log_target_to_string(_LOG_TARGET_MAX));
        assert_int_equal(log_target_from_string("syslog"), -EINVAL);
        assert_int_equal(log_target_from_string(NULL), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sink_fields),
                cmocka_unit_test(test_every_field_fits),
                cmocka_unit_test(test_levels),
                cmocka_unit_test(test_control_characters),
                cmocka_unit_test(test_long_message),
                cmocka_unit_test(test_error_text_is_cut),
                cmocka_unit_test(test_console),
                cmocka_unit_test(test_console_is_journal_stream),
                cmocka_unit_test(test_console_full),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
