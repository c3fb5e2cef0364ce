/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "describe.h"
#include "functions.h"
#include "monitor.h"
#include "output.h"
#include "text.h"
#include "verb.h"

/* "event" in JSON. */
static const char *const event_names[_MONITOR_EVENT_MAX] = {
        [MONITOR_ERROR] = "error",
        [MONITOR_LOST] = "records-lost",
        [MONITOR_RECOVERY] = "recovery",
        [MONITOR_MISSED] = "records-missed",
};

typedef struct Printer {
        const Context *context;
        json_object *functions; /* those that are followed; NULL for all */
} Printer;

/* A FID is the function's identity: it may have been at another address when we began. */
static bool is_followed(const Printer *p, json_object *object) {
        if (!p->functions || !value_exists(object, "fid"))
                return true;

        for (size_t i = 0; i < json_object_array_length(p->functions); i++)
                if (value_number(json_object_array_get_idx(p->functions, i), "fid") ==
                    value_number(object, "fid"))
                        return true;
        return false;
}

/* The event goes first, as people look for it there. */
static void print_json(const Printer *p, MonitorEvent event, json_object *object) {
        _cleanup_(json_putp) json_object *line = json_object_new_object();

        if (!line || value_add_text(line, "event", event_names[event]) < 0)
                return;
        json_object_object_foreach(object, key, value)(void)
                json_object_object_add(line, key, json_object_get(value));
        output_json(p->context, line);
}

static const char *error_colour(json_object *error) {
        return strcmp(value_text(error, "severity"), "informational") == 0 ? NULL : COLOUR_BAD;
}

static const char *recovery_colour(const char *recovery) {
        if (strcmp(recovery, "failed") == 0)
                return COLOUR_BAD;
        return strcmp(recovery, "recovered") == 0 ? COLOUR_GOOD : NULL;
}

/* What happened, without when and to whom, and its colour. */
static const char *
describe_event(MonitorEvent event, json_object *object, char text[static DESCRIBE_SIZE]) {
        const char *recovery = value_text(object, "recovery");
        uint64_t count = value_number(object, "count");

        switch (event) {
        case MONITOR_ERROR:
                describe_error(object, text);
                return error_colour(object);
        case MONITOR_RECOVERY:
                (void) snprintf(text, DESCRIBE_SIZE, "%s", describe_recovery(recovery));
                return recovery_colour(recovery);
        case MONITOR_LOST:
                (void) snprintf(text,
                                DESCRIBE_SIZE,
                                ngettext("%llu error was lost: the kernel's queue was full",
                                         "%llu errors were lost: the kernel's queue was full",
                                         count),
                                (unsigned long long) count);
                return COLOUR_WARN;
        default:
                (void) snprintf(
                        text,
                        DESCRIBE_SIZE,
                        ngettext(
                                "%llu error came meanwhile that the daemon has no more, see the journal",
                                "%llu errors came meanwhile that the daemon has no more, see the journal",
                                count),
                        (unsigned long long) count);
                return COLOUR_WARN;
        }
}

static void print_text(const Printer *p, MonitorEvent event, json_object *object) {
        char line[TIME_SIZE + 2 * DESCRIBE_SIZE + 4], time[TIME_SIZE];
        char who[DESCRIBE_SIZE] = "", what[DESCRIBE_SIZE];
        const char *colour;

        describe_time_msec(event == MONITOR_ERROR ? value_number(object, "realtime_usec")
                                                  : now_usec(CLOCK_REALTIME),
                           time);
        if (value_exists(object, "fid"))
                describe_function(object, who);
        colour = describe_event(event, object, what);

        (void) snprintf(line, sizeof(line), "%s %s%s%s", time, who, who[0] ? ": " : "", what);
        output_line(p->context, colour, line);
}

static void on_event(MonitorEvent event, json_object *object, void *userdata) {
        const Printer *p = userdata;

        if (!is_followed(p, object))
                return;
        if (p->context->json == JSON_OFF)
                print_text(p, event, object);
        else
                print_json(p, event, object);
}

static int on_idle(void *userdata) {
        if (fflush(stdout) == 0 && !ferror(stdout))
                return EXIT_DONE;
        return fail(_("Cannot write the output: %s"), strerror(errno));
}

static int run(Context *c, int n, char *const arguments[]) {
        _cleanup_(json_putp) json_object *functions = NULL;
        Printer printer = { .context = c };
        const MonitorListener listener = { on_event, on_idle, &printer };
        int r;

        assert(c);

        if (n > 0) {
                r = functions_select(c, SELECT_TO_READ, n, arguments, &functions);
                if (r != EXIT_DONE)
                        return r;
                printer.functions = functions;
        }

        return monitor_run(c, &listener);
}

const Verb verb_monitor = {
        .name = "monitor",
        .arguments = N_("[ADDRESS…]"),
        .summary = N_("Print errors as they happen"),
        .help = N_(
                "Prints each error of the PCI functions that are named, or of all, from now on until it is\n"
                "interrupted: one line each. Goes on when the daemon or the bus is restarted, and prints what\n"
                "happened meanwhile. ADDRESS is a PCI address or a unique part of it, fid:10, or pchid:104\n"
                "for all functions of an adapter.\n"),
        .max_arguments = INT_MAX,
        .run = run,
};
