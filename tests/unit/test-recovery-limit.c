/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recovery-limit.h"
#include "util.h"

static const RecoveryLimit three_in_ten = { .count = 3, .interval_usec = 10 };

static void test_window(void **state) {
        RecoveryHistory history = { 0 };

        assert_true(recovery_history_add(&history, &three_in_ten, 100));
        assert_true(recovery_history_add(&history, &three_in_ten, 100));
        assert_true(recovery_history_add(&history, &three_in_ten, 105));
        assert_false(recovery_history_add(&history, &three_in_ten, 105));
        assert_false(recovery_history_add(&history, &three_in_ten, 109));

        /* What was refused does not count. The two at 100 leave at 110, the one at 105 at 115. */
        assert_true(recovery_history_add(&history, &three_in_ten, 110));
        assert_true(recovery_history_add(&history, &three_in_ten, 110));
        assert_false(recovery_history_add(&history, &three_in_ten, 114));
        assert_true(recovery_history_add(&history, &three_in_ten, 115));
        assert_false(recovery_history_add(&history, &three_in_ten, 119));
}

/* The clock is at zero when the machine starts, and a history of nothing is no recovery then. */
static void test_begin(void **state) {
        RecoveryHistory history = { 0 };
        RecoveryLimit once = { .count = 1, .interval_usec = UINT64_MAX };

        assert_true(recovery_history_add(&history, &once, 0));
        assert_false(recovery_history_add(&history, &once, 0));
        assert_false(recovery_history_add(&history, &once, UINT64_MAX - 1));
        assert_true(recovery_history_add(&history, &once, UINT64_MAX));
}

static void test_limit_changes(void **state) {
        RecoveryHistory history = { 0 };
        RecoveryLimit limit = { 0 };

        /* Without a limit they are remembered all the same. */
        for (uint64_t now = 0; now < 1000; now++)
                assert_true(recovery_history_add(&history, &limit, now));

        limit = (RecoveryLimit){ .count = RECOVERY_LIMIT_MAX, .interval_usec = RECOVERY_LIMIT_MAX };
        assert_false(recovery_history_add(&history, &limit, 999));
        assert_true(recovery_history_add(&history, &limit, 1000));
        assert_false(recovery_history_add(&history, &limit, 1000));

        limit = (RecoveryLimit){ .count = 2, .interval_usec = 3 };
        assert_false(recovery_history_add(&history, &limit, 1001)); /* 1000 and 999 */
        assert_true(recovery_history_add(&history, &limit, 1002));
        limit.count = 1;
        limit.interval_usec = 1;
        assert_false(recovery_history_add(&history, &limit, 1002));
        assert_true(recovery_history_add(&history, &limit, 1003));
}

/* Against a model that looks at all that ever was. */
static void test_model(void **state) {
        uint64_t times[2000], now = 0;
        uint32_t random = 7;

        for (uint32_t count = 1; count <= RECOVERY_LIMIT_MAX; count += 21) {
                RecoveryLimit limit = { .count = count, .interval_usec = 5 * count };
                RecoveryHistory history = { 0 };
                size_t n = 0;

                for (unsigned i = 0; i < ELEMENTSOF(times); i++) {
                        uint32_t within = 0;

                        random = random * 1664525U + 1013904223U;
                        now += (random >> 16) % 9;
                        for (size_t j = 0; j < n; j++)
                                if (times[j] + limit.interval_usec > now)
                                        within++;

                        assert_true(within <= count);
                        assert_int_equal(recovery_history_add(&history, &limit, now),
                                         within < count);
                        if (within < count)
                                times[n++] = now;
                }
                assert_in_range(n, 2 * count, ELEMENTSOF(times) - 1); /* it was both often enough */
        }
}

static void test_parse(void **state) {
        static const struct {
                const char *text;
                int result;
                uint32_t count;
                uint64_t interval_usec;
        } cases[] = {
                { "5/10min", 0, 5, 600 * USEC_PER_SEC },
                { "1/1us", 0, 1, 1 },
                { "64/1d", 0, 64, UINT64_C(86400) * USEC_PER_SEC },
                { "3/90", 0, 3, 90 * USEC_PER_SEC },
                { "off", 0, 0, 0 },
                { "65/1h", -ERANGE },
                { "0/1h", -ERANGE },
                { "1/0", -ERANGE },
                { "1/25h", -ERANGE },
                { "1/99999999999999999999d", -ERANGE },
                { "99999999999999/1h", -ERANGE },
                { "99999999999999999999999/1h", -EINVAL },
                { "", -EINVAL },
                { "/", -EINVAL },
                { "5", -EINVAL },
                { "5/", -EINVAL },
                { "/10min", -EINVAL },
                { "5/10/10", -EINVAL },
                { "5 / 10min", -EINVAL },
                { "-5/10min", -EINVAL },
                { "5/-10min", -EINVAL },
                { "5/1week", -EINVAL },
                { "0x5/1h", -EINVAL },
                { "Off", -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                RecoveryLimit limit = { .count = 42, .interval_usec = 43 };

                assert_int_equal(recovery_limit_parse(cases[i].text, &limit), cases[i].result);
                assert_int_equal(limit.count, cases[i].result < 0 ? 42 : cases[i].count);
                assert_int_equal(limit.interval_usec,
                                 cases[i].result < 0 ? 43 : cases[i].interval_usec);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_window),        cmocka_unit_test(test_begin),
                cmocka_unit_test(test_limit_changes), cmocka_unit_test(test_model),
                cmocka_unit_test(test_parse),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
