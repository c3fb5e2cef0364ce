/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "output.h"

void output_json(const Context *c, json_object *object) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

        assert(c);

        if (c->json == JSON_PRETTY)
                flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
        (void) puts(json_object_to_json_string_ext(object, flags));
}

void output_line(const Context *c, const char *colour, const char *text) {
        assert(c);
        assert(text);

        colour = c->colours ? colour : NULL;
        if (colour)
                (void) fputs(colour, stdout);
        for (; *text; text++)
                (void) putchar(iscntrl((unsigned char) *text) ? ' ' : *text);
        if (colour)
                (void) fputs(COLOUR_NORMAL, stdout);
        (void) putchar('\n');
}

struct libscols_table *output_table(const Context *c, const Column *columns, size_t n) {
        struct libscols_table *table = scols_new_table();

        assert(c);

        if (!table)
                return NULL;

        for (size_t i = 0; i < n; i++)
                if (!scols_table_new_column(table, columns[i].name, 0, columns[i].flags)) {
                        scols_unref_table(table);
                        return NULL;
                }

        /*
         * Standard output may be a pager by now, so that libsmartcols would not find the terminal.
         */
        (void) scols_table_set_termforce(
                table, c->columns > 0 ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
        if (c->columns > 0)
                (void) scols_table_set_termwidth(table, c->columns);
        (void) scols_table_enable_colors(table, c->colours);
        (void) scols_table_enable_noheadings(table, !c->legend);
        return table;
}

int output_cell(struct libscols_line *line, size_t column, const char *text, const char *colour) {
        struct libscols_cell *cell = scols_line_get_cell(line, column);

        if (!cell)
                return -EINVAL;
        if (colour && scols_cell_set_color(cell, colour) < 0)
                return -ENOMEM;
        return scols_line_set_data(line, column, text);
}

struct libscols_table *output_table_labels(const Context *c) {
        static const Column columns[] = { { "LABEL", SCOLS_FL_RIGHT }, { "VALUE", SCOLS_FL_WRAP } };
        struct libscols_table *table = output_table(c, columns, ELEMENTSOF(columns));

        if (table)
                (void) scols_table_enable_noheadings(table, true);
        return table;
}

int output_label(struct libscols_table *table,
                 const char *label,
                 const char *colour,
                 const char *format,
                 ...) {
        _cleanup_free_ char *head = NULL, *value = NULL;
        struct libscols_line *line;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&value, format, ap);
        va_end(ap);
        if (r < 0 || asprintf(&head, "%s:", label) < 0)
                return -ENOMEM;

        line = scols_table_new_line(table, NULL);
        if (!line)
                return -ENOMEM;

        r = output_cell(line, 0, head, NULL);
        if (r < 0)
                return r;
        return output_cell(line, 1, value, colour);
}
