/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "holder.h"

#define REPLACEMENT '?'

/* The size of the character that text begins with, 0 if that is none. Stops at the zero byte. */
static size_t decode(const unsigned char *text, uint32_t *ret) {
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* by size */
        uint32_t character;
        size_t size;

        if (text[0] < 0x80) {
                *ret = text[0];
                return 1;
        }

        if ((text[0] & 0xe0) == 0xc0) {
                size = 2;
                character = text[0] & 0x1fU;
        } else if ((text[0] & 0xf0) == 0xe0) {
                size = 3;
                character = text[0] & 0x0fU;
        } else if ((text[0] & 0xf8) == 0xf0) {
                size = 4;
                character = text[0] & 0x07U;
        } else
                return 0;

        for (size_t i = 1; i < size; i++) {
                if ((text[i] & 0xc0) != 0x80)
                        return 0;
                character = character << 6 | (text[i] & 0x3fU);
        }

        *ret = character;
        return character < least[size] ? 0 : size;
}

/* Text that every bus library takes, and every terminal. */
static bool is_text(uint32_t character) {
        if (character < ' ' || (character >= 0x7f && character < 0xa0)) /* C0, C1 */
                return false;
        if (character == 0x2028 || character == 0x2029) /* line and paragraph separators */
                return false;
        if ((character >= 0xd800 && character <= 0xdfff) || character > 0x10ffff) /* surrogates */
                return false;
        return !(character >= 0xfdd0 && character <= 0xfdef) && (character & 0xfffe) != 0xfffe;
}

void holder_from_guest(const char *guest, char ret[HOLDER_SIZE]) {
        const unsigned char *text = (const unsigned char *) guest;
        uint32_t character;
        size_t size, n = 0;

        assert(guest);
        assert(ret);

        for (; *text; text += size > 0 ? size : 1) {
                size = decode(text, &character);
                if (size > 0 && is_text(character)) {
                        if (n + size >= HOLDER_SIZE)
                                break;
                        memcpy(ret + n, text, size);
                        n += size;
                } else {
                        if (n + 1 >= HOLDER_SIZE)
                                break;
                        ret[n++] = REPLACEMENT;
                }
        }
        ret[n] = '\0';
}
