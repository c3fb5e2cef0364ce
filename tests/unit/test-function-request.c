/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Claim, release, reset, and inhibitors: whatever becomes of it, who asked is answered once. */

#include "function-request.h"

#define LONG_USEC (3600 * USEC_PER_SEC)

static void test_claim(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK(), again = NEW_ASK();

        observe(b);
        function_claim(b->function, &ask.request);
        assert_int_equal(ask.n_answers, 0);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_state(b, FUNCTION_CLAIMED, "");
        assert_true(b->function->wishes.claimed);

        function_claim(b->function, &again.request); /* it is held: at once */
        assert_answered(&again, FUNCTION_DONE, 0);
        assert_int_equal(fake_kernel.n_opens, 1);
}

/* The kernel is handling an error, for a moment. */
static void test_claim_opens_again(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        fake_kernel.open_error = -EAGAIN;
        observe(b);
        function_claim(b->function, &ask.request);
        run_until(b, b->function->open_again_usec > 0);
        assert_int_equal(ask.n_answers, 0);
        fake_kernel.open_error = 0;
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
}

static void test_claim_fails(void **state) {
        static const struct {
                int error;
                FunctionOutcome outcome;
                int said;
        } failures[] = {
                { -EBUSY, FUNCTION_BUSY, 0 },
                { -EIO, FUNCTION_SYSTEM_ERROR, -EIO },
                { -EACCES, FUNCTION_SYSTEM_ERROR, -EACCES },
                { -EOPNOTSUPP, FUNCTION_NOT_SUPPORTED, 0 },
        };
        Bench *b = *state;

        observe(b);
        for (size_t i = 0; i < ELEMENTSOF(failures); i++) {
                Ask first = NEW_ASK(), second = NEW_ASK();

                fake_kernel.open_error = failures[i].error;
                function_claim(b->function, &first.request);
                function_claim(b->function, &second.request); /* at once, and no better */
                run_until_answered(b, &first, failures[i].outcome, failures[i].said);
                assert_answered(&second, failures[i].outcome, failures[i].said);
                run_until(b, b->n_busy == 0);
                run_dry(b);
                assert_state(b, FUNCTION_OBSERVED, "policy");
                assert_false(b->function->facts.claimed);
                assert_false(is_armed(b)); /* nobody tries again */
                assert_null(b->function->node_watch);
        }
        assert_int_equal(fake_kernel.n_opens, 0);
}

/* A failure leaves a release as it was: to whom, and for how long. */
static void test_claim_fails_while_released(void **state) {
        Bench *b = *state;
        Ask release = NEW_ASK(), ask = NEW_ASK();
        uint64_t until;

        claim(b);
        function_release(b->function, LONG_USEC, "qemu", &release.request);
        run_until_answered(b, &release, FUNCTION_DONE, 0);
        until = b->function->wishes.released_until_usec;

        fake_kernel.open_error = -EBUSY;
        function_claim(b->function, &ask.request);
        assert_string_equal(function_holder(b->function), "");
        run_until_answered(b, &ask, FUNCTION_BUSY, 0);
        assert_state(b, FUNCTION_OBSERVED, "released");
        assert_string_equal(function_holder(b->function), "qemu");
        assert_true(b->function->wishes.released_until_usec == until);
        assert_non_null(b->function->grace_timer);
}

/* What it was recovered too often is forgotten by a claim that succeeds, and by that only. */
static void test_claim_and_recovery_limit(void **state) {
        Bench *b = *state;
        Ask failing = NEW_ASK(), ask = NEW_ASK();

        b->former = &(HandoverFunction){ .recovery_limit = true, .recoveries.total = 5 };
        begin(b);
        assert_string_equal(b->function->reason, "recovery-limit");

        fake_kernel.open_error = -EBUSY;
        function_claim(b->function, &failing.request);
        run_until_answered(b, &failing, FUNCTION_BUSY, 0);
        run_until(b, b->n_busy == 0);
        assert_state(b, FUNCTION_FAILED, "recovery-limit");
        assert_int_equal(b->function->recoveries.total, 5);

        fake_kernel.open_error = 0;
        function_claim(b->function, &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_state(b, FUNCTION_CLAIMED, "");
        assert_int_equal(b->function->recoveries.total, 0);
}

static void test_claim_is_refused(void **state) {
        Bench *b = *state;
        Ask inhibited = NEW_ASK(), permanent = NEW_ASK();
        int fd;

        observe(b);
        fd = inhibit(b);
        function_claim(b->function, &inhibited.request);
        assert_answered(&inhibited, FUNCTION_INHIBITED, 0);
        assert_false(b->function->wishes.claimed);
        assert_string_equal(function_holder(b->function), "backup");
        close(fd);
        run_until(b, !b->function->facts.inhibited);
        assert_string_equal(function_holder(b->function), "");

        b->function->facts.permanent = true;
        function_claim(b->function, &permanent.request);
        assert_answered(&permanent, FUNCTION_PERMANENT, 0);
        assert_int_equal(fake_kernel.n_opens, 0);
}

static void test_release(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK(), again = NEW_ASK();

        claim(b);
        function_release(b->function, 0, "qemu", &ask.request);
        assert_int_equal(ask.n_answers, 0); /* not before it is closed */
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_int_equal(fake_kernel.n_closes, 1);
        run_until(b, b->n_busy == 0);
        assert_state(b, FUNCTION_OBSERVED, "released");
        assert_string_equal(function_holder(b->function), "qemu");
        assert_null(b->function->grace_timer);
        run_dry(b);
        assert_int_equal(fake_kernel.n_opens, 1);

        function_release(b->function, 0, "", &again.request); /* nothing is held: at once */
        assert_answered(&again, FUNCTION_DONE, 0);
        assert_string_equal(function_holder(b->function), "");
}

static void test_release_with_grace(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        claim(b);
        function_release(b->function, 20 * USEC_PER_MSEC, "qemu", &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        run_until(b, b->function->state == FUNCTION_CLAIMED && b->n_busy == 0);
        assert_false(b->function->wishes.released);
        assert_string_equal(function_holder(b->function), "");
        assert_int_equal(fake_kernel.n_opens, 2);
}

static void test_release_is_replaced(void **state) {
        Bench *b = *state;
        Ask first = NEW_ASK(), second = NEW_ASK(), third = NEW_ASK();

        claim(b);
        function_release(b->function, 1, "qemu", &first.request);
        function_release(b->function, 0, "other", &second.request);
        run_until_answered(b, &first, FUNCTION_DONE, 0);
        assert_answered(&second, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0);
        run_dry(b);
        assert_state(b, FUNCTION_OBSERVED, "released");
        assert_string_equal(function_holder(b->function), "other");

        function_release(b->function, 1, "", &third.request); /* gives it back */
        assert_answered(&third, FUNCTION_DONE, 0);
        run_until(b, b->function->state == FUNCTION_CLAIMED);
}

/* Drained, recovered, closed; answered after that. */
static void test_release_in_error(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        claim(b);
        fake_kernel.reset_errors = 2;
        fake_error(2);
        fake_error(4);
        function_release(b->function, 0, "", &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_int_equal(errors(b), 2);
        assert_int_equal(fake_kernel.n_resets, 3);
        assert_int_equal(fake_kernel.n_lost_by_close, 0);
        assert_int_equal(fake_kernel.n_closes, 1);
        assert_false(fake_kernel.frozen);
}

static void test_release_while_opening(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        begin(b);
        run_until(b, b->function->activity == FUNCTION_OPENING);
        function_release(b->function, 0, "", &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_null(fake_kernel.device);
        assert_state(b, FUNCTION_OBSERVED, "released");
}

/* Whoever claims it just now fails, and the release stays. */
static void test_release_while_claiming(void **state) {
        Bench *b = *state;
        Ask claiming = NEW_ASK(), ask = NEW_ASK(), end = NEW_ASK();

        observe(b);
        function_claim(b->function, &claiming.request);
        function_release(b->function, 0, "qemu", &ask.request);
        assert_answered(&claiming, FUNCTION_BUSY, 0);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0);
        assert_null(fake_kernel.device);
        assert_true(b->function->wishes.released);
        assert_string_equal(function_holder(b->function), "qemu");

        /* After it, it is as before the claim that failed. */
        function_release(b->function, 1, "", &end.request);
        run_until(b, !b->function->wishes.released);
        run_dry(b);
        assert_state(b, FUNCTION_OBSERVED, "policy");
}

/* Claimed again before it is closed: it is closed all the same, and both are answered. */
static void test_claim_while_closing(void **state) {
        Bench *b = *state;
        Ask release = NEW_ASK(), ask = NEW_ASK();

        claim(b);
        function_release(b->function, 0, "qemu", &release.request);
        run_until(b, b->function->activity == FUNCTION_CLOSING);
        function_claim(b->function, &ask.request);
        assert_int_equal(ask.n_answers, 0); /* it is not held any more */
        run_until_answered(b, &release, FUNCTION_DONE, 0);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_state(b, FUNCTION_CLAIMED, "");
        assert_int_equal(fake_kernel.n_opens, 2);
}

static void test_claim_while_closing_fails(void **state) {
        Bench *b = *state;
        Ask release = NEW_ASK(), ask = NEW_ASK();

        claim(b);
        fake_kernel.open_error = -EBUSY;
        function_release(b->function, 0, "qemu", &release.request);
        run_until(b, b->function->activity == FUNCTION_CLOSING);
        function_claim(b->function, &ask.request);
        run_until_answered(b, &release, FUNCTION_DONE, 0);
        run_until_answered(b, &ask, FUNCTION_BUSY, 0);
        assert_state(b, FUNCTION_OBSERVED, "released");
}

static void test_reset(void **state) {
        Bench *b = *state;
        Ask first = NEW_ASK(), second = NEW_ASK(), third = NEW_ASK();

        claim(b);
        fake_kernel.reset_errors = 2;
        function_reset(b->function, &first.request);
        assert_int_equal(first.n_answers, 0);
        function_reset(b->function, &second.request); /* it begins one of its own */
        function_reset(b->function, &third.request);
        run_until_answered(b, &first, FUNCTION_DONE, 0);
        run_until_answered(b, &second, FUNCTION_DONE, 0);
        assert_answered(&third, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0);
        assert_int_equal(fake_kernel.n_resets, 4);
        assert_int_equal(b->function->recoveries.total, 0); /* not counted */
        assert_state(b, FUNCTION_CLAIMED, "");
}

/* What the kernel holds is drained before, and recovered by it. */
static void test_reset_drains(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        claim(b);
        fake_error(2);
        function_reset(b->function, &ask.request);
        assert_int_equal(errors(b), 1);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0);
        run_dry(b);
        assert_int_equal(fake_kernel.n_resets, 1);
        assert_int_equal(b->function->recovery, RECOVERY_RECOVERED);
}

static void test_reset_finds_permanent_error(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        claim(b);
        fake_error(0x3b);
        function_reset(b->function, &ask.request);
        run_until_answered(b, &ask, FUNCTION_PERMANENT, 0);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_resets, 0);
        assert_state(b, FUNCTION_FAILED, "permanent-error");
}

static void test_reset_fails(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        claim(b);
        fake_kernel.reset_error = -EIO;
        function_reset(b->function, &ask.request);
        run_until_answered(b, &ask, FUNCTION_SYSTEM_ERROR, -EIO);
        run_until(b, b->n_busy == 0);
        assert_state(b, FUNCTION_FAILED, "EIO");
}

static void test_reset_is_refused(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK(), closing = NEW_ASK(), release = NEW_ASK(), permanent = NEW_ASK();

        observe(b);
        function_reset(b->function, &ask.request);
        assert_answered(&ask, FUNCTION_NOT_HELD, 0);

        b->config.function.policy = POLICY_CLAIM;
        reconfigure(b);
        run_until(b, b->function->state == FUNCTION_CLAIMED && b->n_busy == 0);
        function_release(b->function, 0, "", &release.request);
        function_reset(b->function, &closing.request);
        run_until_answered(b, &closing, FUNCTION_NOT_HELD, 0);
        assert_answered(&release, FUNCTION_DONE, 0);

        b->function->facts.permanent = true;
        function_reset(b->function, &permanent.request);
        assert_answered(&permanent, FUNCTION_PERMANENT, 0);
        assert_int_equal(fake_kernel.n_resets, 0);
}

static void test_inhibit(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();
        int fd;

        claim(b);
        fd = inhibit(b);
        function_wait_closed(b->function, &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_int_equal(fake_kernel.n_closes, 1);
        run_until(b, b->n_busy == 0);
        assert_state(b, FUNCTION_OBSERVED, "inhibited");
        assert_string_equal(function_holder(b->function), "backup");
        close(fd);
        run_until(b, b->function->state == FUNCTION_CLAIMED);
        assert_string_equal(function_holder(b->function), "");
}

static void test_inhibit_while_opening(void **state) {
        Bench *b = *state;
        Ask claiming = NEW_ASK(), closed = NEW_ASK();
        int fd;

        observe(b);
        function_claim(b->function, &claiming.request);
        fd = inhibit(b);
        function_wait_closed(b->function, &closed.request);
        assert_answered(&claiming, FUNCTION_INHIBITED, 0);
        run_until_answered(b, &closed, FUNCTION_DONE, 0);
        assert_null(fake_kernel.device);
        close(fd);
        run_until(b, !b->function->facts.inhibited);
        run_dry(b);
        assert_state(b, FUNCTION_OBSERVED, "policy"); /* the claim failed */
}

/* Over before the device is closed: who waited for that is answered, and it is taken again. */
static void test_inhibit_ends_while_closing(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();
        int fd;

        claim(b);
        fd = inhibit(b);
        function_wait_closed(b->function, &ask.request);
        close(fd);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        run_until(b, b->function->state == FUNCTION_CLAIMED);
        assert_int_equal(fake_kernel.n_opens, 2);
}

static void test_unbound(void **state) {
        Bench *b = *state;
        Ask claiming = NEW_ASK(), closed = NEW_ASK(), late[3] = { NEW_ASK(), NEW_ASK(), NEW_ASK() };

        observe(b);
        function_claim(b->function, &claiming.request);
        function_wait_closed(b->function, &closed.request);
        function_gone(b->function);
        assert_answered(&claiming, FUNCTION_NOT_BOUND, 0);
        run_until_answered(b, &closed, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0);

        function_claim(b->function, &late[0].request);
        assert_answered(&late[0], FUNCTION_NOT_BOUND, 0);
        function_reset(b->function, &late[1].request);
        assert_answered(&late[1], FUNCTION_NOT_BOUND, 0);
        function_release(b->function, 0, "", &late[2].request);
        assert_answered(&late[2], FUNCTION_DONE, 0);
}

/* Bound again while a claim waits for the close: its device would be another one. */
static void test_bound_again(void **state) {
        SysfsFunction anew = example;
        Bench *b = *state;
        Ask release = NEW_ASK(), ask = NEW_ASK();

        observe(b);
        function_claim(b->function, &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);

        function_release(b->function, 0, "", &release.request);
        run_until(b, b->function->activity == FUNCTION_CLOSING);
        ask = (Ask) NEW_ASK();
        function_claim(b->function, &ask.request);
        anew.binding++;
        function_correct(b->function, &anew);
        run_until_answered(b, &release, FUNCTION_DONE, 0);
        run_until_answered(b, &ask, FUNCTION_NOT_BOUND, 0);
        run_until(b, b->n_busy == 0);
        assert_state(b, FUNCTION_OBSERVED, "policy");
        assert_false(b->function->wishes.claimed);
        assert_false(b->function->wishes.released);
}

static void test_stopped(void **state) {
        Bench *b = *state;
        Ask closed = NEW_ASK(), reset = NEW_ASK();

        claim(b);
        function_wait_closed(b->function, &closed.request);
        function_stop(b->function);
        function_reset(b->function, &reset.request);
        run_until_answered(b, &closed, FUNCTION_DONE, 0);
        assert_answered(&reset, FUNCTION_NOT_HELD, 0);
}

static void test_freed(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        fake_kernel.open_error = -EAGAIN;
        observe(b);
        function_claim(b->function, &ask.request);
        run_until(b, b->function->open_again_usec > 0 && b->n_busy == 0);
        b->function = function_unref(b->function);
        assert_answered(&ask, FUNCTION_NOT_BOUND, 0);
}

/* Who is answered may ask for the next thing at once. */
typedef struct Chain {
        Ask ask;
        Bench *bench;
        Ask next;
} Chain;

static void on_chain(FunctionRequest *request, FunctionOutcome outcome, int error) {
        Chain *chain = (Chain *) request;

        on_answer(request, outcome, error);
        function_release(chain->bench->function, 0, "next", &chain->next.request);
}

static void test_asked_in_answer(void **state) {
        Bench *b = *state;
        Chain chain = { .ask.request.answer = on_chain, .bench = b, .next = NEW_ASK() };
        Ask waiting = NEW_ASK(), other = NEW_ASK();

        observe(b);
        function_wait_closed(b->function, &other.request);
        function_claim(b->function, &chain.ask.request);
        function_wait_closed(b->function, &waiting.request);
        run_until_answered(b, &chain.ask, FUNCTION_DONE, 0);
        run_until_answered(b, &chain.next, FUNCTION_DONE, 0);
        assert_answered(&waiting, FUNCTION_DONE, 0);
        assert_answered(&other, FUNCTION_DONE, 0);
        assert_string_equal(function_holder(b->function), "next");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_claim),
                TEST(test_claim_opens_again),
                TEST(test_claim_fails),
                TEST(test_claim_fails_while_released),
                TEST(test_claim_and_recovery_limit),
                TEST(test_claim_is_refused),
                TEST(test_release),
                TEST(test_release_with_grace),
                TEST(test_release_is_replaced),
                TEST(test_release_in_error),
                TEST(test_release_while_opening),
                TEST(test_release_while_claiming),
                TEST(test_claim_while_closing),
                TEST(test_claim_while_closing_fails),
                TEST(test_reset),
                TEST(test_reset_drains),
                TEST(test_reset_finds_permanent_error),
                TEST(test_reset_fails),
                TEST(test_reset_is_refused),
                TEST(test_inhibit),
                TEST(test_inhibit_while_opening),
                TEST(test_inhibit_ends_while_closing),
                TEST(test_unbound),
                TEST(test_bound_again),
                TEST(test_stopped),
                TEST(test_freed),
                TEST(test_asked_in_answer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
