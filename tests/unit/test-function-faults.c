/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a function does when it cannot have what it needs: sources of the loop, the fd store, memory. */

#include <stdio.h>

#include "fake-timers.h"
#include "faults.h"
#include "function-request.h"

#define TIMER_RESET 0U /* the only one of the function's that is relative */

/* The linker's names, see --wrap in ld(1). */
int __real_fdstore_put(FdStore *store, const char *name, int fd, bool hangup);
int __wrap_fdstore_put(FdStore *store, const char *name, int fd, bool hangup);

int __wrap_fdstore_put(FdStore *store, const char *name, int fd, bool hangup) {
        int r = fault("fdstore_put");

        return r < 0 ? r : __real_fdstore_put(store, name, fd, hangup);
}

static struct {
        const char *wanted;
        unsigned n;
} said;

static void hear(const struct iovec *fields, size_t n_fields, void *userdata) {
        for (size_t i = 0; i < n_fields; i++)
                if (memmem(fields[i].iov_base, fields[i].iov_len, said.wanted, strlen(said.wanted)))
                        said.n++;
}

/* Counts in how many messages this is said. */
static void listen_for(Bench *b, const char *wanted) {
        said.wanted = wanted;
        said.n = 0;
        log_set_sink(b->context.log, hear, NULL);
        log_set_target(b->context.log, LOG_TARGET_JOURNAL);
}

static int setup(void **state) {
        int r;

        r = bench_setup(state);
        fake_timers_reset();
        return r;
}

static int teardown(void **state) {
        faults_end();
        return bench_teardown(state);
}

/* Not while a worker runs: it allocates too. */
static void fail_next(const char *call) {
        faults_begin(call, 1, 1, -ENOMEM);
}

static void queue(unsigned n) {
        for (fake_kernel.n_queue = 0; fake_kernel.n_queue < n; fake_kernel.n_queue++)
                fake_kernel.queue[fake_kernel.n_queue] = 2;
}

/*
 * The device is open, and cannot be listened to: what it has is drained, it is closed, and tried again
 * later.
 */
static void test_watch_fails(void **state) {
        unsigned n = 1, failed = 1;

        for (; failed > 0; n++) {
                uint64_t lost;
                Bench *b;

                assert_int_equal(setup(state), 0);
                b = *state;
                begin(b);
                run_until(b, b->n_busy == 1 || b->function->device);
                queue(3);
                faults_begin("sd_event", n, 1, -ENOMEM);
                run_until(b, b->n_busy == 0);
                failed = faults_end();
                if (failed == 0)
                        run_until(b, errors(b) == 3);
                assert_int_equal(errors(b), 3);
                assert_int_equal(count(b, RECORD_LOST, &lost), 0);
                assert_int_equal(fake_kernel.n_lost_by_close, 0);
                if (failed > 0) {
                        assert_int_equal(fake_kernel.n_closes, 1);
                        assert_state(b, FUNCTION_FAILED, "ENOMEM");
                        assert_true(is_armed(b));
                        assert_null(b->function->error_source);
                        assert_null(b->function->request_source);
                        assert_null(b->function->more_source);
                }
                assert_int_equal(teardown(state), 0);
        }
        assert_true(n > 7); /* three sources, with priorities and a rate limit */
        assert_int_equal(setup(state), 0);
}

/* It is claimed once there is memory again. */
static void test_watch_fails_for_a_while(void **state) {
        Bench *b = *state;

        fail_next("sd_event_add_io");
        begin(b);
        run_until(b, fake_kernel.n_closes == 1);
        assert_int_equal(faults_end(), 1);
        run_until(b, b->function->state == FUNCTION_CLAIMED && !b->function->facts.waiting);
        fake_error(2);
        run_until(b, errors(b) == 1 && b->n_busy == 0);
}

/* A device that the next run will not know of is drained all the same, and that is said. */
static void test_store_is_full(void **state) {
        Bench *b = *state;

        listen_for(b, "the service manager does not keep its device");
        b->config.function.policy = POLICY_OBSERVE;
        begin(b);
        for (unsigned n = 1; n <= 3; n++) {
                Ask claimed = NEW_ASK(), released = NEW_ASK();

                faults_begin("fdstore_put", n, 1, -ENOBUFS);
                function_claim(b->function, &claimed.request);
                run_until_answered(b, &claimed, FUNCTION_DONE, 0);
                assert_int_equal(faults_end(), 1);
                assert_int_equal(said.n, n);
                fake_error(2);
                run_until(b, errors(b) == n && b->n_busy == 0);

                function_release(b->function, 0, "", &released.request);
                run_until_answered(b, &released, FUNCTION_DONE, 0);
        }
}

/* A reset that has to be tried again needs no more memory for that, … */
static void test_trying_a_reset_again(void **state) {
        Bench *b = *state;

        claim(b);
        fake_kernel.reset_errors = 1;
        fake_error(2);
        faults_begin("sd_event_add", 1, 1000, -ENOMEM);
        run_until(b, b->function->recovery == RECOVERY_RECOVERED);
        assert_int_equal(faults_end(), 0);
        assert_int_equal(errors(b), 1);
        assert_int_equal(fake_kernel.n_resets, 2);
}

/* … nor does opening. */
static void test_trying_to_open_again(void **state) {
        Bench *b = *state;

        fake_kernel.open_error = -EBUSY;
        begin(b);
        faults_begin("sd_event_add", 1, 1000, -ENOMEM);
        run_until(b, b->function->facts.error == -EBUSY && b->n_busy == 0);
        assert_int_equal(faults_end(), 0);
        assert_true(is_armed(b));
}

/* What has none of these timers is not there yet. */
static void test_no_timers(void **state) {
        Bench *b = *state;

        for (unsigned n = 1; n <= 2; n++) {
                faults_begin("sd_event_add_time", n, 1, -ENOMEM);
                assert_int_equal(function_new(&b->context, &example, NULL, &b->function), -ENOMEM);
                assert_int_equal(faults_end(), 1);
                assert_null(b->function);
        }
        claim(b);
}

static void test_no_timer_for_a_release(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        claim(b);
        listen_for(b, "it stays released until");
        fail_next("sd_event_add_time");
        function_release(b->function, USEC_PER_SEC, "qemu", &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_int_equal(faults_end(), 1);
        assert_int_equal(said.n, 1);
        run_until(b, b->n_busy == 0);
}

/* More functions than the ring has counters for: its own go with the process, all else works. */
static void test_no_counters(void **state) {
        Bench *b = *state;
        uint64_t lost;

        for (uint32_t fid = 0x100; ring_function(b->context.ring, fid); fid++)
                ;
        claim(b);
        assert_ptr_equal(b->function->counters, &b->function->counters_spare);
        for (unsigned i = 0; i < 6; i++)
                fake_error(2);
        run_until(b, b->function->lost == 2 && b->n_busy == 0);
        assert_int_equal(errors(b), 4);
        assert_int_equal(count(b, RECORD_LOST, &lost), 1);
}

/* Signals with no error behind them: nobody is kept from his turn, and nothing counts as lost. */
static void test_spam(void **state) {
        Bench *b = *state;
        unsigned posts;
        uint64_t lost;

        b->config.function.recovery = RECOVERY_POLICY_NONE;
        claim(b);
        posts = b->n_posts;
        fake_kernel.spam = true;
        fake_error(2);
        run_until(b, b->n_posts >= posts + 50);
        assert_int_equal(errors(b), 1);
        fake_kernel.spam = false;
        fake_error(2);
        run_until(b, errors(b) == 2);
        run_dry(b);
        assert_int_equal(count(b, RECORD_LOST, &lost), 0);
}

static void test_unknown_revision(void **state) {
        Bench *b = *state;

        b->config.function.recovery = RECOVERY_POLICY_NONE;
        listen_for(b, "unknown revision");
        fake_kernel.unknown_revision = true;
        claim(b);
        fake_error(2);
        fake_error(2);
        run_until(b, errors(b) == 2);
        assert_int_equal(said.n, 1);
}

static void test_no_memory(void **state) {
        Handover handover = { 0 };
        Bench *b = *state;
        Ask ask = NEW_ASK();
        Function *f = NULL;

        fail_next("malloc");
        assert_int_equal(function_new(&b->context, &example, NULL, &f), -ENOMEM);
        assert_int_equal(faults_end(), 1);
        assert_null(f);

        observe(b);
        function_release(b->function, 0, "qemu", &ask.request);
        fail_next("realloc");
        assert_int_equal(function_hand_over(b->function, &handover), -ENOMEM);
        assert_int_equal(faults_end(), 1);
        assert_int_equal(handover.n_functions, 0);
        handover_done(&handover);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(test_watch_fails, teardown), /* each run has a bench */
                TEST(test_watch_fails_for_a_while),
                TEST(test_store_is_full),
                TEST(test_trying_a_reset_again),
                TEST(test_trying_to_open_again),
                TEST(test_no_timers),
                TEST(test_no_timer_for_a_release),
                TEST(test_no_counters),
                TEST(test_spam),
                TEST(test_unknown_revision),
                TEST(test_no_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
