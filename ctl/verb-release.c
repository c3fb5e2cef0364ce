/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>

#include "action.h"
#include "parse.h"
#include "text.h"
#include "verb.h"

enum {
        OPTION_GRACE,
        OPTION_WHO,
        _OPTION_MAX,
};

static const VerbOption options[_OPTION_MAX] = {
        [OPTION_GRACE] = { "grace", N_("TIMESPAN"), N_("For that long only, at most a day") },
        [OPTION_WHO] = { "who", N_("TEXT"), N_("Who gets them") },
};

/* 0, the same as none, is until somebody claims it. */
static int parse_grace(const Context *c, uint64_t *ret) {
        const char *text = c->options[OPTION_GRACE];

        *ret = 0;
        return text ? parse_span(text, ret) : 0;
}

static int append(const Context *c, sd_bus_message *call) {
        const char *who = c->options[OPTION_WHO];
        uint64_t grace;
        int r;

        r = parse_grace(c, &grace);
        if (r < 0)
                return r;

        return who ? sd_bus_message_append(call, "ta{sv}", grace, 1, "who", "s", who)
                   : sd_bus_message_append(call, "ta{sv}", grace, 0);
}

static int run(Context *c, int n, char *const arguments[]) {
        uint64_t grace;

        if (parse_grace(c, &grace) < 0)
                return fail_usage(_("'%s' is no time span: give for example 30s, 5min or 2h"),
                                  c->options[OPTION_GRACE]);

        return action_run(c, n, arguments, "Release", append);
}

const Verb verb_release = {
        .name = "release",
        .arguments = N_("ADDRESS…"),
        .summary = N_("Have the daemon let go of PCI functions"),
        .help = N_(
                "Has the daemon let go of PCI functions, for whoever wants to open their devices, until they are\n"
                "claimed or unbound, or the grace is over. Ends when the devices are closed. ADDRESS is a PCI\n"
                "address, fid:10, or pchid:104 for all functions of an adapter.\n"),
        .min_arguments = 1,
        .max_arguments = INT_MAX,
        .options = options,
        .n_options = _OPTION_MAX,
        .run = run,
};
