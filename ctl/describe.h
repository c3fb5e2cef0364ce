/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What happened, as one line of text. Objects are as value.h has them. */

#include <stddef.h>
#include <stdint.h>

#include "value.h"

/* Room for every line that is made here; what is longer is cut off. */
#define DESCRIBE_SIZE 512U
#define TIME_SIZE     32U

/* Local time, "2026-11-22 15:30:11.620" or without the milliseconds; "-" for 0. */
void describe_time(uint64_t realtime_usec, char text[static TIME_SIZE]);
void describe_time_msec(uint64_t realtime_usec, char text[static TIME_SIZE]);

/* "0001:00:00.0 (FID 0x00000010)", for an object with address and fid. */
void describe_function(json_object *object, char text[static DESCRIBE_SIZE]);

/* An error without its time and function: what it is called, what it means, and where it was. */
void describe_error(json_object *error, char text[static DESCRIBE_SIZE]);

/* "OORANGE", or the number of a code that has no name: "0x00ff". */
void describe_pec(uint16_t pec, char text[static DESCRIBE_SIZE]);

/* What a value of the property Recovery means. */
const char *describe_recovery(const char *recovery);

/* What the state of a function and its reason mean; NULL if the two say it all. */
const char *describe_state(const char *state, const char *reason);

/* What to do about an error of D-Bus when the daemon refuses something; NULL if its text says it all. */
const char *describe_advice(const char *error_name);
