/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How people name a PCI function on the command line: an ADDRESS. */

#include <stdbool.h>
#include <stdint.h>

#include "parse.h"

typedef enum AddressKind {
        ADDRESS_EXACT, /* a PCI address: 0001:00:00.0 */
        ADDRESS_FID,   /* fid:10, hexadecimal, with or without 0x */
        ADDRESS_PCHID, /* pchid:104, likewise: all functions of an adapter */
        ADDRESS_PART,  /* part of a PCI address, which has to be unique */
} AddressKind;

typedef struct Address {
        AddressKind kind;
        uint32_t number;             /* FID or PCHID */
        char text[PCI_ADDRESS_SIZE]; /* lower case; of ADDRESS_EXACT and ADDRESS_PART */
} Address;

/*
 * Reads an ADDRESS; PCI addresses may be in upper case. Returns 0, or -EINVAL if it can be none, in
 * which case *ret is undefined.
 */
int address_parse(const char *text, Address *ret);

/* Whether a function is meant. pci_address is as sysfs has it. */
bool address_matches(const Address *address, const char *pci_address, uint32_t fid, uint16_t pchid);

/*
 * The order of PCI addresses: by domain (which has no fixed number of digits), bus, device,
 * function.
 */
int address_compare(const char *a, const char *b);
