/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an entry of the log is about: a guest and functions, as fields and as text. */

#include <stdbool.h>
#include <stddef.h>

#include "holder.h"
#include "names.h"

#define SUBJECT_FIELDS_MAX 32U
#define SUBJECT_FIELD_SIZE (sizeof(ERRORD_FIELD_HOLDER "=") + HOLDER_SIZE)
#define SUBJECT_LIST_SIZE  1024U

typedef struct Subject {
        const char *fields[SUBJECT_FIELDS_MAX + 1]; /* as log_entry() takes them */
        char texts[SUBJECT_FIELDS_MAX][SUBJECT_FIELD_SIZE];
        size_t n_fields;
        char list[SUBJECT_LIST_SIZE]; /* the addresses */
        size_t list_size;             /* without the zero byte */
        size_t n_functions;
        bool is_cut;
} Subject;

/* Makes it about a guest, and no function. */
void subject_begin(Subject *subject, const char *holder);

/*
 * Adds a function. Those that do not fit are an ellipsis at the end of the list, and no field.
 */
void subject_add(Subject *subject, const char *address);
