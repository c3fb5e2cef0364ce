/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "holder.h"
#include "util.h"

#define X32 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X96 X32 X32 X32

static void assert_holder(const char *guest, const char *expected) {
        char holder[HOLDER_SIZE];

        memset(holder, 0x55, sizeof(holder));
        holder_from_guest(guest, holder);
        assert_string_equal(holder, expected);
}

static void test_names(void **state) {
        assert_holder("", "");
        assert_holder("guest", "guest");
        assert_holder("a b/c\"d'", "a b/c\"d'");
        assert_holder("büro-gäste", "büro-gäste");
        assert_holder("\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd"); /* U+10FFFD */
        assert_holder("\xed\x9f\xbf\xee\x80\x80",
                      "\xed\x9f\xbf\xee\x80\x80"); /* around the surrogates */
}

static void test_control_characters(void **state) {
        assert_holder("a\nb\tc\x1b[31md\x7f", "a?b?c?[31md?");
        assert_holder("a\xc2\x85z", "a?z"); /* C1, next line */
        assert_holder("a\xc2\x9b"
                      "31mz",
                      "a?31mz"); /* C1, what begins a sequence of a terminal */
        assert_holder("a\xc2\xa0z", "a\xc2\xa0z");
        assert_holder("a\xe2\x80\xa8z", "a?z"); /* line separator */
        assert_holder("a\xef\xbf\xbez", "a?z"); /* U+FFFE, no character */
        assert_holder("a\xef\xb7\x90z", "a?z"); /* U+FDD0, no character */
}

static void test_not_utf8(void **state) {
        assert_holder("\x80", "?");
        assert_holder("\xff\xfe", "??");
        assert_holder("a\xc3", "a?"); /* cut off */
        assert_holder("a\xe2\x82", "a??");
        assert_holder("a\xf0\x9f\x98", "a???");
        assert_holder("\xc0\xaf", "??"); /* longer than need be */
        assert_holder("\xc1\xbf", "??");
        assert_holder("\xe0\x80\xaf", "???");
        assert_holder("\xf0\x80\x80\xaf", "????");
        assert_holder("\xed\xa0\x80", "?");     /* a surrogate */
        assert_holder("\xf4\x90\x80\x80", "?"); /* above U+10FFFF */
        assert_holder("\xf8\x88\x80\x80\x80", "?????");
        assert_holder("\xc3\xc3\xa4", "?ä"); /* finds its way back */
}

static void test_cut(void **state) {
        assert_holder(X96 X32, X96 X32);
        assert_holder(X96 X32 "y", X96 X32);
        assert_holder(X96 X32 X96, X96 X32);
        assert_holder(X96 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "ä"
                          "y",
                      X96 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "ä");
        assert_holder(X96 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "ä"
                          "y",
                      X96 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        assert_holder(X96 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "\xff"
                          "y",
                      X96 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "?");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_control_characters),
                cmocka_unit_test(test_not_utf8),
                cmocka_unit_test(test_cut),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
