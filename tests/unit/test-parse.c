/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "parse.h"
#include "util.h"

#define UNTOUCHED UINT64_C(0x5555555555555555)

static void test_address(void **state) {
        static const char *const valid[] = {
                "0000:00:00.0", "0001:00:00.0", "ffff:ff:1f.7", "10000:e0:1d.4", "ffffffff:ff:1f.7",
        };
        static const char *const invalid[] = {
                "",
                "0",
                "0001",
                "0001:",
                "0001:00",
                "0001:00:",
                "0001:00:00",
                "0001:00:00.",
                "001:00:00.0",
                "000000001:00:00.0",
                "0001:0:00.0",
                "0001:000:00.0",
                "0001:00:0.0",
                "0001:00:000.0",
                "0001:00:20.0", /* a bus has 32 devices */
                "0001:00:00.8", /* a device has 8 functions */
                "0001:00:00.a",
                "0001:00:00.00",
                "0001:00:00.0 ",
                " 0001:00:00.0",
                "0001:00:00.0\n",
                "0001.00.00.0",
                "0001:00:00:0",
                "000A:00:00.0",
                "0x01:00:00.0",
                "000g:00:00.0",
                "+001:00:00.0",
                "n/a",
        };

        for (size_t i = 0; i < ELEMENTSOF(valid); i++) {
                assert_true(pci_address_valid(valid[i]));
                assert_true(strlen(valid[i]) < PCI_ADDRESS_SIZE);
        }
        for (size_t i = 0; i < ELEMENTSOF(invalid); i++)
                if (pci_address_valid(invalid[i]))
                        fail_msg("\"%s\" was taken for an address", invalid[i]);
        assert_false(pci_address_valid(NULL));
}

/* Every prefix of an address in memory of its own, so that a sanitizer sees what is read behind it. */
static void test_address_bounds(void **state) {
        static const char address[] = "ffffffff:ff:1f.7";

        for (size_t size = 0; size < sizeof(address); size++) {
                _cleanup_free_ char *copy = strndup(address, size);

                assert_non_null(copy);
                assert_int_equal(pci_address_valid(copy), size == sizeof(address) - 1);
        }
}

typedef int (*Parser)(const char *text, uint64_t max, uint64_t *ret);

static void check_value(Parser parse, const char *text, uint64_t max, uint64_t expected) {
        uint64_t value = UNTOUCHED;

        assert_int_equal(parse(text, max, &value), 0);
        assert_true(value == expected);
}

static void check_error(Parser parse, const char *text, uint64_t max, int expected) {
        uint64_t value = UNTOUCHED;
        int r;

        r = parse(text, max, &value);
        if (r != expected)
                fail_msg("\"%s\": %d instead of %d", text ?: "(null)", r, expected);
        assert_true(value == UNTOUCHED);
}

static void test_hex(void **state) {
        static const char *const invalid[] = {
                "",
                "0x",
                "x1",
                "0X10",
                "1 ",
                " 1",
                "-1",
                "+1",
                "1\n",
                "0x0x1",
                "g",
                "10h",
                "11111111111111111111111111111111g",
        };

        check_value(parse_hex, "0", 0, 0);
        check_value(parse_hex, "10", UINT32_MAX, 0x10);
        check_value(parse_hex, "0x10", UINT32_MAX, 0x10);
        check_value(parse_hex, "0x00000010", UINT32_MAX, 0x10);
        check_value(parse_hex, "AbCdEf", UINT32_MAX, 0xabcdef);
        check_value(parse_hex, "ffffffff", UINT32_MAX, UINT32_MAX);
        check_value(parse_hex, "0xffffffffffffffff", UINT64_MAX, UINT64_MAX);
        check_value(parse_hex, "00000000000000000000000000000001", UINT64_MAX, 1);

        check_error(parse_hex, "100000000", UINT32_MAX, -ERANGE);
        check_error(parse_hex, "10000", UINT16_MAX, -ERANGE);
        check_error(parse_hex, "10000000000000000", UINT64_MAX, -ERANGE);
        /* 2^64 + 1 would wrap to 1 */
        check_error(parse_hex, "10000000000000001", UINT64_MAX, -ERANGE);
        check_error(parse_hex, NULL, UINT64_MAX, -EINVAL);
        for (size_t i = 0; i < ELEMENTSOF(invalid); i++)
                check_error(parse_hex, invalid[i], UINT64_MAX, -EINVAL);
}

static void test_decimal(void **state) {
        static const char *const invalid[] = {
                "", "0x1", "a", "1a", " 1", "1 ", "-1", "+1", "1.5", "1\n",
        };

        check_value(parse_decimal, "0", 0, 0);
        check_value(parse_decimal, "4096", UINT32_MAX, 4096);
        check_value(parse_decimal, "0010", UINT32_MAX, 10);
        check_value(parse_decimal, "18446744073709551615", UINT64_MAX, UINT64_MAX);

        check_error(parse_decimal, "4097", 4096, -ERANGE);
        check_error(parse_decimal, "18446744073709551616", UINT64_MAX, -ERANGE);
        check_error(parse_decimal, "36893488147419103232", UINT64_MAX, -ERANGE);
        check_error(parse_decimal, NULL, UINT64_MAX, -EINVAL);
        for (size_t i = 0; i < ELEMENTSOF(invalid); i++)
                check_error(parse_decimal, invalid[i], UINT64_MAX, -EINVAL);
}

static int parse_span_as_number(const char *text, uint64_t max, uint64_t *ret) {
        return parse_span(text, ret);
}

static void test_span(void **state) {
        static const char *const invalid[] = {
                "",   "s",   "ms",  "5m", "5 s", "5S",  "5sec",
                "-5", "5.5", "5s ", " 5", "5ss", "0x5", "infinity",
        };
        static const struct {
                const char *text;
                uint64_t usec;
        } valid[] = {
                { "0", 0 },
                { "5", UINT64_C(5000000) },
                { "5s", UINT64_C(5000000) },
                { "5us", UINT64_C(5) },
                { "5ms", UINT64_C(5000) },
                { "5min", UINT64_C(300000000) },
                { "5h", UINT64_C(18000000000) },
                { "5d", UINT64_C(432000000000) },
                { "18446744073709551615us", UINT64_MAX },
        };

        for (size_t i = 0; i < ELEMENTSOF(valid); i++)
                check_value(parse_span_as_number, valid[i].text, 0, valid[i].usec);

        check_error(parse_span_as_number, "18446744073709551616us", 0, -ERANGE);
        check_error(parse_span_as_number, "18446744073710", 0, -ERANGE);
        check_error(parse_span_as_number, "213503983d", 0, -ERANGE);
        check_error(parse_span_as_number, NULL, 0, -EINVAL);
        for (size_t i = 0; i < ELEMENTSOF(invalid); i++)
                check_error(parse_span_as_number, invalid[i], 0, -EINVAL);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_address), cmocka_unit_test(test_address_bounds),
                cmocka_unit_test(test_hex),     cmocka_unit_test(test_decimal),
                cmocka_unit_test(test_span),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
