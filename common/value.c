/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "value.h"

const char *value_text(json_object *object, const char *key) {
        json_object *value = json_object_object_get(object, key);

        return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

uint64_t value_number(json_object *object, const char *key) {
        return json_object_get_uint64(json_object_object_get(object, key));
}

bool value_exists(json_object *object, const char *key) {
        return json_object_object_get_ex(object, key, NULL);
}

int value_add(json_object *object, const char *key, json_object *value) {
        if (value && json_object_object_add(object, key, value) == 0)
                return 0;

        (void) json_object_put(value);
        return -ENOMEM;
}

int value_add_text(json_object *object, const char *key, const char *text) {
        return value_add(object, key, json_object_new_string(text));
}

int value_add_number(json_object *object, const char *key, uint64_t number) {
        return value_add(object, key, json_object_new_uint64(number));
}

int value_add_bool(json_object *object, const char *key, bool flag) {
        return value_add(object, key, json_object_new_boolean(flag));
}
