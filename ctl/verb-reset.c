/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>

#include "action.h"
#include "text.h"
#include "verb.h"

static int run(Context *c, int n, char *const arguments[]) {
        return action_run(c, n, arguments, "Reset", NULL);
}

const Verb verb_reset = {
        .name = "reset",
        .arguments = N_("ADDRESS…"),
        .summary = N_("Reset PCI functions that the daemon holds"),
        .help = N_(
                "Resets PCI functions that the daemon holds, which recovers them from an error. Ends when this is\n"
                "done. ADDRESS is a PCI address, fid:10, or pchid:104 for all functions of an adapter.\n"),
        .min_arguments = 1,
        .max_arguments = INT_MAX,
        .run = run,
};
