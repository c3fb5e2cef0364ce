/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "subject.h"
#include "util.h"

static void test_few(void **state) {
        Subject subject;

        subject_begin(&subject, "guest");
        assert_string_equal(subject.fields[0], "ZPCI_HOLDER=guest");
        assert_null(subject.fields[1]);
        assert_string_equal(subject.list, "");

        subject_add(&subject, "0001:00:00.0");
        assert_string_equal(subject.list, "0001:00:00.0");
        subject_add(&subject, "ffffffff:ff:1f.7");
        assert_string_equal(subject.list, "0001:00:00.0, ffffffff:ff:1f.7");
        assert_string_equal(subject.fields[1], "ZPCI_ADDRESS=0001:00:00.0");
        assert_string_equal(subject.fields[2], "ZPCI_ADDRESS=ffffffff:ff:1f.7");
        assert_null(subject.fields[3]);
        assert_int_equal(subject.n_functions, 2);

        subject_begin(&subject, "");
        assert_string_equal(subject.fields[0], "ZPCI_HOLDER=");
        assert_null(subject.fields[1]);
        assert_string_equal(subject.list, "");
        assert_int_equal(subject.n_functions, 0);
}

static void test_many(void **state) {
        enum {
                N_MAX = 1024
        };
        char holder[HOLDER_SIZE], field[256];
        Subject subject;
        size_t n;

        memset(holder, 'x', sizeof(holder) - 1);
        holder[sizeof(holder) - 1] = '\0';
        subject_begin(&subject, holder);
        for (size_t i = 0; i < N_MAX; i++)
                subject_add(&subject, i % 2 == 0 ? "0001:00:00.0" : "ffffffff:ff:1f.7");

        assert_int_equal(subject.n_functions, N_MAX);
        assert_null(subject.fields[SUBJECT_FIELDS_MAX]);
        assert_string_equal(subject.fields[SUBJECT_FIELDS_MAX - 1], "ZPCI_ADDRESS=0001:00:00.0");
        (void) snprintf(field, sizeof(field), "ZPCI_HOLDER=%s", holder);
        assert_string_equal(subject.fields[0], field);

        n = strlen(subject.list);
        assert_true(n < SUBJECT_LIST_SIZE && n > SUBJECT_LIST_SIZE - 32);
        assert_string_equal(subject.list + n - strlen(", …"), ", …");
        assert_ptr_equal(strstr(subject.list, "…"), subject.list + n - strlen("…"));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_few),
                cmocka_unit_test(test_many),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
