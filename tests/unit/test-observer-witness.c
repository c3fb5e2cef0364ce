/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The observer with the witness: from one run to the next, and at the end. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>

#include "observer-fixture.h"

static int setup_with_witness(void **state) {
        Fixture *f;
        int r;

        r = setup(state);
        if (r < 0)
                return r;
        f = *state;

        f->observer = observer_free(f->observer);
        fake_witness.runs = true;
        begin(f);
        assert_string_equal(observer_witness(f->observer), "active");
        return 0;
}

/* The last errors of a function of somebody else go before it does, with all that is known of them. */
static void test_seen_at_the_end(void **state) {
        Fixture *f = *state;

        see(f, SEEN, 2);
        see(f, SEEN, 3);
        observer_hasten(f->observer, &functions[1]);
        assert_int_equal(assert_next(f, RECORD_WITNESS, SEEN, 2)->witness, 1);
        assert_int_equal(assert_next(f, RECORD_WITNESS, SEEN, 3)->witness, 2);
        assert_int_equal(fake_witness.released, 2);

        /* Their lines are superfluous. */
        line(f, SEEN, 2);
        line(f, SEEN, 3);
        observer_finish(f->observer);
        assert_no_more(f);
}

/* What is in the queue at the very end is drained; nobody tells it from the witness, now or later. */
static void test_drained_at_the_end(void **state) {
        Fixture *f = *state;

        see(f, HELD, 2);
        queued = 2;
        f->context.restarts = true;
        observer_finish(f->observer);
        assert_int_equal(assert_next(f, RECORD_VFIO, HELD, 2)->witness, 1);
        assert_int_equal(fake_witness.released, 1);

        queued = 0;
        begin_anew(f);
        observer_finish(f->observer);
        assert_no_more(f);
}

/*
 * Seen, and not in the queue yet when that was drained for the last time: where another run takes over
 * the device, it is told by that run, which drains it.
 */
static void test_left_to_next_run(void **state) {
        const Record *record;
        Fixture *f = *state;

        see(f, SEEN, 4);
        see(f, HELD, 2);
        see(f, SEEN, 5);
        f->context.restarts = true;
        observer_finish(f->observer);
        assert_next(f, RECORD_WITNESS, SEEN, 4);
        assert_next(f, RECORD_WITNESS, SEEN, 5);
        assert_no_more(f);
        assert_int_equal(fake_witness.released, 1);

        /* That is told those of the others once more. */
        begin_anew(f);
        line(f, HELD, 2);
        drained(f, HELD, 2);
        f->context.restarts = false;
        observer_finish(f->observer);
        record = assert_next(f, RECORD_VFIO, HELD, 2);
        assert_int_equal(record->witness, 2);
        assert_no_more(f);
        assert_int_equal(fake_witness.released, 3);
}

/* Nobody comes after us who could drain it. */
static void test_left_to_nobody(void **state) {
        Fixture *f = *state;

        see(f, HELD, 2);
        observer_finish(f->observer);
        assert_next(f, RECORD_WITNESS, HELD, 2);
        assert_no_more(f);
        assert_int_equal(fake_witness.released, 1);
}

/* A device that is let go of is drained once more right before it is closed. */
static void test_closing(void **state) {
        Fixture *f = *state;

        see(f, HELD, 2);
        see(f, HELD, 3);
        observer_closing(f->observer, &functions[0]);
        drained(f, HELD, 2);
        functions[0].device = NULL;
        observer_hasten(f->observer, &functions[0]);
        assert_int_equal(assert_next(f, RECORD_VFIO, HELD, 2)->witness, 1);
        assert_int_equal(assert_next(f, RECORD_WITNESS, HELD, 3)->witness, 2);
        assert_no_more(f);
}

/* What the queue dropped is told in its place; a crash right after it has nothing told twice. */
static void test_dropped(void **state) {
        uint64_t when = now_usec(CLOCK_MONOTONIC);
        const Record *record;
        Fixture *f = *state;

        see(f, HELD, 2);
        see(f, HELD, 3);
        drained(f, HELD, 2);
        assert_int_equal(observer_dropped(f->observer, &functions[0], 7, true, &record), -EAGAIN);
        assert_int_equal(observer_dropped(f->observer, &functions[0], 7, true, &record), 1);
        assert_true(record->dropped);
        assert_int_equal(record->ordinal, 7);
        assert_int_equal(observer_dropped(f->observer, &functions[0], 8, false, &record), 0);
        assert_next(f, RECORD_VFIO, HELD, 2);
        assert_int_equal(assert_next(f, RECORD_WITNESS, HELD, 3)->witness, 2);

        assert_int_equal(fake_witness.released, 0);
        begin_anew(f);
        line_at(f, HELD, 2, when);
        line_at(f, HELD, 3, when);
        observer_finish(f->observer);
        assert_no_more(f);
        assert_int_equal(fake_witness.released, 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_with_witness, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_seen_at_the_end),  TEST(test_drained_at_the_end),
                TEST(test_left_to_next_run), TEST(test_left_to_nobody),
                TEST(test_closing),          TEST(test_dropped),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
