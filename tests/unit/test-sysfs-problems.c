/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdio.h>

#include "sysfs-problems.h"

static bool out_of_memory;

void *__real_reallocarray(void *memory, size_t n, size_t size);
void *__wrap_reallocarray(void *memory, size_t n, size_t size);

void *__wrap_reallocarray(void *memory, size_t n, size_t size) {
        return out_of_memory ? NULL : __real_reallocarray(memory, n, size);
}

static bool
add(SysfsProblems *problems, const char *address, const char *attribute, const char *value) {
        SysfsProblem problem = { .attribute = attribute };

        (void) snprintf(problem.value, sizeof(problem.value), "%s", value);
        return sysfs_problems_add(problems, address, &problem);
}

static void test_once(void **state) {
        SysfsProblems problems = { 0 };

        assert_true(add(&problems, "0001:00:00.0", "uid", "x"));
        assert_false(add(&problems, "0001:00:00.0", "uid", "x"));
        assert_true(add(&problems, "0002:00:00.0", "uid", "x"));
        assert_true(add(&problems, "0001:00:00.0", "uid", "y"));
        assert_true(add(&problems, "0001:00:00.0", "pchid", "y"));
        assert_false(add(&problems, "0001:00:00.0", "pchid", "y"));
        assert_false(add(&problems, "0002:00:00.0", "uid", "x"));
        assert_true(add(&problems, "0001:00:00.0", "uid", "x"));
        sysfs_problems_done(&problems);
        sysfs_problems_done(&problems);
}

static void test_bounded(void **state) {
        SysfsProblems problems = { 0 };
        char address[16];

        for (unsigned i = 0; i <= SYSFS_PROBLEMS_MAX; i++) {
                (void) snprintf(address, sizeof(address), "%04x:00:00.0", i);
                assert_true(add(&problems, address, "uid", ""));
        }
        assert_int_equal(problems.n_entries, SYSFS_PROBLEMS_MAX);
        assert_false(add(&problems, address, "uid", ""));
        assert_false(add(&problems, "0001:00:00.0", "uid", ""));
        assert_true(add(&problems, "0000:00:00.0", "uid", ""));
        assert_true(add(&problems, "0001:00:00.0", "uid", ""));
        sysfs_problems_done(&problems);
}

static void test_no_memory(void **state) {
        SysfsProblems problems = { 0 };

        out_of_memory = true;
        assert_true(add(&problems, "0001:00:00.0", "uid", ""));
        assert_true(add(&problems, "0001:00:00.0", "uid", ""));
        out_of_memory = false;
        assert_true(add(&problems, "0001:00:00.0", "uid", ""));
        assert_false(add(&problems, "0001:00:00.0", "uid", ""));
        sysfs_problems_done(&problems);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_once),
                cmocka_unit_test(test_bounded),
                cmocka_unit_test(test_no_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
