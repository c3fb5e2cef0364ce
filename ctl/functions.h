/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The functions that the daemon knows, and which of them are meant. */

#include "context.h"
#include "value.h"

/*
 * Asks the daemon for all functions: an array of objects with their properties, in the order of PCI
 * addresses. Returns EXIT_DONE, or another status after a message.
 */
int functions_get(Context *context, json_object **ret);

/*
 * The same, of those that n ADDRESSes mean, each function once. A function that is not there is a
 * failure, with a list of those there are; so is a part of an address that is not unique.
 */
int functions_select(Context *context, int n, char *const addresses[], json_object **ret);
