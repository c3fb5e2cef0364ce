/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An error record or a PCI event code as people have it at hand: pasted from a log, a trace or a
 * signal.
 */

#include <stddef.h>
#include <stdint.h>

#define HEX_PEC_DIGITS 4U /* at most; a record has more */

/*
 * The hexadecimal digits of n words, in lower case. Blanks, and 0x in front of a word, are passed
 * over. The digits are the caller's to free. Returns 0, -EINVAL if there is anything else, or
 * -ENOMEM.
 */
int hex_collect(int n, char *const words[], char **ret);

/*
 * Digits to bytes, which are the caller's to free. Returns 0, -EINVAL if it is an odd number of
 * digits or none, or -ENOMEM.
 */
int hex_to_bytes(const char *digits, uint8_t **ret, size_t *ret_size);
