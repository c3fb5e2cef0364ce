/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "context.h"

typedef struct Verb {
        const char *name;
        const char *arguments; /* as the help shows them, or NULL */
        const char *summary;   /* a line of the tool's help */
        const char *help;      /* what the verb's own help says, with a line end */
        int min_arguments;
        int max_arguments;
        /* Has the arguments behind the verb. Returns the exit status. */
        int (*run)(Context *context, int n, char *const arguments[]);
} Verb;

extern const Verb verb_decode;
extern const Verb verb_list;
extern const Verb verb_monitor;
extern const Verb verb_show;
