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

typedef enum Selection {
        SELECT_TO_READ,   /* a unique part of a PCI address will do */
        SELECT_TO_CHANGE, /* nothing that could mean another function tomorrow */
        SELECT_TO_COME, /* the same; a PCI address need not be there: an object with address alone */
} Selection;

/*
 * The same, of those that n ADDRESSes mean, each function once. A function that is not there is a
 * failure, with a list of those there are; so is a part of an address that is not unique.
 */
int functions_select(
        Context *context, Selection selection, int n, char *const addresses[], json_object **ret);

/* Asks for one function, by the address of its object. */
int functions_get_one(const Context *context, const char *path, json_object **ret);
