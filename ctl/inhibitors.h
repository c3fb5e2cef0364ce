/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who keeps the daemon from which functions. */

#include "context.h"
#include "value.h"

/*
 * Takes an inhibitor for functions, an array of objects with their addresses, and returns it in
 * *ret, to be closed by the caller. Programs that are run do not get it. Returns EXIT_DONE, or
 * another status after a message.
 */
int inhibitors_take(
        Context *context, json_object *functions, const char *who, const char *why, int *ret);

/* Prints all inhibitors, of whomever. Returns the exit status. */
int inhibitors_list(Context *context);
