/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon, as a client of the bus sees it. */

#include <systemd/sd-bus.h>

#include "context.h"

/*
 * Connects to the system bus, of this machine or of context->host, if that was not done yet.
 * Returns 0 or a negative errno; says nothing.
 */
int client_connect(Context *context);
void client_disconnect(Context *context);

/* The same; returns EXIT_DONE, or another status after a message. */
int client_open(Context *context);

/* Whether a call failed because the daemon is not on the bus. */
bool client_is_absent(const sd_bus_error *error);

/* Says why a call failed, and what to do about it. Returns the status that goes with it. */
int client_fail(const Context *context, int r, const sd_bus_error *error);

/*
 * Calls GetRecords. Does not start the daemon if it is not there. Returns 0, or a negative errno
 * with *ret_error set if it was the bus or the daemon that refused.
 */
int client_get_records(const Context *context,
                       const char *stream,
                       uint64_t after,
                       uint32_t max,
                       sd_bus_error *ret_error,
                       sd_bus_message **ret);
