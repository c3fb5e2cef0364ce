/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the configuration makes of a function's life: changes of it, and the recovery limit. */

#include "function-bench.h"

static void assert_claim_time(const Bench *b, uint64_t usec) {
        uint64_t time;

        assert_int_equal(sd_event_source_get_time(b->function->claim_timer, &time), 0);
        assert_int_equal(time, usec);
}

static void test_policy_changes(void **state) {
        Bench *b = *state;

        claim(b);
        b->config.function.policy = POLICY_OBSERVE;
        reconfigure(b);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_state(b, FUNCTION_OBSERVED, "policy");
        b->config.function.policy = POLICY_CLAIM;
        reconfigure(b);
        run_until(b, b->function->state == FUNCTION_CLAIMED);
}

/* What is configured of the settle time counts from when the function was bound, and at once. */
static void test_settle_changes(void **state) {
        Bench *b = *state;
        uint64_t bound;

        b->config.function.settle_usec = 3600 * USEC_PER_SEC;
        begin(b);
        bound = b->function->bound_usec;
        b->config.function.settle_usec = 7200 * USEC_PER_SEC;
        reconfigure(b);
        assert_claim_time(b, bound + 7200 * USEC_PER_SEC);

        b->config.function.settle_usec = 1;
        reconfigure(b);
        run_until(b, b->function->state == FUNCTION_CLAIMED && !b->function->opened_now);

        /* It is settled now, and stays held. */
        b->config.function.settle_usec = 3600 * USEC_PER_SEC;
        reconfigure(b);
        run_dry(b);
        assert_state(b, FUNCTION_CLAIMED, "");
        assert_int_equal(fake_kernel.n_closes, 0);
}

/* What was left alone is recovered once that is configured. */
static void test_recovery_changes(void **state) {
        Bench *b = *state;

        b->config.function.recovery = RECOVERY_POLICY_NONE;
        claim(b);
        fake_error(2);
        run_until(b, b->function->records == 1);
        run_dry(b);
        assert_int_equal(fake_kernel.n_resets, 0);

        b->config.function.recovery = RECOVERY_POLICY_RESET;
        reconfigure(b);
        run_until(b, b->function->recovery == RECOVERY_RECOVERED && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_resets, 1);
        assert_int_equal(fake_kernel.n_closes, 0);
        assert_false(fake_kernel.frozen);
}

static void recover_once(Bench *b) {
        unsigned resets = fake_kernel.n_resets;

        fake_error(2);
        run_until(b, fake_kernel.n_resets > resets && b->n_busy == 0);
}

static void test_recovery_limit(void **state) {
        Bench *b = *state;

        b->config.function.limit = (RecoveryLimit){ .count = 3, .interval_usec = WAIT_USEC * 360 };
        claim(b);
        for (unsigned i = 0; i < 3; i++)
                recover_once(b);
        assert_state(b, FUNCTION_CLAIMED, "");
        assert_int_equal(b->n_state_changes, 1);

        /* Once more is once too often. It is not left in the error state all the same. */
        recover_once(b);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_state(b, FUNCTION_FAILED, "recovery-limit");
        assert_int_equal(errors(b), 4);
        assert_int_equal(b->n_state_changes, 2);
        assert_false(fake_kernel.frozen);

        /* Nothing but a new binding takes it back. */
        b->config.function.limit = (RecoveryLimit){ 0 };
        reconfigure(b);
        run_dry(b);
        assert_false(is_armed(b));
        assert_state(b, FUNCTION_FAILED, "recovery-limit");
        assert_int_equal(fake_kernel.n_opens, 1);
}

/* Each by itself, they leave the interval one after the other. */
static void test_recovery_below_limit(void **state) {
        Bench *b = *state;

        b->config.function.limit = (RecoveryLimit){ .count = 1, .interval_usec = 1 };
        claim(b);
        for (unsigned i = 0; i < 5; i++)
                recover_once(b);
        assert_state(b, FUNCTION_CLAIMED, "");
        assert_int_equal(fake_kernel.n_closes, 0);
}

/* It went and came back before we looked: a new life, with nothing held against it. */
static void test_bound_again(void **state) {
        SysfsFunction sysfs = example;
        Bench *b = *state;

        b->config.function.limit = (RecoveryLimit){ .count = 1, .interval_usec = WAIT_USEC * 360 };
        for (unsigned life = 1; life <= 3; life++) {
                sysfs.binding = life;
                if (b->function)
                        function_correct(b->function, &sysfs);
                else
                        assert_int_equal(function_new(&b->context, &sysfs, NULL, &b->function), 0);
                function_update(b->function);
                run_until(b, b->function->state == FUNCTION_CLAIMED && !b->function->opened_now);

                recover_once(b);
                assert_state(b, FUNCTION_CLAIMED, "");
                recover_once(b);
                run_until(b, fake_kernel.n_closes == life && b->n_busy == 0);
                assert_state(b, FUNCTION_FAILED, "recovery-limit");
                function_correct(b->function, &sysfs);
                run_dry(b);
                assert_int_equal(fake_kernel.n_opens, life);
        }
}

/* The same while its device is open: what we have of it is dead. */
static void test_bound_again_while_held(void **state) {
        SysfsFunction sysfs = example;
        Bench *b = *state;

        claim(b);
        sysfs.binding = 1;
        function_correct(b->function, &sysfs);
        run_until(b, fake_kernel.n_opens == 2 && b->function->state == FUNCTION_CLAIMED);
        assert_int_equal(fake_kernel.n_closes, 1);
        run_until(b, b->n_busy == 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
                TEST(test_policy_changes),         TEST(test_settle_changes),
                TEST(test_recovery_changes),       TEST(test_recovery_limit),
                TEST(test_recovery_below_limit),   TEST(test_bound_again),
                TEST(test_bound_again_while_held),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
