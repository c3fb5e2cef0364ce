/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The options of the command line. */

#include "verb.h"

/* What the options ask for instead of running the verb. */
typedef enum Request {
        REQUEST_RUN,
        REQUEST_HELP,
        REQUEST_VERSION,
        REQUEST_NONE, /* they were wrong, and that was said */
} Request;

/* Takes the options in front of the verb. *ret is where that is in argv; argc if it is not there. */
Request options_parse(Context *context, int argc, char *argv[], int *ret);

/*
 * Takes those behind the verb, which is argv[0], wherever they are among its arguments. The *ret
 * arguments are at argv[1] then.
 */
Request options_parse_verb(Context *context, const Verb *verb, int argc, char *argv[], int *ret);
