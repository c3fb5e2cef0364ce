/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "hex.h"
#include "util.h"

#define BLANKS " \t\n\r\v\f"

/* Appends the digits of one argument, which may be several words. Returns the new end, or NULL. */
static char *append_digits(char *end, const char *text) {
        while (*(text += strspn(text, BLANKS))) {
                if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
                        text += 2;
                if (!isxdigit((unsigned char) *text))
                        return NULL;
                while (isxdigit((unsigned char) *text))
                        *end++ = (char) tolower((unsigned char) *text++);
                if (*text && !strchr(BLANKS, *text))
                        return NULL;
        }
        return end;
}

int hex_collect(int n, char *const words[], char **ret) {
        _cleanup_free_ char *digits = NULL;
        size_t size = 1;
        char *end;

        assert(words || n == 0);
        assert(ret);

        for (int i = 0; i < n; i++)
                size += strlen(words[i]);

        end = digits = malloc(size);
        if (!digits)
                return -ENOMEM;

        for (int i = 0; i < n; i++) {
                end = append_digits(end, words[i]);
                if (!end)
                        return -EINVAL;
        }
        *end = '\0';

        *ret = TAKE_PTR(digits);
        return 0;
}

static uint8_t digit_value(char digit) {
        return (uint8_t) (digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

int hex_to_bytes(const char *digits, uint8_t **ret, size_t *ret_size) {
        size_t n = strlen(digits);
        uint8_t *bytes;

        assert(ret);
        assert(ret_size);

        if (n == 0 || n % 2 != 0)
                return -EINVAL;

        bytes = malloc(n / 2);
        if (!bytes)
                return -ENOMEM;

        for (size_t i = 0; i < n / 2; i++)
                bytes[i] = (uint8_t) (digit_value(digits[2 * i]) << 4 |
                                      digit_value(digits[2 * i + 1]));

        *ret = bytes;
        *ret_size = n / 2;
        return 0;
}
