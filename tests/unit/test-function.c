/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The life of a function over a fake kernel. */

#include "function-bench.h"

static void test_observe(void **state) {
        Bench *b = *state;

        b->config.function.policy = POLICY_OBSERVE;
        begin(b);
        assert_state(b, FUNCTION_OBSERVED, "policy");
        assert_int_equal(sd_event_run(b->event, 0), 0); /* nothing is to come: no timer, no job */
        assert_int_equal(fake_kernel.n_opens, 0);
}

static void test_settle(void **state) {
        Bench *b = *state;

        b->config.function.settle_usec = 3600 * USEC_PER_SEC;
        begin(b);
        assert_state(b, FUNCTION_OBSERVED, "settling");
        assert_int_equal(sd_event_run(b->event, 0), 0);
        assert_int_equal(fake_kernel.n_opens, 0);
}

static void test_error_and_recovery(void **state) {
        Bench *b = *state;

        claim(b);
        fake_kernel.reset_errors = 3;
        fake_error(2);
        run_until(b, b->function->recovery == RECOVERY_RECOVERED && b->n_busy == 0);
        assert_int_equal(errors(b), 1);
        assert_int_equal(fake_kernel.n_resets, 4);
        assert_false(fake_kernel.frozen);
        assert_int_equal(b->function->records, 1);
        assert_int_equal(b->function->last_pec, 2);
        assert_int_equal(b->function->lost, 0);
        assert_state(b, FUNCTION_CLAIMED, "");
}

static void test_recovery_none(void **state) {
        Bench *b = *state;

        b->config.function.recovery = RECOVERY_POLICY_NONE;
        claim(b);
        fake_error(2);
        run_until(b, b->function->records == 1);
        run_dry(b);
        assert_int_equal(fake_kernel.n_resets, 0);
        assert_int_equal(b->function->recovery, RECOVERY_NONE);

        /* Letting go owes the reset all the same. */
        function_stop(b->function);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_resets, 1);
        assert_false(fake_kernel.frozen);
}

static void test_overflow(void **state) {
        Bench *b = *state;
        uint64_t lost;

        claim(b);
        for (unsigned i = 0; i < 7; i++)
                fake_error(2);
        run_until(b, b->function->lost > 0);
        assert_int_equal(errors(b), 4);
        assert_int_equal(count(b, RECORD_LOST, &lost), 1);
        assert_int_equal(lost, 3);
        assert_int_equal(b->function->lost, 3);
        run_until(b, b->n_busy == 0);
}

static void test_undrained(void **state) {
        Bench *b = *state;

        begin(b);
        assert_false(function_is_undrained(b->function));
        run_until(b, b->function->activity == FUNCTION_OPENING);
        assert_true(function_is_undrained(b->function));
        /* There may have been an error before it was to be signalled. */
        run_until(b, b->function->device);
        assert_true(function_is_undrained(b->function));
        run_until(b, !b->function->opened_now);
        assert_false(function_is_undrained(b->function));

        fake_error(2);
        assert_true(function_is_undrained(b->function));
        run_until(b, b->function->recovery == RECOVERY_RECOVERED);
        run_dry(b);
        assert_int_equal(errors(b), 1);
        assert_false(function_is_undrained(b->function));

        b->config.function.policy = POLICY_OBSERVE;
        reconfigure(b);
        run_until(b, b->n_busy == 0 && !b->function->device);
        assert_false(function_is_undrained(b->function));
}

static void test_busy(void **state) {
        Bench *b = *state;

        fake_kernel.open_error = -EBUSY;
        begin(b);
        run_until(b, strcmp(b->function->reason, "busy") == 0);
        assert_state(b, FUNCTION_OBSERVED, "busy");
        fake_kernel.open_error = 0;
        run_until(b,
                  b->function->state == FUNCTION_CLAIMED); /* the back-off begins with a second */
        assert_int_equal(b->n_state_changes, 2);           /* it did not flap meanwhile */
        run_until(b, b->function->backoff_usec == 0);
}

static void test_open_again(void **state) {
        Bench *b = *state;

        fake_kernel.open_error = -EAGAIN;
        begin(b);
        run_until(b, b->function->open_again_usec > 0);
        assert_state(b, FUNCTION_OBSERVED, "settling");
        fake_kernel.open_error = 0;
        run_until(b, b->function->state == FUNCTION_CLAIMED);
        assert_int_equal(b->function->open_again_usec, 0);
}

/* Whoever held it let go because of an error, which the kernel is handling: no reason to stay away for long. */
static void test_open_again_after_busy(void **state) {
        Bench *b = *state;

        fake_kernel.open_error = -EBUSY;
        begin(b);
        run_until(b, strcmp(b->function->reason, "busy") == 0);
        fake_kernel.open_error = -EAGAIN;
        run_until(b, b->function->open_again_usec > 0);
        assert_state(b, FUNCTION_OBSERVED, "busy");
        assert_int_equal(b->function->backoff_usec, USEC_PER_SEC);
        fake_kernel.open_error = 0;
        run_until(b, b->function->state == FUNCTION_CLAIMED);
}

/* Handled for more than a second: something is wrong, which is said. */
static void test_open_again_in_vain(void **state) {
        Bench *b = *state;

        fake_kernel.open_error = -EAGAIN;
        begin(b);
        run_until(b, b->function->state == FUNCTION_FAILED);
        assert_state(b, FUNCTION_FAILED, "EAGAIN");
        assert_int_equal(b->function->backoff_usec, USEC_PER_SEC);
}

static void test_unsupported(void **state) {
        Bench *b = *state;

        fake_kernel.open_error = -EOPNOTSUPP;
        begin(b);
        run_until(b, b->n_state_changes == 1);
        assert_state(b, FUNCTION_OBSERVED, "unsupported");
        run_dry(b);
        assert_int_equal(b->n_busy, 0);
        assert_false(is_armed(b));
}

static void test_denied(void **state) {
        Bench *b = *state;

        fake_kernel.open_error = -EACCES;
        begin(b);
        run_until(b, b->n_state_changes == 1);
        assert_state(b, FUNCTION_FAILED, "policy-denied");
        assert_true(is_armed(b));
}

static void test_permanent(void **state) {
        Bench *b = *state;

        claim(b);
        fake_error(2);
        fake_error(0x3b);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_state(b, FUNCTION_FAILED, "permanent-error");
        assert_int_equal(errors(b), 2);
        assert_int_equal(fake_kernel.n_resets, 0);
        assert_false(is_armed(b));
}

static void test_reset_fails(void **state) {
        Bench *b = *state;

        claim(b);
        fake_kernel.reset_error = -EIO;
        fake_error(2);
        run_until(b, b->function->state == FUNCTION_FAILED && b->n_busy == 0);
        assert_state(b, FUNCTION_FAILED, "EIO");
        assert_int_equal(b->function->recovery, RECOVERY_FAILED);
        assert_int_equal(fake_kernel.n_closes, 1);
        fake_kernel.reset_error = 0;
        run_until(b, b->function->state == FUNCTION_CLAIMED);
}

static void test_request(void **state) {
        Bench *b = *state;

        claim(b);
        b->config.function.settle_usec = 3600 * USEC_PER_SEC;
        reconfigure(b);
        fake_request();
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_resets, 0);
        assert_state(b, FUNCTION_OBSERVED, "settling");
}

/* The kernel asks for the device at the very moment of an error: drained, recovered, closed. */
static void test_request_after_error(void **state) {
        Bench *b = *state;

        claim(b);
        b->config.function.settle_usec = 3600 * USEC_PER_SEC;
        reconfigure(b);
        fake_kernel.reset_errors = 2;
        fake_error(4);
        fake_request();
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(errors(b), 1);
        assert_int_equal(fake_kernel.n_lost_by_close, 0);
        assert_int_equal(fake_kernel.n_resets, 3);
        assert_false(fake_kernel.frozen);
}

/* A reset that never gets the lock must not keep an unbind waiting for more than a second. */
static void test_request_during_endless_reset(void **state) {
        Bench *b = *state;
        uint64_t start;

        claim(b);
        b->config.function.settle_usec = 3600 * USEC_PER_SEC;
        reconfigure(b);
        fake_kernel.reset_errors = 1000000;
        fake_error(4);
        run_until(b, fake_kernel.n_resets > 0);
        start = now_usec(CLOCK_MONOTONIC);
        fake_request();
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_true(now_usec(CLOCK_MONOTONIC) - start < USEC_PER_SEC);
        assert_int_equal(b->function->recovery, RECOVERY_FAILED);
}

static void test_read_fails(void **state) {
        Bench *b = *state;
        uint64_t lost;

        claim(b);
        fake_kernel.read_error = -EIO;
        for (unsigned i = 0; i < 6; i++)
                fake_error(2);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_state(b, FUNCTION_FAILED, "EIO");
        assert_int_equal(errors(b), 0);

        /* What the close threw away and what had been dropped before is counted, and announced. */
        assert_int_equal(fake_kernel.n_lost_by_close, 4);
        assert_int_equal(count(b, RECORD_LOST, &lost), 1);
        assert_int_equal(lost, 6);
        assert_int_equal(b->function->lost, 6);

        fake_kernel.read_error = 0;
        run_until(b, b->function->state == FUNCTION_CLAIMED);
        fake_error(2);
        run_until(b, errors(b) == 1 && b->n_busy == 0);
        assert_int_equal(count(b, RECORD_LOST, &lost), 1);
}

/* Nothing else is announced than what there was. */
static void test_fails_when_all_is_drained(void **state) {
        Bench *b = *state;
        uint64_t lost;

        b->config.function.recovery = RECOVERY_POLICY_NONE;
        claim(b);
        for (unsigned i = 0; i < 3; i++)
                fake_error(2);
        run_until(b, errors(b) == 3);
        run_dry(b);
        fake_kernel.read_error = -ENODEV;
        function_gone(b->function);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(count(b, RECORD_LOST, &lost), 0);
}

/* That it opens does not make it work: it is tried less and less often. */
static void test_read_always_fails(void **state) {
        Bench *b = *state;

        fake_kernel.read_error = -EIO;
        begin(b);
        run_until(b, fake_kernel.n_closes == 2 && b->n_busy == 0);
        assert_int_equal(b->function->backoff_usec, 2 * USEC_PER_SEC);
        assert_state(b, FUNCTION_FAILED, "EIO");
}

/* A kernel that always has one more record must not keep the publishers from their turn. */
static void test_endless(void **state) {
        Bench *b = *state;
        unsigned posts;

        b->config.function.recovery = RECOVERY_POLICY_NONE;
        claim(b);
        fake_kernel.endless = true;
        fake_error(2);
        run_until(b, b->function->records >= 32);
        posts = b->n_posts;
        run_until(b, b->function->records >= 3200);
        assert_true(b->n_posts - posts >= 90);

        /* Nor from letting go. */
        function_stop(b->function);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
}

static void test_gone_while_opening(void **state) {
        Bench *b = *state;

        begin(b);
        run_until(b, b->n_busy == 1);
        function_gone(b->function);
        b->function = function_unref(b->function);
        run_until(b, b->n_busy == 0);
        assert_int_equal(fake_kernel.n_opens, fake_kernel.n_closes);
        assert_null(fake_kernel.device);
}

static void test_gone_while_resetting(void **state) {
        Bench *b = *state;

        claim(b);
        fake_kernel.reset_errors = 5;
        fake_error(2);
        run_until(b, fake_kernel.n_resets > 0);
        function_gone(b->function);
        b->function = function_unref(b->function);
        run_until(b, b->n_busy == 0);
        assert_int_equal(fake_kernel.n_closes, 1);
        assert_false(fake_kernel.frozen);
}

/* The kernel is short of memory: its records stay where they are, and so does the device. */
static void test_no_memory(void **state) {
        Bench *b = *state;

        claim(b);
        fake_kernel.read_error = -ENOMEM;
        fake_error(2);
        fake_error(3);
        run_dry(b);
        assert_int_equal(errors(b), 0);
        assert_state(b, FUNCTION_CLAIMED, "");

        fake_kernel.read_error = 0;
        run_until(b, errors(b) == 2);
        assert_int_equal(fake_kernel.n_closes, 0);
}

/* Neither does the end wait for memory, nor is what it costs passed over. */
static void test_no_memory_at_the_end(void **state) {
        Bench *b = *state;
        uint64_t lost;

        claim(b);
        fake_kernel.read_error = -ENOMEM;
        fake_error(2);
        fake_error(3);
        fake_request();
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(errors(b), 0);
        assert_int_equal(count(b, RECORD_LOST, &lost), 1);
        assert_int_equal(lost, 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
                TEST(test_observe),
                TEST(test_settle),
                TEST(test_error_and_recovery),
                TEST(test_recovery_none),
                TEST(test_overflow),
                TEST(test_undrained),
                TEST(test_busy),
                TEST(test_open_again),
                TEST(test_open_again_after_busy),
                TEST(test_open_again_in_vain),
                TEST(test_unsupported),
                TEST(test_denied),
                TEST(test_permanent),
                TEST(test_reset_fails),
                TEST(test_request),
                TEST(test_request_after_error),
                TEST(test_request_during_endless_reset),
                TEST(test_read_fails),
                TEST(test_fails_when_all_is_drained),
                TEST(test_no_memory),
                TEST(test_no_memory_at_the_end),
                TEST(test_read_always_fails),
                TEST(test_endless),
                TEST(test_gone_while_opening),
                TEST(test_gone_while_resetting),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
