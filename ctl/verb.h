/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "context.h"

/* An option that only one verb has. What it was given is in context->options, at its place in the table. */
typedef struct VerbOption {
        const char *name;     /* without dashes */
        const char *argument; /* as the help shows it; NULL if it takes none */
        const char *summary;
} VerbOption;

typedef struct Verb {
        const char *name;
        const char *arguments; /* as the help shows them, or NULL */
        const char *summary;   /* a line of the tool's help */
        const char *help;      /* what the verb's own help says, with a line end */
        int min_arguments;
        int max_arguments;
        bool command; /* whether what is behind -- is context->command, and no arguments */
        const VerbOption *options;
        size_t n_options;
        /* Has the arguments behind the verb. Returns the exit status. */
        int (*run)(Context *context, int n, char *const arguments[]);
} Verb;

extern const Verb verb_claim;
extern const Verb verb_decode;
extern const Verb verb_inhibit;
extern const Verb verb_list;
extern const Verb verb_monitor;
extern const Verb verb_release;
extern const Verb verb_reset;
extern const Verb verb_show;
