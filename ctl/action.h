/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls that change something: polkit may ask for a password, and devices take their time. */

#include <systemd/sd-bus.h>

#include "context.h"

/*
 * Sends a call and waits for the answer. Returns EXIT_DONE and the answer in *ret (unless that is
 * NULL), or another status after a message, which begins with subject: who is concerned.
 */
int action_call(Context *context, sd_bus_message *call, const char *subject, sd_bus_message **ret);

/* Says why a call could not be made, an errno. Returns the status that goes with it. */
int action_fail_arguments(int error, const char *subject);

/* Appends the arguments of a call. Returns 0, or a negative errno. */
typedef int (*ActionArguments)(const Context *context, sd_bus_message *call);

/*
 * Calls a method of each function that is meant, one after the other, whatever becomes of those
 * before. Prints the functions, as they are afterwards, if JSON is asked for, and nothing
 * otherwise. append is NULL for a method without arguments.
 */
int action_run(Context *context,
               int n,
               char *const addresses[],
               const char *method,
               ActionArguments append);
