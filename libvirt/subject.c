/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "subject.h"

#define SEPARATOR ", "
#define ELLIPSIS  "…"

static void subject_add_field(Subject *subject, const char *name, const char *value) {
        size_t i = subject->n_fields;

        if (i == SUBJECT_FIELDS_MAX)
                return;

        (void) snprintf(subject->texts[i], SUBJECT_FIELD_SIZE, "%s=%s", name, value);
        subject->fields[i] = subject->texts[i];
        subject->fields[i + 1] = NULL;
        subject->n_fields++;
}

static void subject_add_text(Subject *subject, const char *text) {
        subject->list_size += (size_t) snprintf(subject->list + subject->list_size,
                                                SUBJECT_LIST_SIZE - subject->list_size,
                                                "%s%s",
                                                subject->list_size > 0 ? SEPARATOR : "",
                                                text);
        assert(subject->list_size < SUBJECT_LIST_SIZE);
}

void subject_begin(Subject *subject, const char *holder) {
        assert(subject);
        assert(holder);

        subject->n_fields = 0;
        subject->list[0] = '\0';
        subject->list_size = 0;
        subject->n_functions = 0;
        subject->is_cut = false;
        subject_add_field(subject, ERRORD_FIELD_HOLDER, holder);
}

void subject_add(Subject *subject, const char *address) {
        assert(subject);
        assert(address);

        subject->n_functions++;
        subject_add_field(subject, ERRORD_FIELD_ADDRESS, address);

        if (subject->is_cut)
                return;

        /* Behind each there has to be room for the ellipsis. */
        subject->is_cut = subject->list_size + strlen(SEPARATOR) + strlen(address) +
                                  strlen(SEPARATOR ELLIPSIS) >=
                          SUBJECT_LIST_SIZE;
        subject_add_text(subject, subject->is_cut ? ELLIPSIS : address);
}
