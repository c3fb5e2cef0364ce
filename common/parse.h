/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text from outside to numbers. All of these take the whole text or nothing, and none allocates. */

#include <stdbool.h>
#include <stdint.h>

/*
 * A PCI address as sysfs names it, "0001:00:00.0": domain of four to eight hexadecimal digits, bus,
 * device and function (Documentation/ABI/testing/sysfs-bus-pci). Lower case only, as the kernel
 * prints it. The text with its zero byte fits PCI_ADDRESS_SIZE bytes.
 */
#define PCI_ADDRESS_SIZE 20U

bool pci_address_valid(const char *text);

/*
 * A hexadecimal number, with or without 0x, of at most max. Returns 0, -EINVAL if text is NULL,
 * empty or not such a number, -ERANGE if it is greater than max. *ret is written on success only.
 */
int parse_hex(const char *text, uint64_t max, uint64_t *ret);

/* The same for a decimal number without a sign. */
int parse_decimal(const char *text, uint64_t max, uint64_t *ret);

/*
 * A time span: a decimal number with an optional unit (us, ms, s, min, h, d; seconds if there is
 * none), in microseconds. Returns 0, -EINVAL, or -ERANGE if it does not fit.
 */
int parse_span(const char *text, uint64_t *ret_usec);
