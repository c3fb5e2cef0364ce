/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ccdf.h"
#include "util.h"

/* Recorded on Linux 7.3: a virtio function with FID 0x10 did DMA outside its aperture. */
static const uint8_t golden[CCDF_ERROR_SIZE] = {
        0x00, 0x00, 0x00, 0x00, 0x80, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x12, 0x34,
        0x60, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02,
};

static void test_golden(void **state) {
        char text[2 * sizeof(golden) + 1];
        CcdfError error;

        assert_int_equal(ccdf_decode(golden, sizeof(golden), &error), 0);
        assert_int_equal(error.fh, 0x80020000);
        assert_int_equal(error.fid, 0x10);
        assert_int_equal(error.expected_table_type, 0);
        assert_int_equal(error.msi_vector, 0);
        assert_int_equal(error.dma_address_space, 0);
        assert_false(error.qualifier);
        assert_false(error.read_write);
        assert_true(error.failing_address == UINT64_C(0x12346002));
        assert_int_equal(error.pec, 0x0002);

        ccdf_format(golden, sizeof(golden), text);
        assert_string_equal(text,
                            "00000000800200000000001000000000"
                            "00000000123460020000000000000002");
}

/* Every byte differs from its neighbours, so a field read at a wrong place shows. */
static void test_every_field(void **state) {
        static const uint8_t bytes[CCDF_ERROR_SIZE] = {
                0xf0, 0xf1, 0xf2, 0xf3, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
                0x08, 0xa9, 0xbc, 0xd7, 0x02, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
                0x17, 0x18, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0x21, 0x22,
        };
        CcdfError error;

        assert_int_equal(ccdf_decode(bytes, sizeof(bytes), &error), 0);
        assert_int_equal(error.fh, 0x01020304);
        assert_int_equal(error.fid, 0x05060708);
        assert_int_equal(error.expected_table_type, 0xa);
        assert_int_equal(error.msi_vector, 0x9bc);
        assert_int_equal(error.dma_address_space, 0xd7);
        assert_true(error.qualifier);
        assert_false(error.read_write);
        assert_true(error.failing_address == UINT64_C(0x1112131415161718));
        assert_int_equal(error.pec, 0x2122);
}

/* Each bit of the word at offset 12 belongs to exactly one field, or to none. */
static void test_bits(void **state) {
        for (unsigned bit = 0; bit < 32; bit++) {
                uint8_t bytes[CCDF_ERROR_SIZE] = {};
                CcdfError error;

                bytes[15 - bit / 8] = (uint8_t) (1U << bit % 8);
                assert_int_equal(ccdf_decode(bytes, sizeof(bytes), &error), 0);
                assert_int_equal(error.expected_table_type, bit >= 28 ? 1U << (bit - 28) : 0);
                assert_int_equal(error.msi_vector, bit >= 16 && bit < 28 ? 1U << (bit - 16) : 0);
                assert_int_equal(error.dma_address_space,
                                 bit >= 8 && bit < 16 ? 1U << (bit - 8) : 0);
                assert_int_equal(error.qualifier, bit == 1);
                assert_int_equal(error.read_write, bit == 0);
                assert_int_equal(error.fh | error.fid | error.failing_address | error.pec, 0);
        }
}

static void test_size(void **state) {
        uint8_t grown[CCDF_ERROR_SIZE + 8];
        CcdfError error, untouched;

        memset(&untouched, 0x5a, sizeof(untouched));
        for (size_t size = 0; size < CCDF_ERROR_SIZE; size++) {
                /* Memory of its own, so that a sanitizer sees what is read behind it. */
                _cleanup_free_ uint8_t *bytes = malloc(size + 1);

                assert_non_null(bytes);
                memcpy(bytes, golden, size);
                error = untouched;
                assert_int_equal(ccdf_decode(bytes, size, &error), -EBADMSG);
                assert_memory_equal(&error, &untouched, sizeof(error));
        }
        assert_int_equal(ccdf_decode(NULL, 0, &error), -EBADMSG);

        /* A record that has grown says the same in its first bytes. */
        memset(grown, 0xff, sizeof(grown));
        memcpy(grown, golden, sizeof(golden));
        assert_int_equal(ccdf_decode(grown, sizeof(grown), &error), 0);
        assert_int_equal(error.pec, 0x0002);
        assert_true(error.failing_address == UINT64_C(0x12346002));
}

static void test_format(void **state) {
        static const uint8_t bytes[] = { 0x00, 0x0f, 0xf0, 0xab };
        char text[] = "xxxxxxxxxx";

        ccdf_format(bytes, sizeof(bytes), text);
        assert_string_equal(text, "000ff0ab");
        assert_int_equal(text[9], 'x');

        ccdf_format(NULL, 0, text);
        assert_string_equal(text, "");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden), cmocka_unit_test(test_every_field),
                cmocka_unit_test(test_bits),   cmocka_unit_test(test_size),
                cmocka_unit_test(test_format),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
