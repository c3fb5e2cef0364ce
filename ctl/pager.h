/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A pager between standard output and a terminal. */

#include "context.h"

/*
 * Starts one if standard output is a terminal and the options allow it. Without one, all goes on as
 * it is.
 */
void pager_open(Context *context);

/*
 * Ends the output, and waits until people have read it. Returns EXIT_DONE, or a status after a
 * message.
 */
int pager_close(Context *context);
