/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hex.h"
#include "util.h"

static void check(int n, const char *const words[], const char *expected) {
        _cleanup_free_ char *digits = NULL;

        assert_int_equal(hex_collect(n, (char *const *) words, &digits), 0);
        assert_string_equal(digits, expected);
}

static void test_collect(void **state) {
        static const char *const several[] = { "0x0000", "1234 0xABcd", " ", "ef" };
        static const struct {
                const char *text;
                const char *digits;
        } valid[] = {
                { "", "" },
                { " \t\n", "" },
                { "2", "2" },
                { "0x0002", "0002" },
                { "0X3B", "3b" },
                { "0", "0" },
                { "00 0x11\n22\t0x33 ", "00112233" },
        };
        static const char *const invalid[] = { "0x", "x",    "0x0x1", "1,2",
                                               "-1", "1 0x", "12g",   "\xff" };

        for (size_t i = 0; i < ELEMENTSOF(valid); i++)
                check(1, &valid[i].text, valid[i].digits);
        check(4, several, "00001234abcdef");
        check(0, NULL, "");

        for (size_t i = 0; i < ELEMENTSOF(invalid); i++) {
                const char *words[] = { "00", invalid[i] };
                char *digits = NULL;

                if (hex_collect(2, (char *const *) words, &digits) != -EINVAL)
                        fail_msg("'%s' was taken for hexadecimal digits", invalid[i]);
                assert_null(digits);
        }
}

static void test_bytes(void **state) {
        static const uint8_t expected[] = { 0x00, 0x9a, 0xf0, 0xff };
        _cleanup_free_ uint8_t *bytes = NULL;
        uint8_t *none = NULL;
        size_t size = 77;

        assert_int_equal(hex_to_bytes("", &none, &size), -EINVAL);
        assert_int_equal(hex_to_bytes("0", &none, &size), -EINVAL);
        assert_int_equal(hex_to_bytes("012", &none, &size), -EINVAL);
        assert_null(none);
        assert_int_equal(size, 77);

        assert_int_equal(hex_to_bytes("009af0ff", &bytes, &size), 0);
        assert_int_equal(size, sizeof(expected));
        assert_memory_equal(bytes, expected, sizeof(expected));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_collect),
                cmocka_unit_test(test_bytes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
