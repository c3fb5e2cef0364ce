/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* JSON objects (json-c) with members of which nothing is believed: a wrong one is as good as none. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "util.h"

static inline void json_putp(json_object **object) {
        (void) json_object_put(*object);
}

/* A member's value; "" or 0 where there is no such member. The text belongs to the object. */
const char *value_text(json_object *object, const char *key);
uint64_t value_number(json_object *object, const char *key);
bool value_exists(json_object *object, const char *key);

/*
 * Adds a member, which the object owns from then on. Returns 0, or -ENOMEM, also if value is NULL.
 */
int value_add(json_object *object, const char *key, json_object *value);
int value_add_text(json_object *object, const char *key, const char *text);
int value_add_number(json_object *object, const char *key, uint64_t number);
int value_add_bool(json_object *object, const char *key, bool flag);
