/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A guest's name as the daemon takes it for "who" of Release(). */

#define HOLDER_SIZE 129U /* with the zero byte */

/*
 * Copies what fits of the name, whole characters only. What is no UTF-8 or no printable text
 * becomes a question mark: a name comes from whoever defines guests.
 */
void holder_from_guest(const char *guest, char ret[HOLDER_SIZE]);
