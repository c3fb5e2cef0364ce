/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kmsg.h"

#define ERROR_TEXT   "zpci: 0001:00:00.0: Event 0x2 reports an error for PCI function 0x10"
#define NUMBERS      "3,1234,5678901,"
#define ERROR_PREFIX NUMBERS "-;"
#define ZEROS        "00000000000000000000000000000000000000000000000000"
#define ERROR_LINE   ERROR_PREFIX ERROR_TEXT "\n"

/* The line in memory of its own, so that a sanitizer sees what is read behind it. */
static int parse(const char *line, size_t size, KmsgError *ret, uint64_t *ret_sequence) {
        _cleanup_free_ char *copy = malloc(size + (size == 0));

        assert_non_null(copy);
        memcpy(copy, line, size);
        return kmsg_parse(copy, size, ret, ret_sequence);
}

static void check_error(const char *line, const char *address, uint16_t pec, uint32_t fid) {
        uint64_t sequence = 0;
        KmsgError error;

        if (parse(line, strlen(line), &error, &sequence) != 1)
                fail_msg("not taken for an error: %s", line);
        assert_string_equal(error.address, address);
        assert_int_equal(error.pec, pec);
        assert_int_equal(error.fid, fid);
        assert_true(error.sequence == 1234);
        assert_true(sequence == 1234);
        assert_true(error.monotonic_usec == 5678901);
}

static void check_other(const char *line, int expected) {
        uint64_t sequence = 77;
        KmsgError error, untouched;
        int r;

        memset(&untouched, 0x5a, sizeof(untouched));
        error = untouched;
        r = parse(line, strlen(line), &error, &sequence);
        if (r != expected)
                fail_msg("%d instead of %d: %s", r, expected, line);
        assert_memory_equal(&error, &untouched, sizeof(error));
        assert_true(sequence == (expected == 0 ? 1234 : 77));
}

static void test_errors(void **state) {
        check_error(ERROR_LINE, "0001:00:00.0", 0x2, 0x10);
        check_error(NUMBERS "-,caller=T27;" ERROR_TEXT "\n", "0001:00:00.0", 0x2, 0x10);
        check_error(ERROR_LINE " SUBSYSTEM=pci\n DEVICE=+pci:0001:00:00.0\n",
                    "0001:00:00.0",
                    0x2,
                    0x10);
        check_error(
                ERROR_PREFIX
                "zpci: ffff0:00:1f.7: Event 0xffff reports an error for PCI function 0xffffffff\n",
                "ffff0:00:1f.7",
                UINT16_MAX,
                UINT32_MAX);
        check_error(ERROR_PREFIX
                    "zpci: 0000:00:00.0: Event 0x0 reports an error for PCI function 0x0\n",
                    "0000:00:00.0",
                    0,
                    0);
}

/* Well-formed, but not the kernel's, or not the message of an error. */
static void test_look_alikes(void **state) {
        static const char *const lines[] = {
                /* written by user space: facility 1, or whatever it claims to be */
                "11,1234,5678901,-;" ERROR_TEXT "\n",
                "8,1234,5678901,-;" ERROR_TEXT "\n",
                "30,1234,5678901,-;" ERROR_TEXT "\n",
                "2047,1234,5678901,-;" ERROR_TEXT "\n",
                "12,1234,5678901,-;<3>" ERROR_TEXT "\n",
                /* said by the kernel on behalf of somebody */
                ERROR_PREFIX "audit: " ERROR_TEXT "\n",
                ERROR_PREFIX " " ERROR_TEXT "\n",
                ERROR_PREFIX ERROR_TEXT " \n",
                ERROR_PREFIX ERROR_TEXT ".\n",
                ERROR_PREFIX ERROR_TEXT "\\x0a\n",
                ERROR_PREFIX "x\\x0a" NUMBERS "-;" ERROR_TEXT "\n",
                ERROR_PREFIX "x;" ERROR_TEXT "\n",
                ERROR_PREFIX "x\n" ERROR_TEXT "\n",
                ERROR_PREFIX "x\n " ERROR_TEXT "\n",
                ERROR_PREFIX "\n",
                /* other messages of the same code */
                ERROR_PREFIX "zpci: n/a: Event 0x2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX "zpci: 0001:00:00.0: Event 0x302 reconfigured PCI function 0x10\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Leaving recovery of pass-through device to user-space\n",
                /* bad values */
                ERROR_PREFIX
                "zpci: 0001:00:00.8: Event 0x2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0 Event 0x2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX "zpci: " ZEROS ZEROS
                             "1:00:00.0: Event 0x2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX "zpci: : Event 0x2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX "zpci:  Event 0x2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX "zpci: 0001:00:00.0:\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Event 0x10000 reports an error for PCI function 0x10\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Event 0x reports an error for PCI function 0x10\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Event 0x0x2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Event 0xA reports an error for PCI function 0x10\n",
                ERROR_PREFIX "zpci: 0001:00:00.0: Event 2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Event 0x-2 reports an error for PCI function 0x10\n",
                ERROR_PREFIX "zpci: 0001:00:00.0: Event 0x2 reports an error for PCI function 0x\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Event 0x2 reports an error for PCI function 0x100000000\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Event 0x2 reports an error for PCI function 0x10000000000000010\n",
                ERROR_PREFIX
                "zpci: 0001:00:00.0: Event 0x2 reports an error for PCI function 0x0000000000000000000000010\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                check_other(lines[i], 0);
}

static void test_malformed(void **state) {
        static const char *const lines[] = {
                "",
                "\n",
                ";\n",
                ";" ERROR_TEXT "\n",
                ERROR_TEXT "\n",
                ERROR_PREFIX ERROR_TEXT, /* no line feed: something is missing */
                "3,1234,5678901;" ERROR_TEXT "\n",
                "3,1234,5678901,-" ERROR_TEXT "\n",
                "3,1234,;" ERROR_TEXT "\n",
                ",1234,5678901,-;" ERROR_TEXT "\n",
                "3,,5678901,-;" ERROR_TEXT "\n",
                "3,1234,,-;" ERROR_TEXT "\n",
                "-3,1234,5678901,-;" ERROR_TEXT "\n",
                "0x3,1234,5678901,-;" ERROR_TEXT "\n",
                "2048,1234,5678901,-;" ERROR_TEXT "\n",
                "18446744073709551616,1234,5678901,-;" ERROR_TEXT "\n",
                "3,18446744073709551616,5678901,-;" ERROR_TEXT "\n",
                "3,1234,18446744073709551616,-;" ERROR_TEXT "\n",
                "3,1234,000000000000000000000000000001,-;" ERROR_TEXT "\n",
                " 3,1234,5678901,-;" ERROR_TEXT "\n",
                "3;1234,5678901,-;" ERROR_TEXT "\n",
                "3,1234,5678901,-\n;" ERROR_TEXT "\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                check_other(lines[i], -EBADMSG);
}

/* Nothing that is cut off anywhere is an error. */
static void test_cut(void **state) {
        static const char line[] = ERROR_LINE;

        for (size_t size = 0; size < sizeof(line) - 1; size++) {
                uint64_t sequence;
                KmsgError error;

                assert_int_equal(parse(line, size, &error, &sequence), -EBADMSG);
        }
}

/* Whatever one byte is replaced by: what is taken for an error says what the text says. */
static void test_one_byte(void **state) {
        static const char original[] = ERROR_LINE;
        size_t text = strlen(ERROR_PREFIX);
        unsigned errors = 0;

        for (size_t i = 0; i < sizeof(original) - 1; i++)
                for (unsigned byte = 0; byte <= UINT8_MAX; byte++) {
                        char line[sizeof(original)], expected[2 * sizeof(original)];
                        uint64_t sequence;
                        KmsgError error;
                        int digits;

                        memcpy(line, original, sizeof(line));
                        line[i] = (char) byte;
                        if (parse(line, sizeof(line) - 1, &error, &sequence) != 1)
                                continue;

                        errors++;
                        *strchr(line + text, '\n') = '\0';
                        digits = (int) strlen(strrchr(line + text, 'x') + 1);
                        snprintf(expected,
                                 sizeof(expected),
                                 "zpci: %s: Event 0x%x reports an error for PCI function 0x%0*x",
                                 error.address,
                                 error.pec,
                                 digits,
                                 error.fid);
                        assert_string_equal(line + text, expected);
                        assert_in_range(line[0], '0', '7');
                }

        assert_true(errors > 100);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errors),    cmocka_unit_test(test_look_alikes),
                cmocka_unit_test(test_malformed), cmocka_unit_test(test_cut),
                cmocka_unit_test(test_one_byte),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
