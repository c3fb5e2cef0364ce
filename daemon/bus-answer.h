/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Answers to calls that ask something of a function: what became of it, in the words of D-Bus. */

#include <systemd/sd-bus.h>

#include "function.h"

#define BUS_WHO_SIZE 129U /* with the end */
#define BUS_WHY_SIZE 257U

/*
 * The answer to a call. For FUNCTION_DONE, *ret_error is not set and 0 is returned; otherwise
 * *ret_error is set, and a negative errno returned, as method handlers return it.
 */
int bus_outcome(const Function *function,
                FunctionOutcome outcome,
                int error,
                sd_bus_error *ret_error);

/* A request for a call that is answered with nothing but its success. Its answer frees it. */
typedef struct BusRequest {
        FunctionRequest request;
        Function *function;
        sd_bus_message *call;
} BusRequest;

/* Makes a request for a call about a function. Returns NULL if there is no memory. */
BusRequest *bus_request_new(sd_bus_message *call, Function *function);

/*
 * Reads the text of an argument, which is shown to people: from min to size - 1 bytes, without
 * control characters. name is what the error calls it. Returns 0 or a negative errno with *ret_error
 * set.
 */
int bus_check_text(
        const char *text, size_t min, size_t size, const char *name, sd_bus_error *ret_error);
