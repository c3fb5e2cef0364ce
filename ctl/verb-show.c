/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "describe.h"
#include "functions.h"
#include "output.h"
#include "pager.h"
#include "pec.h"
#include "text.h"
#include "verb.h"

static uint64_t number(json_object *function, const char *key) {
        return value_number(function, key);
}

static int add_identity(struct libscols_table *t, json_object *f) {
        int r;

        r = output_label(t, _("Address"), NULL, "%s", value_text(f, "address"));
        if (r >= 0)
                r = output_label(t, "FID", NULL, "0x%08" PRIx64, number(f, "fid"));
        if (r >= 0)
                r = output_label(t, "UID", NULL, "0x%" PRIx64, number(f, "uid"));
        if (r >= 0)
                r = output_label(t, "PCHID", NULL, "0x%04" PRIx64, number(f, "pchid"));
        if (r >= 0)
                r = output_label(t, "PFGID", NULL, "0x%02" PRIx64, number(f, "pfgid"));
        if (r >= 0)
                r = output_label(t, "VFN", NULL, "0x%04" PRIx64, number(f, "vfn"));
        if (r >= 0)
                r = output_label(t,
                                 _("Type"),
                                 NULL,
                                 "%s (0x%02" PRIx64 ")",
                                 value_text(f, "pft_name"),
                                 number(f, "pft"));
        if (r >= 0)
                r = output_label(t, _("Driver"), NULL, "%s", value_text(f, "driver"));
        if (r >= 0)
                r = output_label(t,
                                 _("Function handle"),
                                 NULL,
                                 "0x%08" PRIx64,
                                 number(f, "function_handle"));
        return r;
}

static int add_state(struct libscols_table *t, json_object *f) {
        const char *state = value_text(f, "state"), *reason = value_text(f, "state_reason");
        const char *meaning = describe_state(state, reason), *holder = value_text(f, "holder");
        int r;

        r = output_label(t,
                         _("State"),
                         strcmp(state, "failed") == 0 ? COLOUR_BAD : NULL,
                         "%s%s%s%s%s%s",
                         state,
                         reason[0] ? " (" : "",
                         reason,
                         reason[0] ? ")" : "",
                         meaning ? ": " : "",
                         meaning ? meaning : "");
        if (r >= 0)
                r = output_label(t, _("Holder"), NULL, "%s", holder[0] ? holder : "-");
        return r;
}

static int add_recovery(struct libscols_table *t, json_object *f) {
        const char *recovery = value_text(f, "recovery");

        return output_label(t,
                            _("Recovery"),
                            strcmp(recovery, "failed") == 0 ? COLOUR_BAD : NULL,
                            "%s",
                            recovery);
}

static int add_last_error(struct libscols_table *t, json_object *f) {
        uint64_t usec = number(f, "last_error_usec");
        Pec pec = pec_describe((uint16_t) number(f, "last_pec"));
        char time[TIME_SIZE];

        if (usec == 0)
                return output_label(t, _("Last error"), NULL, "-");

        describe_time(usec, time);
        if (pec.code == 0)
                return output_label(t, _("Last error"), NULL, _("%s, code unknown"), time);
        return output_label(t,
                            _("Last error"),
                            pec.severity == PEC_PERMANENT ? COLOUR_BAD : NULL,
                            "%s, %s (PEC 0x%04" PRIx16 ")%s%s",
                            time,
                            pec.name,
                            pec.code,
                            pec.meaning ? ": " : "",
                            pec.meaning ? pec.meaning : "");
}

static int add_errors(struct libscols_table *t, json_object *f) {
        uint64_t lost = number(f, "lost");
        int r;

        r = output_label(t, _("Error interface"), NULL, "%s", value_text(f, "error_interface"));
        if (r >= 0)
                r = output_label(t, _("Records"), NULL, "%" PRIu64, number(f, "records"));
        if (r >= 0)
                r = output_label(t, _("Lost"), lost > 0 ? COLOUR_WARN : NULL, "%" PRIu64, lost);
        if (r >= 0)
                r = add_last_error(t, f);
        return r;
}

static int print_text(Context *c, json_object *function) {
        _cleanup_(scols_unref_tablep) struct libscols_table *table = output_table_labels(c);

        if (!table || add_identity(table, function) < 0 || add_state(table, function) < 0 ||
            add_recovery(table, function) < 0 || add_errors(table, function) < 0 ||
            scols_print_table(table) < 0)
                return fail_memory();
        return EXIT_DONE;
}

static int run(Context *c, int n, char *const arguments[]) {
        _cleanup_(json_putp) json_object *functions = NULL;
        int r;

        assert(c);

        r = functions_select(c, SELECT_TO_READ, n, arguments, &functions);
        if (r != EXIT_DONE)
                return r;

        if (c->json != JSON_SHORT)
                pager_open(c);
        for (size_t i = 0; i < json_object_array_length(functions) && r == EXIT_DONE; i++) {
                json_object *function = json_object_array_get_idx(functions, i);

                if (c->json != JSON_OFF) {
                        output_json(c, function);
                        continue;
                }
                if (i > 0)
                        (void) putchar('\n');
                r = print_text(c, function);
        }
        return r;
}

const Verb verb_show = {
        .name = "show",
        .arguments = N_("ADDRESS…"),
        .summary = N_("Show all about a PCI function"),
        .help = N_(
                "Shows all that the daemon knows about a PCI function. ADDRESS is a PCI address or a unique\n"
                "part of it, fid:10, or pchid:104 for all functions of an adapter.\n"),
        .min_arguments = 1,
        .max_arguments = INT_MAX,
        .run = run,
};
