/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Errors that the kernel's queue dropped and somebody else saw. */

#include <limits.h>

#include "function-bench.h"

/* How often nobody knows yet whether somebody saw it, and who is not asked patiently. */
static unsigned n_not_yet, n_at_once;

static int
on_dropped(Function *f, uint64_t ordinal, bool patient, const Record **ret, void *userdata) {
        RecordIdentity identity;
        Record *record;

        if (!patient)
                n_at_once++;
        else if (n_not_yet > 0) {
                n_not_yet--;
                return -EAGAIN;
        }
        if (ordinal > 6)
                return 0;

        function_identity(f, &identity);
        record = ring_reserve(f->context->ring, RECORD_ERROR, &identity);
        record->source = RECORD_WITNESS;
        record->pec = 2;
        record->ordinal = ordinal;
        ring_commit(f->context->ring, record);
        *ret = record;
        return 1;
}

/* Somebody saw two of the three that were dropped, and can say so only later. */
static void test_dropped(void **state) {
        Bench *b = *state;
        uint64_t lost;

        n_not_yet = 3;
        n_at_once = 0;
        b->context.listener.dropped = on_dropped;
        claim(b);
        for (unsigned i = 0; i < 7; i++)
                fake_error(2);
        run_until(b, b->function->lost > 0);
        assert_int_equal(n_not_yet, 0);
        assert_int_equal(errors(b), 6);
        assert_int_equal(count(b, RECORD_LOST, &lost), 1);
        assert_int_equal(lost, 1);
        run_until(b, b->n_busy == 0);
}

/* Who lets go has no time. */
static void test_dropped_at_the_end(void **state) {
        Bench *b = *state;

        n_not_yet = UINT_MAX;
        n_at_once = 0;
        b->context.listener.dropped = on_dropped;
        claim(b);
        for (unsigned i = 0; i < 6; i++)
                fake_error(2);
        function_stop(b->function);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_true(n_at_once > 0);
        assert_int_equal(errors(b), 6);
        assert_int_equal(b->function->lost, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, bench_setup, bench_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_dropped),
                TEST(test_dropped_at_the_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
