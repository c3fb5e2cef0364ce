/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <systemd/sd-id128.h>

#include "observer-fixture.h"

/* A line that nothing richer comes for is the record, of the time at which it was written. */
static void test_line(void **state) {
        Fixture *f = *state;
        uint64_t when;

        when = line(f, SEEN, 4);
        assert_no_more(f);
        wait_for_one(f);
        assert_int_equal(assert_next(f, RECORD_KMSG, SEEN, 4)->monotonic_usec, when);
        assert_true(now_usec(CLOCK_MONOTONIC) >= when + PAIRING_WAIT_USEC);
        assert_int_equal(functions[1].records, 1);
        assert_int_equal(recoveries[1], RECOVERY_LEFT_TO_HOLDER);
}

static void test_line_of_a_record(void **state) {
        Fixture *f = *state;

        line(f, HELD, 2);
        drained(f, HELD, 2);
        drained(f, HELD, 3);
        line(f, HELD, 3);
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, HELD, 2);
        assert_next(f, RECORD_VFIO, HELD, 3);
        assert_no_more(f);
        assert_int_equal(functions[0].records, 0);
}

/* An error at the very end: all that was logged is read, and drained after that. */
static void test_line_at_the_end(void **state) {
        const KmsgError late = {
                .sequence = 2, .monotonic_usec = now_usec(CLOCK_MONOTONIC), .fid = HELD, .pec = 2
        };
        Fixture *f = *state;

        kernel_log.late = &late;
        queued = 2;
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, HELD, 2);
        assert_no_more(f);
}

/* What the kernel's queue had no room for. Its recovery is that of its function. */
static void test_line_of_a_loss(void **state) {
        Fixture *f = *state;

        line(f, HELD, 2);
        line(f, HELD, 2);
        drained(f, HELD, 2);
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, HELD, 2);
        assert_next(f, RECORD_KMSG, HELD, 2);
        assert_no_more(f);
        assert_int_equal(recoveries[0], RECOVERY_NONE);
}

static void test_uevent(void **state) {
        Fixture *f = *state;

        uevent(f, 1, UEVENT_BEGIN_RECOVERY);
        observer_hasten(f->observer, &functions[1]);
        assert_next(f, RECORD_UEVENT, SEEN, 0);

        /* Of one error there are both: the line says more. */
        uevent(f, 1, UEVENT_BEGIN_RECOVERY);
        line(f, SEEN, 5);
        observer_hasten(f->observer, &functions[1]);
        assert_next(f, RECORD_KMSG, SEEN, 5);
        assert_no_more(f);
}

static void test_strangers(void **state) {
        Fixture *f = *state;

        line(f, 0x99, 2);
        observer_uevent(f->observer, "0099:00:00.0", UEVENT_BEGIN_RECOVERY);
        line(f, SEEN, 3);
        wait_for_one(f);
        assert_next(f, RECORD_KMSG, SEEN, 3);
        assert_no_more(f);
}

static void test_severities(void **state) {
        Fixture *f = *state;

        line(f, SEEN, 0x3b);
        line(f, SEEN, 0x2a);
        observer_hasten(f->observer, &functions[1]);
        assert_next(f, RECORD_KMSG, SEEN, 0x3b);
        assert_next(f, RECORD_KMSG, SEEN, 0x2a);
        assert_int_equal(recoveries[1], RECOVERY_NONE);
}

/* The kernel recovered it: the error goes first, and has its line though that was not read yet. */
static void test_recovered(void **state) {
        const KmsgError late = {
                .monotonic_usec = now_usec(CLOCK_MONOTONIC),
                .fid = SEEN,
                .pec = 7,
        };
        Fixture *f = *state;

        kernel_log.late = &late;
        uevent(f, 1, UEVENT_SUCCESSFUL_RECOVERY);
        assert_next(f, RECORD_KMSG, SEEN, 7);
        assert_int_equal(recoveries[1], RECOVERY_RECOVERED);
        uevent(f, 1, UEVENT_FAILED_RECOVERY);
        assert_int_equal(recoveries[1], RECOVERY_FAILED);

        /* That of a function that we hold is ours to tell. */
        uevent(f, 0, UEVENT_FAILED_RECOVERY);
        assert_int_equal(recoveries[0], RECOVERY_NONE);
}

/* A device that is being opened may have the record: the line waits on. */
static void test_opening(void **state) {
        uint64_t begin_usec;
        Fixture *f = *state;

        functions[1].activity = FUNCTION_OPENING;
        begin_usec = line(f, SEEN, 4);
        while (now_usec(CLOCK_MONOTONIC) < begin_usec + PAIRING_WAIT_USEC + 100 * USEC_PER_MSEC)
                assert_true(sd_event_run(f->event, 50 * USEC_PER_MSEC) >= 0);
        assert_no_more(f);

        functions[1].activity = FUNCTION_IDLE;
        drained(f, SEEN, 4);
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, SEEN, 4);
        assert_no_more(f);
}

/* More lines than can wait: the oldest go, in order, and do not wait for a timer. */
static void test_many(void **state) {
        Fixture *f = *state;

        for (unsigned i = 1; i <= PAIRING_WAITING + 5; i++)
                line(f, SEEN, (uint16_t) (0x100 + i));
        for (unsigned i = 1; i <= 5; i++)
                assert_next(f, RECORD_KMSG, SEEN, (uint16_t) (0x100 + i));
        observer_finish(f->observer);
        for (unsigned i = 6; i <= PAIRING_WAITING + 5; i++)
                assert_next(f, RECORD_KMSG, SEEN, (uint16_t) (0x100 + i));
        assert_no_more(f);
}

/* Whose records are still to be drained waits longest, however old it is. */
static void test_many_before_the_drain(void **state) {
        Fixture *f = *state;

        undrained[0] = true;
        line(f, HELD, 2);
        line(f, HELD, 3);
        for (unsigned i = 1; i <= PAIRING_WAITING; i++)
                line(f, SEEN, (uint16_t) (0x100 + i));
        assert_next(f, RECORD_KMSG, SEEN, 0x101);
        assert_next(f, RECORD_KMSG, SEEN, 0x102);
        assert_no_more(f);

        undrained[0] = false;
        drained(f, HELD, 2);
        drained(f, HELD, 3);
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, HELD, 2);
        assert_next(f, RECORD_VFIO, HELD, 3);
        for (unsigned i = 3; i <= PAIRING_WAITING; i++)
                assert_next(f, RECORD_KMSG, SEEN, (uint16_t) (0x100 + i));
        assert_no_more(f);
}

/* If that is so of all, there is still no room for more. */
static void test_many_and_none_is_drained(void **state) {
        Fixture *f = *state;

        undrained[0] = undrained[1] = true;
        for (unsigned i = 1; i <= PAIRING_WAITING + 2; i++)
                line(f, i % 2 == 0 ? HELD : SEEN, (uint16_t) (0x100 + i));
        assert_next(f, RECORD_KMSG, SEEN, 0x101);
        assert_next(f, RECORD_KMSG, HELD, 0x102);
        assert_no_more(f);
}

/* That a line was read is noted once nothing waits; the next run reads those from there on again, and
 * publishes none of them twice. */
static void test_next_run(void **state) {
        Fixture *f = *state;
        sd_id128_t boot;
        uint64_t when;

        assert_true(sd_id128_get_boot(&boot) >= 0);
        assert_int_equal(kernel_log.from, UINT64_MAX);
        kernel_log.listener->progress(41, kernel_log.listener->userdata);
        run(f);
        assert_int_equal(ring_kmsg_sequence(f->ring, boot.bytes), 41);

        when = line(f, SEEN, 4);
        kernel_log.listener->progress(42, kernel_log.listener->userdata);
        run(f);
        observer_hasten(f->observer, &functions[1]);
        assert_next(f, RECORD_KMSG, SEEN, 4);
        line(f, SEEN, 5);
        kernel_log.listener->progress(43, kernel_log.listener->userdata);
        run(f);
        assert_int_equal(ring_kmsg_sequence(f->ring, boot.bytes), 42);

        begin_anew(f);
        assert_int_equal(kernel_log.from, 42);

        line_at(f, SEEN, 4, when);           /* had the note been lost */
        uevent(f, 1, UEVENT_BEGIN_RECOVERY); /* udevd took its time with it */
        observer_hasten(f->observer, &functions[1]);
        line(f, SEEN, 5);
        observer_finish(f->observer);
        assert_next(f, RECORD_KMSG, SEEN, 5);
        assert_no_more(f);
}

static void test_no_kernel_log(void **state) {
        Fixture *f = *state;

        line(f, SEEN, 4);
        kernel_log.listener->failed(-EIO, kernel_log.listener->userdata);
        assert_null(kernel_log.listener);
        uevent(f, 1, UEVENT_BEGIN_RECOVERY);
        observer_finish(f->observer);
        assert_next(f, RECORD_KMSG, SEEN, 4);

        f->observer = observer_free(f->observer);
        kernel_log.open_error = -EPERM;
        begin(f);
        uevent(f, 1, UEVENT_BEGIN_RECOVERY);
        observer_finish(f->observer);
        assert_next(f, RECORD_UEVENT, SEEN, 0);
        assert_no_more(f);
}

static void count_missing(const struct iovec *fields, size_t n_fields, void *userdata) {
        unsigned *n = userdata;

        for (size_t i = 0; i < n_fields; i++)
                if (memmem(fields[i].iov_base, fields[i].iov_len, " 42 lines are lost", 18))
                        (*n)++;
}

/* Nobody knows what they said. How many there were, everybody is told. */
static void test_lines_are_lost(void **state) {
        Fixture *f = *state;
        unsigned n = 0;

        log_set_sink(f->context.log, count_missing, &n);
        log_set_target(f->context.log, LOG_TARGET_JOURNAL);
        kernel_log.listener->overrun(42, kernel_log.listener->userdata);
        assert_int_equal(n, 1);
        line(f, SEEN, 4);
        observer_finish(f->observer);
        assert_next(f, RECORD_KMSG, SEEN, 4);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_line),
                TEST(test_line_of_a_record),
                TEST(test_line_at_the_end),
                TEST(test_line_of_a_loss),
                TEST(test_uevent),
                TEST(test_strangers),
                TEST(test_severities),
                TEST(test_recovered),
                TEST(test_opening),
                TEST(test_many),
                TEST(test_next_run),
                TEST(test_no_kernel_log),
                TEST(test_many_before_the_drain),
                TEST(test_many_and_none_is_drained),
                TEST(test_lines_are_lost),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
