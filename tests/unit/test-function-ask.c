/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is asked of a function is answered, whatever else is asked for before that. */

#include "function-bench.h"

typedef struct Asked {
        FunctionRequest request; /* first, so that it is this */
        unsigned n_answers;
        FunctionOutcome outcome;
        unsigned n_closes; /* by then */
} Asked;

static void on_answer(FunctionRequest *request, FunctionOutcome outcome, int error) {
        Asked *asked = (Asked *) request;

        asked->n_answers++;
        asked->outcome = outcome;
        asked->n_closes = fake_kernel.n_closes;
}

#define ASKED                                                                                      \
        { .request.answer = on_answer }

static void assert_answer(const Asked *asked, FunctionOutcome outcome) {
        assert_int_equal(asked->n_answers, 1);
        assert_int_equal(asked->outcome, outcome);
}

static void test_release(void **state) {
        Asked release = ASKED, again = ASKED, taken_back = ASKED;
        Bench *b = *state;

        claim(b);
        function_release(b->function, 0, "guest", &release.request);
        run_until(b, release.n_answers > 0);
        assert_answer(&release, FUNCTION_DONE);
        assert_int_equal(release.n_closes, 1);
        assert_state(b, FUNCTION_OBSERVED, "released");
        assert_string_equal(function_holder(b->function), "guest");

        /* It is closed already. */
        function_release(b->function, 0, "", &again.request);
        assert_answer(&again, FUNCTION_DONE);
        assert_string_equal(function_holder(b->function), "");

        function_claim(b->function, &taken_back.request);
        run_until(b, taken_back.n_answers > 0);
        assert_answer(&taken_back, FUNCTION_DONE);
        assert_state(b, FUNCTION_CLAIMED, "");
}

/* The grace is over before the device can be closed. */
static void test_short_grace(void **state) {
        Asked release = ASKED;
        Bench *b = *state;

        claim(b);
        function_release(b->function, 1, "", &release.request);
        run_until(b, release.n_answers > 0);
        assert_answer(&release, FUNCTION_DONE);
        assert_int_equal(release.n_closes, 1);
        run_until(b, b->function->state == FUNCTION_CLAIMED);
        assert_int_equal(fake_kernel.n_opens, 2);
}

/* Claimed again while it is being closed: whoever waits for the close gets it first. */
static void test_claim_while_closing(void **state) {
        Asked release = ASKED, taken_back = ASKED;
        Bench *b = *state;

        claim(b);
        function_release(b->function, 0, "", &release.request);
        function_claim(b->function, &taken_back.request);
        run_until(b, release.n_answers > 0 && taken_back.n_answers > 0);
        assert_answer(&release, FUNCTION_DONE);
        assert_int_equal(release.n_closes, 1);
        assert_answer(&taken_back, FUNCTION_DONE);
        assert_int_equal(fake_kernel.n_opens, 2);
        assert_state(b, FUNCTION_CLAIMED, "");
}

/* The same, but that it has not come to closing: it is being opened, or reset. */
static void test_claim_before_closing(void **state) {
        Asked release = ASKED, taken_back = ASKED, second = ASKED, taken_again = ASKED;
        Bench *b = *state;

        begin(b);
        run_until(b, b->function->activity == FUNCTION_OPENING);
        function_release(b->function, 0, "", &release.request);
        function_claim(b->function, &taken_back.request);
        run_until(b, release.n_answers > 0 && taken_back.n_answers > 0);
        assert_int_equal(release.n_closes, 1);
        assert_state(b, FUNCTION_CLAIMED, "");

        fake_kernel.reset_errors = 3;
        fake_error(2);
        run_until(b, b->function->recovery == RECOVERY_IN_PROGRESS);
        function_release(b->function, 1, "", &second.request);
        function_claim(b->function, &taken_again.request);
        run_until(b, second.n_answers > 0 && taken_again.n_answers > 0);
        assert_int_equal(second.n_closes, 2);
        assert_state(b, FUNCTION_CLAIMED, "");
        assert_false(fake_kernel.frozen);
}

/* Unbound meanwhile. */
static void test_gone(void **state) {
        Asked release = ASKED, taken_back = ASKED;
        Bench *b = *state;

        claim(b);
        function_release(b->function, 0, "", &release.request);
        function_claim(b->function, &taken_back.request);
        function_gone(b->function);
        run_until(b, release.n_answers > 0 && taken_back.n_answers > 0 && b->n_busy == 0);
        assert_int_equal(release.n_answers, 1);
        assert_answer(&taken_back, FUNCTION_NOT_BOUND);
        assert_null(fake_kernel.device);
}

#define BENCH_TEST(test) cmocka_unit_test_setup_teardown(test, bench_setup, bench_teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                BENCH_TEST(test_release),
                BENCH_TEST(test_short_grace),
                BENCH_TEST(test_claim_while_closing),
                BENCH_TEST(test_claim_before_closing),
                BENCH_TEST(test_gone),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
