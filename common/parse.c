/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "parse.h"
#include "util.h"

#define LOWER_HEX "0123456789abcdef"

static int digit_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* What is no number at all is -EINVAL, however long it is; hence no early return for the range. */
static int parse_digits(const char *text, size_t size, unsigned base, uint64_t max, uint64_t *ret) {
        bool overflow = false;
        uint64_t value = 0;

        if (size == 0)
                return -EINVAL;

        for (size_t i = 0; i < size; i++) {
                int digit = digit_value(text[i]);

                if (digit < 0 || (unsigned) digit >= base)
                        return -EINVAL;
                if (__builtin_mul_overflow(value, base, &value) ||
                    __builtin_add_overflow(value, (unsigned) digit, &value))
                        overflow = true;
        }

        if (overflow || value > max)
                return -ERANGE;

        *ret = value;
        return 0;
}

/* Two digits; strspn() stops at the zero byte, so nothing is read behind it. */
static bool is_hex_pair(const char *text) {
        return strspn(text, LOWER_HEX) == 2;
}

bool pci_address_valid(const char *text) {
        size_t domain;

        if (!text)
                return false;

        domain = strspn(text, LOWER_HEX);
        if (domain < 4 || domain > 8)
                return false;
        text += domain;

        /* ":bb:dd.f"; a bus has 32 devices of 8 functions */
        if (text[0] != ':' || !is_hex_pair(text + 1))
                return false;
        if (text[3] != ':' || !is_hex_pair(text + 4) || text[4] > '1')
                return false;
        return text[6] == '.' && text[7] >= '0' && text[7] <= '7' && text[8] == '\0';
}

int parse_hex(const char *text, uint64_t max, uint64_t *ret) {
        assert(ret);

        if (!text)
                return -EINVAL;
        if (text[0] == '0' && text[1] == 'x')
                text += 2;

        return parse_digits(text, strlen(text), 16, max, ret);
}

int parse_decimal(const char *text, uint64_t max, uint64_t *ret) {
        assert(ret);

        return text ? parse_digits(text, strlen(text), 10, max, ret) : -EINVAL;
}

int parse_span(const char *text, uint64_t *ret_usec) {
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                { "", USEC_PER_SEC },
                { "us", 1 },
                { "ms", USEC_PER_MSEC },
                { "s", USEC_PER_SEC },
                { "min", 60 * USEC_PER_SEC },
                { "h", 60 * 60 * USEC_PER_SEC },
                { "d", 24 * 60 * 60 * USEC_PER_SEC },
        };
        uint64_t value;
        size_t digits;
        int r;

        assert(ret_usec);

        if (!text)
                return -EINVAL;
        digits = strspn(text, "0123456789");

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                if (strcmp(text + digits, units[i].name) != 0)
                        continue;

                r = parse_digits(text, digits, 10, UINT64_MAX / units[i].usec, &value);
                if (r < 0)
                        return r;

                *ret_usec = value * units[i].usec;
                return 0;
        }

        return -EINVAL;
}
