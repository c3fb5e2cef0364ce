/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "follow.h"

#define STREAM "11111111111111111111111111111111"
#define OTHER  "22222222222222222222222222222222"

static void test_signals(void **state) {
        Follow follow;

        follow_start(&follow, STREAM, 5);
        assert_int_equal(follow_step(&follow, STREAM, 5), FOLLOW_KNOWN);
        assert_int_equal(follow_step(&follow, STREAM, 6), FOLLOW_NEXT);
        assert_int_equal(follow_step(&follow, STREAM, 6),
                         FOLLOW_KNOWN); /* a repetition after a crash */
        assert_int_equal(follow_step(&follow, STREAM, 8), FOLLOW_GAP);
        assert_int_equal(follow_step(&follow, STREAM, 7), FOLLOW_NEXT); /* a gap is not skipped */
        assert_int_equal(follow_step(&follow, OTHER, 8), FOLLOW_GAP);
        assert_int_equal(follow_step(&follow, "", 8), FOLLOW_GAP);
        assert_int_equal(follow_step(&follow, STREAM, UINT64_MAX), FOLLOW_GAP);
        assert_int_equal(follow_step(&follow, STREAM, 0), FOLLOW_KNOWN);
        assert_int_equal(follow.last, 7);
}

static void test_answers(void **state) {
        Follow follow;

        follow_start(&follow, STREAM, 5);
        assert_int_equal(follow_answer(&follow, STREAM, 1), 0);
        assert_int_equal(follow_answer(&follow, STREAM, 6), 0);
        assert_int_equal(follow.last, 5);

        /* 6 and 7 are overwritten; 8 is next. */
        assert_int_equal(follow_answer(&follow, STREAM, 8), 2);
        assert_int_equal(follow_step(&follow, STREAM, 8), FOLLOW_NEXT);

        /* Another stream is known from its first on. */
        assert_int_equal(follow_answer(&follow, OTHER, 1), 0);
        assert_int_equal(follow_step(&follow, STREAM, 9), FOLLOW_GAP);
        assert_int_equal(follow_step(&follow, OTHER, 1), FOLLOW_NEXT);
        assert_int_equal(follow_answer(&follow, STREAM, 4), 3);
        assert_int_equal(follow_step(&follow, STREAM, 4), FOLLOW_NEXT);

        /* What no daemon says does not turn the counting round. */
        follow_start(&follow, STREAM, UINT64_MAX);
        assert_int_equal(follow_answer(&follow, STREAM, 0), 0);
        assert_int_equal(follow_answer(&follow, STREAM, UINT64_MAX), 0);
        assert_int_equal(follow_step(&follow, STREAM, UINT64_MAX), FOLLOW_KNOWN);
        assert_int_equal(follow.last, UINT64_MAX);
}

/* A bus that drops and repeats signals, and a daemon that forgets, by a fixed seed. */
static void test_model(void **state) {
        uint64_t published = 0, oldest = 1, told = 0, missed = 0;
        unsigned seed = 20261122;
        Follow follow;

        follow_start(&follow, STREAM, 0);
        for (unsigned i = 0; i < 20000; i++) {
                FollowStep step;

                published++;
                if (rand_r(&seed) % 8 == 0)
                        oldest = published - (uint64_t) rand_r(&seed) % (published - oldest + 1);
                if (rand_r(&seed) % 3 == 0)
                        continue; /* dropped */

                step = follow_step(&follow, STREAM, published - (uint64_t) rand_r(&seed) % 2);
                told += step == FOLLOW_NEXT;
                if (step != FOLLOW_GAP)
                        continue;

                missed += follow_answer(&follow, STREAM, oldest);
                for (uint64_t n = oldest; n <= published; n++)
                        told += follow_step(&follow, STREAM, n) == FOLLOW_NEXT;
                assert_int_equal(follow.last, published);
        }
        assert_int_equal(told + missed, follow.last);
        assert_true(missed > 0 && told > missed);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signals),
                cmocka_unit_test(test_answers),
                cmocka_unit_test(test_model),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
