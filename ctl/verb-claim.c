/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>

#include "action.h"
#include "text.h"
#include "verb.h"

static int run(Context *c, int n, char *const arguments[]) {
        return action_run(c, n, arguments, "Claim", NULL);
}

const Verb verb_claim = {
        .name = "claim",
        .arguments = N_("ADDRESS…"),
        .summary = N_("Have the daemon hold PCI functions, for full error records"),
        .help = N_(
                "Has the daemon hold PCI functions whatever the policy says, until they are released or unbound:\n"
                "it takes full error records, and recovers the functions. Ends when it holds them. ADDRESS is\n"
                "a PCI address, fid:10, or pchid:104 for all functions of an adapter.\n"),
        .min_arguments = 1,
        .max_arguments = INT_MAX,
        .run = run,
};
