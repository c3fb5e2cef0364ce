/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From D-Bus messages to objects of value.h. All of these return 0 or a negative errno. */

#include <systemd/sd-bus.h>

#include "value.h"

/* The types of an error in ErrorReported and GetRecords. */
#define BUS_JSON_ERROR_TYPES "suqsstta{sv}"

/* Reads basic arguments, one a type, into members that are called keys[0], keys[1], … */
int bus_json_read(sd_bus_message *message,
                  const char *types,
                  const char *const keys[],
                  json_object *object);

/*
 * Reads an a{sv}, of properties or details, with keys in snake_case. Bytes become hexadecimal
 * digits; other containers are passed over.
 */
int bus_json_read_dict(sd_bus_message *message, json_object *object);

/* Reads the arguments of an error, with its details as members like the others. */
int bus_json_read_error(sd_bus_message *message, json_object *error);
