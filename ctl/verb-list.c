/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "describe.h"
#include "functions.h"
#include "output.h"
#include "pager.h"
#include "text.h"
#include "verb.h"

#define CELL_SIZE (DESCRIBE_SIZE + TIME_SIZE)

enum {
        COLUMN_ADDRESS,
        COLUMN_FID,
        COLUMN_PCHID,
        COLUMN_TYPE,
        COLUMN_DRIVER,
        COLUMN_STATE,
        COLUMN_REASON,
        COLUMN_RECORDS,
        COLUMN_LOST,
        COLUMN_LAST_ERROR,
        _COLUMN_MAX,
};

static const Column columns[_COLUMN_MAX] = {
        [COLUMN_ADDRESS] = { "ADDRESS" },
        [COLUMN_FID] = { "FID" },
        [COLUMN_PCHID] = { "PCHID" },
        [COLUMN_TYPE] = { "TYPE" },
        [COLUMN_DRIVER] = { "DRIVER" },
        [COLUMN_STATE] = { "STATE" },
        [COLUMN_REASON] = { "REASON" },
        [COLUMN_RECORDS] = { "RECORDS", SCOLS_FL_RIGHT },
        [COLUMN_LOST] = { "LOST", SCOLS_FL_RIGHT },
        [COLUMN_LAST_ERROR] = { "LAST-ERROR", SCOLS_FL_TRUNC }, /* the time goes first */
};

/* One cell; an empty one would be hard to see, and to take apart in a script. */
_printf_(4, 5) static int cell(
        struct libscols_line *line, size_t column, const char *colour, const char *format, ...) {
        char text[CELL_SIZE];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        return output_cell(line, column, text[0] ? text : "-", colour);
}

static const char *state_colour(const char *state) {
        if (strcmp(state, "failed") == 0)
                return COLOUR_BAD;
        return strcmp(state, "claimed") == 0 || strcmp(state, "delegated") == 0 ? COLOUR_GOOD
                                                                                : NULL;
}

static int last_error_cell(struct libscols_line *line, json_object *function) {
        char time[TIME_SIZE], name[DESCRIBE_SIZE];

        if (value_number(function, "last_error_usec") == 0)
                return cell(line, COLUMN_LAST_ERROR, NULL, "-");

        describe_time(value_number(function, "last_error_usec"), time);
        describe_pec((uint16_t) value_number(function, "last_pec"), name);
        return cell(line, COLUMN_LAST_ERROR, NULL, "%s %s", name, time);
}

static int add_function(struct libscols_table *table, json_object *function) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        const char *state = value_text(function, "state");
        uint64_t lost = value_number(function, "lost");

        if (!line)
                return -ENOMEM;

        if (cell(line, COLUMN_ADDRESS, NULL, "%s", value_text(function, "address")) < 0 ||
            cell(line, COLUMN_FID, NULL, "0x%08" PRIx64, value_number(function, "fid")) < 0 ||
            cell(line, COLUMN_PCHID, NULL, "0x%04" PRIx64, value_number(function, "pchid")) < 0 ||
            cell(line, COLUMN_TYPE, NULL, "%s", value_text(function, "pft_name")) < 0 ||
            cell(line, COLUMN_DRIVER, NULL, "%s", value_text(function, "driver")) < 0 ||
            cell(line, COLUMN_STATE, state_colour(state), "%s", state) < 0 ||
            cell(line, COLUMN_REASON, NULL, "%s", value_text(function, "state_reason")) < 0 ||
            cell(line, COLUMN_RECORDS, NULL, "%" PRIu64, value_number(function, "records")) < 0 ||
            cell(line, COLUMN_LOST, lost > 0 ? COLOUR_WARN : NULL, "%" PRIu64, lost) < 0)
                return -ENOMEM;

        return last_error_cell(line, function);
}

static int print_table(Context *c, json_object *functions) {
        _cleanup_(scols_unref_tablep) struct libscols_table *table = NULL;
        size_t n = json_object_array_length(functions);

        if (n == 0) {
                if (c->legend)
                        (void) puts(_("No PCI function is bound to a VFIO driver."));
                return EXIT_DONE;
        }

        table = output_table(c, columns, ELEMENTSOF(columns));
        if (!table)
                return fail_memory();

        for (size_t i = 0; i < n; i++)
                if (add_function(table, json_object_array_get_idx(functions, i)) < 0)
                        return fail_memory();

        pager_open(c);
        if (scols_print_table(table) < 0)
                return fail_memory();
        if (c->legend)
                (void) printf(ngettext("\n%zu function listed.\n", "\n%zu functions listed.\n", n),
                              n);
        return EXIT_DONE;
}

static int run(Context *c, int n, char *const arguments[]) {
        _cleanup_(json_putp) json_object *functions = NULL;
        int r;

        assert(c);

        r = functions_get(c, &functions);
        if (r != EXIT_DONE)
                return r;

        if (c->json == JSON_OFF)
                return print_table(c, functions);

        if (c->json == JSON_PRETTY)
                pager_open(c);
        output_json(c, functions);
        return EXIT_DONE;
}

const Verb verb_list = {
        .name = "list",
        .summary = N_("List the PCI functions, and what their errors were"),
        .help = N_(
                "Lists the PCI functions that are bound to a VFIO driver, whether the daemon holds them,\n"
                "how many errors they reported, how many of these were lost, and the last one.\n"),
        .run = run,
};
