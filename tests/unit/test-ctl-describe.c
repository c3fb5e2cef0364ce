/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "describe.h"

static void check_error(const char *json, const char *expected) {
        _cleanup_(json_putp) json_object *error = json_tokener_parse(json);
        char text[DESCRIBE_SIZE];

        assert_non_null(error);
        describe_error(error, text);
        assert_string_equal(text, expected);
}

static void test_errors(void **state) {
        check_error(
                "{'pec': 2, 'name': 'OORANGE', 'severity': 'recoverable', 'failing_address': 305422338}",
                "OORANGE (PEC 0x0002), recoverable: DMA address outside the registered range, at 0x12346002");
        /* DMA to address 0 is a mistake as good as any; of what is no DMA, 0 says nothing. */
        check_error(
                "{'pec': 2, 'name': 'OORANGE', 'severity': 'recoverable', 'failing_address': 0}",
                "OORANGE (PEC 0x0002), recoverable: DMA address outside the registered range, at 0x0");
        check_error("{'pec': 59, 'name': 'PERMERR', 'severity': 'permanent', 'failing_address': 0}",
                    "PERMERR (PEC 0x003b), permanent: permanent error");
        check_error("{'pec': 2, 'name': 'OORANGE', 'severity': 'recoverable'}",
                    "OORANGE (PEC 0x0002), recoverable: DMA address outside the registered range");
        /* A name without a public meaning, a code without a name, and no code. */
        check_error("{'pec': 6, 'name': 'KEYE', 'severity': 'recoverable'}",
                    "KEYE (PEC 0x0006), recoverable");
        check_error("{'pec': 255, 'name': 'UNKNOWN', 'severity': 'recoverable'}",
                    "UNKNOWN (PEC 0x00ff), recoverable");
        check_error("{'pec': 0, 'name': 'UNKNOWN', 'severity': 'unknown'}",
                    "error reported, code unknown");
        check_error(
                "{'pec': 19, 'name': 'AIRERR', 'severity': 'x', 'failing_address': 18446744073709551615}",
                "AIRERR (PEC 0x0013), x: adapter interruption indicator address cannot be mapped, "
                "at 0xffffffffffffffff");
        /* Nothing of it is there, or of another type. */
        check_error("{'name': 7, 'pec': 'x', 'failing_address': 'y'}",
                    "error reported, code unknown");
}

static void test_long_names(void **state) {
        char json[2 * DESCRIBE_SIZE], name[DESCRIBE_SIZE + 1], text[DESCRIBE_SIZE];
        _cleanup_(json_putp) json_object *error = NULL;

        memset(name, 'x', DESCRIBE_SIZE);
        name[DESCRIBE_SIZE] = '\0';
        (void) snprintf(json, sizeof(json), "{'pec': 2, 'name': '%s', 'failing_address': 1}", name);
        error = json_tokener_parse(json);
        describe_error(error, text);
        assert_int_equal(strlen(text), DESCRIBE_SIZE - 1);
}

static void test_function(void **state) {
        _cleanup_(json_putp) json_object *object =
                json_tokener_parse("{'address': '0001:00:00.0', 'fid': 16}");
        char text[DESCRIBE_SIZE];

        describe_function(object, text);
        assert_string_equal(text, "0001:00:00.0 (FID 0x00000010)");
}

static void test_pec(void **state) {
        char text[DESCRIBE_SIZE];

        describe_pec(2, text);
        assert_string_equal(text, "OORANGE");
        describe_pec(0xff, text);
        assert_string_equal(text, "0x00ff");
        describe_pec(0x40, text);
        assert_string_equal(text, "0x0040");
        describe_pec(0, text);
        assert_string_equal(text, "UNKNOWN");
}

static void test_time(void **state) {
        char text[TIME_SIZE];

        (void) setenv("TZ", "UTC", 1);
        tzset();
        describe_time(UINT64_C(1795361411620538), text);
        assert_string_equal(text, "2026-11-22 15:30:11");
        describe_time_msec(UINT64_C(1795361411007538), text);
        assert_string_equal(text, "2026-11-22 15:30:11.007");
        describe_time(0, text);
        assert_string_equal(text, "-");
        describe_time(UINT64_MAX, text); /* some text, whatever the year is */
        assert_true(strlen(text) > 0);
}

static void test_state(void **state) {
        assert_string_equal(describe_state("observed", "busy"),
                            "another process has its device open");
        assert_string_equal(describe_state("claimed", ""),
                            "the daemon holds its device and takes full records");
        assert_null(describe_state("failed", "EIO"));
        assert_string_equal(describe_recovery("recovered"),
                            "recovered: the function was reset and works again");
        assert_string_equal(describe_recovery("of a newer daemon"), "of a newer daemon");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errors),   cmocka_unit_test(test_long_names),
                cmocka_unit_test(test_function), cmocka_unit_test(test_pec),
                cmocka_unit_test(test_time),     cmocka_unit_test(test_state),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
