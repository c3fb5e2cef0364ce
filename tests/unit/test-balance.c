/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "balance.h"
#include "util.h"

/*
 * The kernel and the drain, as zPCI and VFIO have them: a queue of four, an eventfd, and a drain
 * that the kernel may interrupt anywhere. It knows what was really dropped.
 */
typedef struct Model {
        uint64_t random;
        /* the kernel */
        unsigned queued;
        uint64_t eventfd;
        bool signal_due; /* queued or dropped, not yet signalled: one event at a time */
        uint64_t dropped, loopbacks;
        /* the drain */
        RingFunction counters;
        bool seen_empty; /* the queue, and nothing was read since */
        bool first;
        unsigned burst; /* records since the last settlement */
        bool ever_many; /* as many as fill the queue */
        uint64_t announced;
} Model;

static unsigned model_random(Model *m, unsigned n) {
        /* xorshift64, the same on every machine */
        m->random ^= m->random << 13;
        m->random ^= m->random >> 7;
        m->random ^= m->random << 17;
        return (unsigned) (m->random >> 32) % n;
}

static Model model_new(uint64_t seed) {
        return (Model){
                .random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
                .first = true,
        };
}

/* One half of an event of the kernel: the record, or the signal that follows it. */
static void model_error_step(Model *m) {
        if (m->signal_due) {
                m->eventfd++;
                m->signal_due = false;
                return;
        }

        if (m->queued < BALANCE_QUEUE_LENGTH)
                m->queued++;
        else
                m->dropped++;
        m->signal_due = true;
}

static void model_loopback(Model *m) {
        m->eventfd++;
        m->loopbacks++;
}

/* One system call of the drain. Returns whether it settled the account. */
static bool model_drain_step(Model *m) {
        if (!m->seen_empty) {
                if (m->queued > 0) {
                        m->queued--;
                        balance_drained(&m->counters);
                        m->ever_many |= ++m->burst >= BALANCE_QUEUE_LENGTH;
                } else
                        m->seen_empty = true;
                return false;
        }

        m->seen_empty = false;
        if (m->eventfd > 0) {
                m->counters.wakeup = TAKE(m->eventfd, 0);
                balance_signalled(&m->counters);
                return false;
        }

        uint64_t lost = balance_lost(&m->counters);
        assert_int_equal(balance_settle(&m->counters, TAKE(m->first, false)), lost);
        m->announced += lost;
        m->burst = 0;
        return true;
}

/* Until everything that happened is in the account, and once more. */
static void model_finish(Model *m) {
        if (m->signal_due)
                model_error_step(m);
        while (!model_drain_step(m))
                ;
        while (!model_drain_step(m))
                ;
}

/* Errors in bursts, the drain at its own pace, both interleaved step by step. */
static void model_run(Model *m, unsigned steps, unsigned loopback_percent) {
        for (unsigned i = 0; i < steps;) {
                unsigned eagerness = model_random(m, 4), length = 1 + model_random(m, 40);

                for (unsigned j = 0; j < length; j++, i++) {
                        if (model_random(m, 100) < loopback_percent)
                                model_loopback(m);
                        else if (model_random(m, 4) < eagerness)
                                model_error_step(m);
                        else
                                (void) model_drain_step(m);
                        assert_true(m->announced <= m->dropped + m->loopbacks + 1);
                }
        }
}

static void test_plain(void **state) {
        RingFunction c = {};

        assert_int_equal(balance_settle(&c, true), 0);
        c.wakeup = 1;
        balance_signalled(&c);
        balance_drained(&c);
        assert_int_equal(balance_settle(&c, false), 0);
        assert_int_equal(balance_settle(&c, false), 0);
}

/* Measured on Linux 7.3: seven errors undrained are seven signals and four records. */
static void test_overflow(void **state) {
        RingFunction c = {};

        assert_int_equal(balance_settle(&c, true), 0);
        c.wakeup = 7;
        balance_signalled(&c);
        for (unsigned i = 0; i < 4; i++)
                balance_drained(&c);
        assert_int_equal(balance_lost(&c), 3);
        assert_int_equal(balance_lost(&c), 3);
        assert_int_equal(balance_settle(&c, false), 3);
        assert_int_equal(balance_lost(&c), 0);
        assert_int_equal(balance_settle(&c, false), 0);
}

/* Two of four were drained, then the queue could not be: the rest is what is lost. */
static void test_rest(void **state) {
        RingFunction c = {};

        assert_int_equal(balance_settle(&c, true), 0);
        c.wakeup = 5;
        balance_signalled(&c);
        balance_drained(&c);
        balance_drained(&c);
        assert_int_equal(balance_lost(&c), 0);
        assert_int_equal(balance_rest(&c), 3);
        (void) balance_settle(&c, false);
        assert_int_equal(balance_rest(&c), 0);

        /* A record without a signal is no loss. */
        balance_drained(&c);
        assert_int_equal(balance_rest(&c), 0);
}

static void test_loopback(void **state) {
        RingFunction c = {};

        assert_int_equal(balance_settle(&c, true), 0);
        c.wakeup = 5;
        balance_signalled(&c);
        assert_int_equal(balance_settle(&c, false), 0);

        /* It is forgotten: the next overflow is counted right. */
        c.wakeup = 6;
        balance_signalled(&c);
        for (unsigned i = 0; i < 4; i++)
                balance_drained(&c);
        assert_int_equal(balance_settle(&c, false), 2);
}

static void test_queued_before_the_eventfd(void **state) {
        RingFunction c = {};

        for (unsigned i = 0; i < 4; i++)
                balance_drained(&c);
        assert_int_equal(balance_settle(&c, true), 0);

        c.wakeup = 5;
        balance_signalled(&c);
        for (unsigned i = 0; i < 4; i++)
                balance_drained(&c);
        assert_int_equal(balance_settle(&c, false), 1);
}

/* The record was there before its signal: the signal is no surplus when it comes. */
static void test_signal_after_record(void **state) {
        RingFunction c = {};

        assert_int_equal(balance_settle(&c, true), 0);
        balance_drained(&c);
        assert_int_equal(balance_settle(&c, false), 0);
        assert_int_equal(balance_settle(&c, false), 0);

        c.wakeup = 1 + 4;
        balance_signalled(&c);
        for (unsigned i = 0; i < 4; i++)
                balance_drained(&c);
        assert_int_equal(balance_settle(&c, false), 0);
}

/* The fifth was dropped, and its signal comes when all the others are settled. */
static void test_late_signal_of_a_drop(void **state) {
        RingFunction c = {};

        assert_int_equal(balance_settle(&c, true), 0);
        c.wakeup = 4;
        balance_signalled(&c);
        for (unsigned i = 0; i < 4; i++)
                balance_drained(&c);
        assert_int_equal(balance_settle(&c, false), 0);
        assert_int_equal(balance_settle(&c, false), 0); /* an idle settlement forgets nothing */

        c.wakeup = 1;
        balance_signalled(&c);
        assert_int_equal(balance_settle(&c, false), 1);

        c.wakeup = 1; /* no more than one can have been late */
        balance_signalled(&c);
        assert_int_equal(balance_settle(&c, false), 0);
}

static void test_exact(void **state) {
        uint64_t dropped = 0;

        for (uint64_t seed = 1; seed <= 2000; seed++) {
                Model m = model_new(seed);

                /* The device was opened in peace. */
                assert_false(model_drain_step(&m));
                assert_true(model_drain_step(&m));

                for (unsigned i = 0; i < 3; i++) {
                        model_run(&m, 200, 0);
                        assert_true(m.announced <= m.dropped);
                        model_finish(&m);
                        if (m.announced != m.dropped)
                                fail_msg("seed %ju: %ju dropped, %ju announced",
                                         (uintmax_t) seed,
                                         (uintmax_t) m.dropped,
                                         (uintmax_t) m.announced);
                }
                dropped += m.dropped;
        }

        assert_true(dropped > 10000); /* or it proves nothing */
}

static void test_loopback_bounds(void **state) {
        unsigned quiet = 0, overflows = 0;

        for (uint64_t seed = 1; seed <= 2000; seed++) {
                Model m = model_new(seed);

                assert_false(model_drain_step(&m));
                assert_true(model_drain_step(&m));
                model_run(&m, seed % 2 ? 400 : 20, 10);
                model_finish(&m);

                assert_true(m.announced >= m.dropped);
                assert_true(m.announced <= m.dropped + m.loopbacks);
                if (!m.ever_many)
                        assert_int_equal(m.announced, 0);
                quiet += !m.ever_many && m.loopbacks > 0;
                overflows += m.dropped > 0;
        }

        assert_true(quiet > 100 && overflows > 100);
}

/* Records, and losses, from before the eventfd was there. */
static void test_opening_bounds(void **state) {
        unsigned overflows = 0;

        for (uint64_t seed = 1; seed <= 2000; seed++) {
                Model m = model_new(seed);
                unsigned before = model_random(&m, BALANCE_QUEUE_LENGTH + 1);

                m.queued = before;
                model_run(&m, 300, 0);
                model_finish(&m);

                assert_true(m.announced + before >= m.dropped);
                assert_true(m.announced <= m.dropped + 1);
                if (!m.ever_many)
                        assert_int_equal(m.announced, 0);
                overflows += m.dropped > 0;
        }

        assert_true(overflows > 100);
}

/* The sums may wrap: only differences count. */
static void test_wrap(void **state) {
        RingFunction c = {
                .signalled = UINT64_MAX - 2,
                .signalled_next = UINT64_MAX - 2,
                .drained = UINT64_MAX - 2,
                .settled = UINT64_MAX - 2,
        };

        c.wakeup = 7;
        balance_signalled(&c);
        for (unsigned i = 0; i < 4; i++)
                balance_drained(&c);
        assert_int_equal(balance_settle(&c, false), 3);
        assert_int_equal(balance_settle(&c, false), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_plain),
                cmocka_unit_test(test_overflow),
                cmocka_unit_test(test_rest),
                cmocka_unit_test(test_loopback),
                cmocka_unit_test(test_queued_before_the_eventfd),
                cmocka_unit_test(test_signal_after_record),
                cmocka_unit_test(test_late_signal_of_a_drop),
                cmocka_unit_test(test_exact),
                cmocka_unit_test(test_loopback_bounds),
                cmocka_unit_test(test_opening_bounds),
                cmocka_unit_test(test_wrap),
        };

        return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
