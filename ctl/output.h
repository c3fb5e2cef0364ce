/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tables, colours, JSON. */

#include <libsmartcols/libsmartcols.h>

#include "context.h"
#include "value.h"

/*
 * As the journal's priorities look in journalctl(1): red for what is broken, yellow for what was
 * lost.
 */
#define COLOUR_BAD    "\033[1;31m"
#define COLOUR_WARN   "\033[33m"
#define COLOUR_GOOD   "\033[32m"
#define COLOUR_DIM    "\033[2m"
#define COLOUR_NORMAL "\033[0m"

static inline void scols_unref_tablep(struct libscols_table **table) {
        scols_unref_table(*table);
}

typedef struct Column {
        const char *name;
        int flags; /* SCOLS_FL_… */
} Column;

/* Prints an object as the option says, and a line end. */
void output_json(const Context *context, json_object *object);

/*
 * Prints a line of text, in a colour or (NULL) without. Text from outside may have anything in it:
 * control characters do not reach a terminal.
 */
void output_line(const Context *context, const char *colour, const char *text);

/* A table with these columns, as wide as the terminal. NULL if there is no memory. */
struct libscols_table *output_table(const Context *context, const Column *columns, size_t n);

/* Fills a cell; colour may be NULL. Returns 0 or a negative errno. */
int output_cell(struct libscols_line *line, size_t column, const char *text, const char *colour);

/* Adds a row "label: value" to a table of output_table_labels(). Returns 0 or a negative errno. */
struct libscols_table *output_table_labels(const Context *context);
int output_label(struct libscols_table *table,
                 const char *label,
                 const char *colour,
                 const char *format,
                 ...) _printf_(4, 5);
