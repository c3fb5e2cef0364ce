/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pec.h"
#include "util.h"

typedef struct Expectation {
        uint16_t code;
        const char *name;
        bool meaning; /* whether a public text has one */
        PecSeverity severity;
} Expectation;

static const Expectation expectations[] = {
        { 0x0000, "UNKNOWN", false, PEC_UNKNOWN },
        { 0x0001, "INVALAS", true, PEC_RECOVERABLE },
        { 0x0002, "OORANGE", true, PEC_RECOVERABLE },
        { 0x0003, "INVALTF", true, PEC_RECOVERABLE },
        { 0x0004, "TPROTE", true, PEC_RECOVERABLE },
        { 0x0005, "APROTE", true, PEC_RECOVERABLE },
        { 0x0006, "KEYE", false, PEC_RECOVERABLE },
        { 0x0007, "INVALTE", true, PEC_RECOVERABLE },
        { 0x0008, "INVALTL", true, PEC_RECOVERABLE },
        { 0x0009, "TT", true, PEC_RECOVERABLE },
        { 0x000a, "INVALMS", false, PEC_RECOVERABLE },
        { 0x000b, "SERR", false, PEC_RECOVERABLE },
        { 0x0010, "NOMSI", false, PEC_RECOVERABLE },
        { 0x0011, "INVALBV", false, PEC_RECOVERABLE },
        { 0x0012, "AIBV", false, PEC_RECOVERABLE },
        { 0x0013, "AIRERR", true, PEC_RECOVERABLE },
        { 0x002a, "FMBA", true, PEC_INFORMATIONAL },
        { 0x002b, "FMBUP", true, PEC_INFORMATIONAL },
        { 0x002c, "FMBPRO", true, PEC_INFORMATIONAL },
        { 0x0030, "CCONF", false, PEC_RECOVERABLE },
        { 0x003a, "SERVAC", true, PEC_RECOVERABLE },
        { 0x003b, "PERMERR", true, PEC_PERMANENT },
        { 0x0040, "UNKNOWN", true, PEC_PERMANENT },
};

static const Expectation *expect(uint16_t code) {
        for (size_t i = 0; i < ELEMENTSOF(expectations); i++)
                if (expectations[i].code == code)
                        return &expectations[i];

        return NULL;
}

/* Every code there can be: the listed ones as listed, all others unknown, and recoverable as Linux treats them. */
static void test_every_code(void **state) {
        for (unsigned code = 0; code <= UINT16_MAX; code++) {
                static const Expectation unlisted = { 0, "UNKNOWN", false, PEC_RECOVERABLE };
                const Expectation *expected = expect((uint16_t) code) ?: &unlisted;
                Pec pec = pec_describe((uint16_t) code);

                assert_int_equal(pec.code, code);
                assert_string_equal(pec.name, expected->name);
                assert_int_equal(pec.meaning != NULL, expected->meaning);
                assert_int_equal(pec.severity, expected->severity);
                assert_non_null(pec_severity_to_string(pec.severity));
        }
}

static void test_meanings(void **state) {
        assert_string_equal(pec_describe(0x0002).meaning,
                            "DMA address outside the registered range");
        assert_string_equal(pec_describe(0x0040).meaning,
                            "service action or error recovery failed");

        /* A meaning goes into the middle of a message. */
        for (size_t i = 0; i < ELEMENTSOF(expectations); i++) {
                const char *meaning = pec_describe(expectations[i].code).meaning;

                if (meaning)
                        assert_null(strpbrk(meaning, ".:\n"));
        }
}

static void test_severities(void **state) {
        assert_string_equal(pec_severity_to_string(PEC_RECOVERABLE), "recoverable");
        assert_string_equal(pec_severity_to_string(PEC_PERMANENT), "permanent");
        assert_string_equal(pec_severity_to_string(PEC_INFORMATIONAL), "informational");
        assert_string_equal(pec_severity_to_string(PEC_UNKNOWN), "unknown");
        assert_null(pec_severity_to_string(_PEC_SEVERITY_MAX));
        assert_null(pec_severity_to_string((PecSeverity) -1));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_code),
                cmocka_unit_test(test_meanings),
                cmocka_unit_test(test_severities),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
