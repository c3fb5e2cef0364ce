/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>

#include "ccdf.h"

static uint16_t read_be16(const uint8_t *bytes) {
        return (uint16_t) (bytes[0] << 8 | bytes[1]);
}

static uint32_t read_be32(const uint8_t *bytes) {
        return (uint32_t) read_be16(bytes) << 16 | read_be16(bytes + 2);
}

static uint64_t read_be64(const uint8_t *bytes) {
        return (uint64_t) read_be32(bytes) << 32 | read_be32(bytes + 4);
}

int ccdf_decode(const uint8_t *bytes, size_t size, CcdfError *ret) {
        uint32_t word;

        assert(bytes || size == 0);
        assert(ret);

        if (size < CCDF_ERROR_SIZE)
                return -EBADMSG;

        /* ett 31–28, mvn 27–16, dmaas 15–8, reserved 7–2, q 1, rw 0 */
        word = read_be32(bytes + 12);

        *ret = (CcdfError){
                .fh = read_be32(bytes + 4),
                .fid = read_be32(bytes + 8),
                .expected_table_type = (uint8_t) (word >> 28),
                .msi_vector = (uint16_t) (word >> 16 & 0xfff),
                .dma_address_space = (uint8_t) (word >> 8),
                .qualifier = word >> 1 & 1,
                .read_write = word & 1,
                .failing_address = read_be64(bytes + 16),
                .pec = read_be16(bytes + 30),
        };

        return 0;
}

void ccdf_format(const uint8_t *bytes, size_t size, char *text) {
        static const char digits[] = "0123456789abcdef";

        assert(bytes || size == 0);
        assert(text);

        for (size_t i = 0; i < size; i++) {
                *text++ = digits[bytes[i] >> 4];
                *text++ = digits[bytes[i] & 0xf];
        }
        *text = '\0';
}
