/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The kernel log in an event loop. A socket that keeps packets apart stands in for /dev/kmsg. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "kmsg.h"

#define BATCH    2048U
#define REFUSALS 64U

/* The next reads fail with these. */
static int failures[2 * REFUSALS];
static unsigned n_failures;

ssize_t __real_read(int fd, void *data, size_t size);
ssize_t __wrap_read(int fd, void *data, size_t size);

ssize_t __wrap_read(int fd, void *data, size_t size) {
        if (n_failures > 0) {
                errno = failures[--n_failures];
                return -1;
        }
        return __real_read(fd, data, size);
}

typedef struct Fixture {
        sd_event *event;
        Kmsg *kmsg;
        int writer, reader;
        KmsgListener listener;
        KmsgError last;
        unsigned n_errors;
        char heard[1024]; /* what was called, in order */
} Fixture;

static void hear(Fixture *f, const char *format, ...) _printf_(2, 3);

static void hear(Fixture *f, const char *format, ...) {
        size_t size = strlen(f->heard);
        va_list args;

        va_start(args, format);
        vsnprintf(f->heard + size, sizeof(f->heard) - size, format, args);
        va_end(args);
}

static void on_error(const KmsgError *error, void *userdata) {
        Fixture *f = userdata;

        f->n_errors++;
        f->last = *error;
        hear(f, "error %" PRIu64 " %x %x\n", error->sequence, error->fid, error->pec);
}

static void on_overrun(uint64_t count, void *userdata) {
        hear(userdata, "overrun %" PRIu64 "\n", count);
}

static void on_progress(uint64_t sequence, void *userdata) {
        hear(userdata, "progress %" PRIu64 "\n", sequence);
}

static void on_failed(int error, void *userdata) {
        Fixture *f = userdata;

        hear(f, "failed %d\n", error);
        f->kmsg = kmsg_close(f->kmsg);
}

static void start(Fixture *f, uint64_t sequence) {
        int fds[2], size = 16 * 1024 * 1024;

        n_failures = 0;
        *f = (Fixture){ 0 };
        f->listener = (KmsgListener){
                .error = on_error,
                .overrun = on_overrun,
                .progress = on_progress,
                .failed = on_failed,
                .userdata = f,
        };
        assert_int_equal(sd_event_new(&f->event), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
                         0);
        /* Room for more than a batch. */
        assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)), 0);
        f->writer = fds[0];
        f->reader = fds[1];
        assert_int_equal(kmsg_open_fd(f->event, f->reader, sequence, &f->listener, &f->kmsg), 0);
}

static void stop(Fixture *f) {
        f->kmsg = kmsg_close(f->kmsg);
        f->writer = safe_close(f->writer);
        f->event = sd_event_unref(f->event);
}

static void say(Fixture *f, const char *line) {
        assert_int_equal(send(f->writer, line, strlen(line), 0), strlen(line));
}

static void say_error(Fixture *f, unsigned priority, uint64_t sequence, uint64_t usec) {
        char line[256];

        snprintf(line,
                 sizeof(line),
                 "%u,%" PRIu64 ",%" PRIu64
                 ",-;zpci: 0001:00:00.0: Event 0x2 reports an error for PCI function 0x10\n",
                 priority,
                 sequence,
                 usec);
        say(f, line);
}

/* Lines that the former run read do not count for who cannot wait, however many they are. */
static void test_catch_up_with_a_long_log(void **state) {
        const unsigned n = 5000;
        Fixture f;

        start(&f, n);
        for (unsigned i = 1; i <= n + 1; i++) {
                say_error(&f, 3, i, i);
        }
        kmsg_catch_up(f.kmsg);
        assert_string_equal(f.heard, "error 5001 10 2\nprogress 5001\n");
        stop(&f);
}

/* Runs until nothing is left to do, and checks what was called. */
static void check_heard(Fixture *f, const char *expected) {
        int r;

        do
                r = sd_event_run(f->event, 0);
        while (r > 0);
        assert_int_equal(r, 0);
        assert_string_equal(f->heard, expected);
        f->heard[0] = '\0';
}

static void test_from_now(void **state) {
        Fixture f;

        start(&f, UINT64_MAX);
        check_heard(&f, "");
        say_error(&f, 3, 500, 7);
        say(&f, "6,501,8,-;vfio-pci 0001:00:00.0: resetting\n");
        check_heard(&f, "error 500 10 2\nprogress 501\n");
        assert_string_equal(f.last.address, "0001:00:00.0");
        assert_true(f.last.monotonic_usec == 7);
        say_error(&f, 3, 502, 9);
        check_heard(&f, "error 502 10 2\nprogress 502\n");
        stop(&f);
}

static void test_from_sequence(void **state) {
        Fixture f;

        start(&f, 100);
        for (unsigned i = 98; i < 101; i++)
                say_error(&f, 3, i, 1);
        check_heard(&f, "");
        for (unsigned i = 101; i < 103; i++)
                say_error(&f, 3, i, 1);
        check_heard(&f, "error 101 10 2\nerror 102 10 2\nprogress 102\n");
        stop(&f);

        /* from the very first line on */
        start(&f, 0);
        say_error(&f, 3, 0, 1);
        say_error(&f, 3, 1, 1);
        check_heard(&f, "error 1 10 2\nprogress 1\n");
        stop(&f);
}

static void test_gaps(void **state) {
        Fixture f;

        /* overwritten before it was opened */
        start(&f, 100);
        say_error(&f, 3, 104, 1);
        check_heard(&f, "overrun 3\nerror 104 10 2\nprogress 104\n");

        /* and while it was open */
        failures[n_failures++] = EPIPE;
        say(&f, "6,110,8,-;something\n");
        say_error(&f, 3, 111, 1);
        check_heard(&f, "overrun 5\nerror 111 10 2\nprogress 111\n");
        assert_int_equal(n_failures, 0);
        stop(&f);

        /* Where the first line is not known, neither is what went before it. */
        start(&f, UINT64_MAX);
        failures[n_failures++] = EPIPE;
        say_error(&f, 3, 500, 1);
        check_heard(&f, "error 500 10 2\nprogress 500\n");
        say_error(&f, 3, 502, 1);
        check_heard(&f, "overrun 1\nerror 502 10 2\nprogress 502\n");
        stop(&f);
}

static void test_forged(void **state) {
        Fixture f;

        start(&f, 100);
        say_error(&f, 8 + 3, 101, 1);
        say_error(&f, 24 + 3, 102, 1);
        check_heard(&f, "progress 102\n");
        stop(&f);
}

static void test_malformed(void **state) {
        Fixture f;

        start(&f, 100);
        say(&f, "nonsense");
        check_heard(&f, "");
        say_error(&f, 3, 101, 1);
        check_heard(&f, "error 101 10 2\nprogress 101\n");
        stop(&f);
}

/* A long log does not keep others from their turn. */
static void test_batches(void **state) {
        Fixture f;

        start(&f, 100);
        for (unsigned i = 101; i <= 100 + 2 * BATCH; i++)
                say_error(&f, 8 + 3, i, 1);
        say_error(&f, 3, 101 + 2 * BATCH, 1);

        assert_int_equal(sd_event_run(f.event, 0), 1);
        assert_string_equal(f.heard, "progress 2148\n");
        assert_int_equal(sd_event_run(f.event, 0), 1);
        assert_string_equal(f.heard, "progress 2148\nprogress 4196\n");
        check_heard(&f, "progress 2148\nprogress 4196\nerror 4197 10 2\nprogress 4197\n");
        stop(&f);
}

static bool on_ready(void *userdata) {
        Fixture *f = userdata;

        hear(f, "ready?\n");
        return strlen(f->heard) > strlen("ready?\nready?\n");
}

/* Who is not ready is asked again, and hears nothing meanwhile; who catches up is. */
static void test_not_ready(void **state) {
        Fixture f;

        start(&f, 100);
        f.listener.ready = on_ready;
        say_error(&f, 3, 101, 5);
        check_heard(&f, "ready?\nready?\nready?\nerror 101 10 2\nprogress 101\n");
        say_error(&f, 3, 102, 5);
        kmsg_catch_up(f.kmsg);
        assert_string_equal(f.heard, "error 102 10 2\nprogress 102\n");
        stop(&f);
}

static void test_interrupted(void **state) {
        Fixture f;

        start(&f, 100);
        say_error(&f, 3, 101, 1);
        failures[n_failures++] = EINTR;
        check_heard(&f, "error 101 10 2\nprogress 101\n");

        /* A wake-up for nothing is nothing. */
        say_error(&f, 3, 102, 1);
        failures[n_failures++] = EAGAIN;
        assert_int_equal(sd_event_run(f.event, 0), 1);
        assert_string_equal(f.heard, "");
        check_heard(&f, "error 102 10 2\nprogress 102\n");
        stop(&f);
}

/* A line that does not fit is skipped by the kernel, and so a gap. */
static void test_too_long(void **state) {
        Fixture f;

        start(&f, 100);
        say_error(&f, 3, 102, 1);
        for (unsigned i = 0; i < REFUSALS - 1; i++)
                failures[n_failures++] = EINVAL;
        check_heard(&f, "overrun 1\nerror 102 10 2\nprogress 102\n");

        /* They count in a row only. */
        say_error(&f, 3, 103, 1);
        for (unsigned i = 0; i < REFUSALS - 1; i++)
                failures[n_failures++] = EINVAL;
        check_heard(&f, "error 103 10 2\nprogress 103\n");

        /* One that is not skipped does not keep us busy for ever. */
        say_error(&f, 3, 104, 1);
        for (unsigned i = 0; i < 2 * REFUSALS; i++)
                failures[n_failures++] = EINVAL;
        check_heard(&f, "failed -22\n");
        assert_int_equal(n_failures, REFUSALS);
        stop(&f);
}

static void test_end(void **state) {
        Fixture f;

        start(&f, 100);
        say_error(&f, 3, 101, 1);
        f.writer = safe_close(f.writer);
        check_heard(&f, "error 101 10 2\nprogress 101\nfailed -5\n");
        assert_null(f.kmsg);
        stop(&f);
}

static void hear_failed(int error, void *userdata) {
        hear(userdata, "failed %d\n", error);
}

/* A listener that does not close it hears of a failure once. */
static void test_failure(void **state) {
        Fixture f;

        start(&f, 100);
        f.listener.failed = hear_failed;
        say_error(&f, 3, 101, 1);
        failures[n_failures++] = ENODEV;
        check_heard(&f, "failed -19\n");
        say_error(&f, 3, 102, 1);
        check_heard(&f, "");
        stop(&f);
}

/* The clock of the kernel log may be ahead of ours. */
static void test_clock(void **state) {
        uint64_t before = now_usec(CLOCK_MONOTONIC);
        Fixture f;

        start(&f, 100);
        say_error(&f, 3, 101, UINT64_MAX);
        check_heard(&f, "error 101 10 2\nprogress 101\n");
        assert_in_range(f.last.monotonic_usec, before, now_usec(CLOCK_MONOTONIC));
        stop(&f);
}

static void test_ownership(void **state) {
        Kmsg *kmsg = NULL;
        Fixture f;
        int fd;

        start(&f, 100);
        fd = f.reader;
        f.kmsg = kmsg_close(f.kmsg);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        assert_int_equal(errno, EBADF);

        /* A regular file cannot be waited for. */
        fd = memfd_create("test-kmsg", MFD_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(kmsg_open_fd(f.event, fd, 100, &f.listener, &kmsg), -EPERM);
        assert_null(kmsg);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        stop(&f);

        assert_null(kmsg_close(NULL));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_from_now),
                cmocka_unit_test(test_catch_up_with_a_long_log),
                cmocka_unit_test(test_from_sequence),
                cmocka_unit_test(test_gaps),
                cmocka_unit_test(test_forged),
                cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_batches),
                cmocka_unit_test(test_not_ready),
                cmocka_unit_test(test_interrupted),
                cmocka_unit_test(test_too_long),
                cmocka_unit_test(test_end),
                cmocka_unit_test(test_failure),
                cmocka_unit_test(test_clock),
                cmocka_unit_test(test_ownership),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
