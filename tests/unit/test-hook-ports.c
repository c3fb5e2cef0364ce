/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How the hook reads, and where it writes. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "input.h"
#include "journal-line.h"
#include "util.h"

#define PATIENT (60 * USEC_PER_SEC)

static uint64_t in(uint64_t usec) {
        return now_usec(CLOCK_MONOTONIC) + usec;
}

static void test_read(void **state) {
        static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 1000000 };
        _cleanup_free_ char *bytes = malloc(1000000);
        size_t size;

        assert_non_null(bytes);
        for (size_t i = 0; i < 1000000; i++)
                bytes[i] = (char) (i * 7 + i / 256);

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_close_ int fd = memfd_create("input", MFD_CLOEXEC);
                _cleanup_free_ void *read_bytes = NULL;

                assert_true(fd >= 0);
                assert_int_equal(write(fd, bytes, sizes[i]), sizes[i]);
                assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
                assert_int_equal(input_read(fd, sizes[i], in(PATIENT), &read_bytes, &size), 0);
                assert_int_equal(size, sizes[i]);
                assert_memory_equal(read_bytes, bytes, size);

                if (sizes[i] == 0)
                        continue;
                assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
                assert_int_equal(input_read(fd, sizes[i] - 1, in(PATIENT), &read_bytes, &size),
                                 -EFBIG);
        }
}

static void test_read_endless(void **state) {
        _cleanup_close_ int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        void *bytes = NULL;
        size_t size;

        assert_int_equal(input_read(zero, 16 * 1024 * 1024, in(PATIENT), &bytes, &size), -EFBIG);
        assert_null(bytes);
}

static void test_read_no_end(void **state) {
        void *bytes = NULL;
        size_t size;
        int fds[2];

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_int_equal(write(fds[1], "<domain/>", 9), 9);
        assert_int_equal(input_read(fds[0], 100, in(50 * USEC_PER_MSEC), &bytes, &size),
                         -ETIMEDOUT);
        assert_null(bytes);
        close(fds[0]);
        close(fds[1]);

        assert_int_equal(input_read(fds[0], 100, in(PATIENT), &bytes, &size), -EBADF);
}

static void test_wait(void **state) {
        int fds[2];

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_int_equal(input_wait(fds[0], in(0)), -ETIMEDOUT);
        close(fds[1]);
        assert_int_equal(input_wait(fds[0], in(0)), 0);
        close(fds[0]);
}

/* A journald that is not read from, or none; what came to standard error. */
typedef struct Journald {
        char directory[32], path[64];
        int fd;
} Journald;

static void journald_setup(Journald *journald) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        strcpy(journald->directory, "/tmp/test-hook-XXXXXX");
        assert_non_null(mkdtemp(journald->directory));
        (void) snprintf(journald->path, sizeof(journald->path), "%s/socket", journald->directory);
        strcpy(address.sun_path, journald->path);
        journald->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(journald->fd, (struct sockaddr *) &address, sizeof(address)), 0);
}

static void journald_teardown(Journald *journald) {
        journald->fd = safe_close(journald->fd);
        (void) unlink(journald->path);
        assert_int_equal(rmdir(journald->directory), 0);
}

/* Returns what went to standard error, to be freed. */
static char *send_line(const char *path) {
        static const struct iovec fields[] = {
                { (char *) "PRIORITY=4", 10 },
                { (char *) "ZPCI_HOLDER=guest", 17 },
                { (char *) "MESSAGE=It = it", 15 },
        };
        JournalLine line = { .program = "test", .socket_path = path };
        int fds[2], saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        void *text;
        size_t size;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
        close(fds[1]);
        journal_line_send(fields, ELEMENTSOF(fields), &line);
        assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
        close(saved);

        assert_int_equal(input_read(fds[0], 4096, in(PATIENT), &text, &size), 0);
        close(fds[0]);
        ((char *) text)[size] = '\0';
        return text;
}

static void test_journal(void **state) {
        static const char expected[] = "PRIORITY=4\nZPCI_HOLDER=guest\nMESSAGE=It = it\n";
        _cleanup_free_ char *text = NULL;
        char datagram[256];
        Journald journald;

        journald_setup(&journald);
        text = send_line(journald.path);
        assert_string_equal(text, "");
        assert_int_equal(recv(journald.fd, datagram, sizeof(datagram), 0), strlen(expected));
        assert_memory_equal(datagram, expected, strlen(expected));
        journald_teardown(&journald);
}

static void test_journal_full(void **state) {
        Journald journald;
        size_t n = 0;
        char *text;

        journald_setup(&journald);
        while (text = send_line(journald.path), text[0] == '\0') {
                free(text);
                assert_true(++n < 100000);
        }
        assert_true(n > 0);
        assert_string_equal(text, "test: It = it\n");
        free(text);
        journald_teardown(&journald);
}

static void test_journal_absent(void **state) {
        char too_long[sizeof(((struct sockaddr_un *) NULL)->sun_path) + 1];
        const char *const paths[] = { "/nonexistent/socket", "/dev/null", too_long };

        memset(too_long, '/', sizeof(too_long) - 1);
        too_long[sizeof(too_long) - 1] = '\0';

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                _cleanup_free_ char *text = send_line(paths[i]);

                assert_string_equal(text, "test: It = it\n");
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read),           cmocka_unit_test(test_read_endless),
                cmocka_unit_test(test_read_no_end),    cmocka_unit_test(test_wait),
                cmocka_unit_test(test_journal),        cmocka_unit_test(test_journal_full),
                cmocka_unit_test(test_journal_absent),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
