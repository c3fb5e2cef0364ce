/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "address.h"
#include "util.h"

static Address parse(const char *text) {
        Address address;

        if (address_parse(text, &address) < 0)
                fail_msg("'%s' was refused", text);
        return address;
}

static void test_parse(void **state) {
        static const struct {
                const char *text;
                AddressKind kind;
                uint32_t number;
                const char *lower;
        } valid[] = {
                { "0001:00:00.0", ADDRESS_EXACT, 0, "0001:00:00.0" },
                { "ABCD:EF:1F.7", ADDRESS_EXACT, 0, "abcd:ef:1f.7" },
                { "ffffffff:ff:1f.7", ADDRESS_EXACT, 0, "ffffffff:ff:1f.7" },
                { "fid:10", ADDRESS_FID, 0x10, "" },
                { "fid:0x00000010", ADDRESS_FID, 0x10, "" },
                { "fid:ffffffff", ADDRESS_FID, UINT32_MAX, "" },
                { "pchid:104", ADDRESS_PCHID, 0x104, "" },
                { "pchid:0xFFFF", ADDRESS_PCHID, 0xffff, "" },
                { "0001", ADDRESS_PART, 0, "0001" },
                { "1:00:00", ADDRESS_PART, 0, "1:00:00" },
                { ".", ADDRESS_PART, 0, "." },
                { "A:00", ADDRESS_PART, 0, "a:00" },
                { "0001:00:20.0",
                  ADDRESS_PART,
                  0,
                  "0001:00:20.0" }, /* no address, and part of none */
        };
        static const char *const invalid[] = {
                "",
                "fid:",
                "fid:100000000",
                "fid:-1",
                "FID:10",
                "fid: 10",
                "pchid:",
                "pchid:10000",
                "pchid:x",
                "fid",
                "eth0",
                "0x10",
                "0001:00:00.0 ",
                "ffffffff:ff:1f.7ffff",
                "*",
                "0001\n",
        };
        Address address;

        for (size_t i = 0; i < ELEMENTSOF(valid); i++) {
                address = parse(valid[i].text);
                assert_int_equal(address.kind, valid[i].kind);
                assert_int_equal(address.number, valid[i].number);
                assert_string_equal(address.text, valid[i].lower);
        }
        for (size_t i = 0; i < ELEMENTSOF(invalid); i++)
                if (address_parse(invalid[i], &address) != -EINVAL)
                        fail_msg("'%s' was taken for an address", invalid[i]);
}

static bool means(const char *text, const char *pci_address, uint32_t fid, uint16_t pchid) {
        Address address = parse(text);

        return address_matches(&address, pci_address, fid, pchid);
}

static void test_matches(void **state) {
        assert_true(means("0001:00:00.0", "0001:00:00.0", 0, 0));
        assert_false(means("0001:00:00.0", "10001:00:00.0", 0, 0)); /* all of it, not a part */
        assert_true(means("001:00", "10001:00:00.0", 0, 0));
        assert_true(means("ABCD", "abcd:00:00.0", 0, 0));
        assert_false(means("2", "0001:00:00.0", 2, 2)); /* no FID and no PCHID */

        assert_true(means("fid:10", "0001:00:00.0", 0x10, 0x104));
        assert_false(means("fid:104", "0001:00:00.0", 0x10, 0x104));
        assert_true(means("pchid:104", "0001:00:00.0", 0x10, 0x104));
        assert_false(means("pchid:10", "0001:00:00.0", 0x10, 0x104));
        assert_false(means("pchid:0", "0001:00:00.0", 0x10, 0x104));
}

static void test_order(void **state) {
        static const char *const sorted[] = {
                "0000:00:00.0", "0000:00:00.1", "0000:00:01.0",  "0000:01:00.0",
                "0002:00:00.0", "ffff:00:00.0", "10000:00:00.0",
        };

        for (size_t i = 0; i < ELEMENTSOF(sorted); i++)
                for (size_t k = 0; k < ELEMENTSOF(sorted); k++) {
                        int order = address_compare(sorted[i], sorted[k]);

                        assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
                }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_matches),
                cmocka_unit_test(test_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
