/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "address.h"

/* The number behind a prefix. Returns -ENOENT if text does not begin with it. */
static int parse_prefixed(const char *text, const char *prefix, uint64_t max, uint32_t *ret) {
        size_t length = strlen(prefix);
        uint64_t number;

        if (strncmp(text, prefix, length) != 0)
                return -ENOENT;
        if (parse_hex(text + length, max, &number) < 0)
                return -EINVAL;

        *ret = (uint32_t) number;
        return 0;
}

int address_parse(const char *text, Address *ret) {
        size_t length;
        int r;

        assert(text);
        assert(ret);

        *ret = (Address){ .kind = ADDRESS_FID };
        r = parse_prefixed(text, "fid:", UINT32_MAX, &ret->number);
        if (r != -ENOENT)
                return r;

        ret->kind = ADDRESS_PCHID;
        r = parse_prefixed(text, "pchid:", UINT16_MAX, &ret->number);
        if (r != -ENOENT)
                return r;

        length = strlen(text);
        if (length == 0 || length >= sizeof(ret->text) ||
            strspn(text, "0123456789abcdefABCDEF:.") != length)
                return -EINVAL;

        for (size_t i = 0; i < length; i++)
                ret->text[i] = (char) tolower((unsigned char) text[i]);
        ret->kind = pci_address_valid(ret->text) ? ADDRESS_EXACT : ADDRESS_PART;
        return 0;
}

bool address_matches(const Address *address,
                     const char *pci_address,
                     uint32_t fid,
                     uint16_t pchid) {
        assert(address);
        assert(pci_address);

        switch (address->kind) {
        case ADDRESS_EXACT:
                return strcmp(address->text, pci_address) == 0;
        case ADDRESS_FID:
                return address->number == fid;
        case ADDRESS_PCHID:
                return address->number == pchid;
        case ADDRESS_PART:
                return strstr(pci_address, address->text);
        }
        return false;
}

int address_compare(const char *a, const char *b) {
        size_t length_a = strlen(a), length_b = strlen(b);

        if (length_a != length_b)
                return length_a < length_b ? -1 : 1;
        return strcmp(a, b);
}
