/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "text.h"

enum {
        ARGUMENT = 1, /* what getopt says of anything else, if asked to go on behind it */
        OPTION_VERSION = 256,
        OPTION_JSON,
        OPTION_NO_LEGEND,
        OPTION_NO_PAGER,
        OPTION_OF_VERB, /* the first one of the verb's own */
};

static const struct option common[] = {
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "host", required_argument, NULL, 'H' },
        { "json", required_argument, NULL, OPTION_JSON },
        { "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
        { "no-pager", no_argument, NULL, OPTION_NO_PAGER },
};

typedef struct option OptionTable[ELEMENTSOF(common) + CONTEXT_OPTIONS_MAX + 1];

/* Verb may be NULL. */
static void fill_table(OptionTable table, const Verb *verb) {
        size_t n = verb ? verb->n_options : 0;
        struct option *next = table + ELEMENTSOF(common);

        assert(n <= CONTEXT_OPTIONS_MAX);

        memcpy(table, common, sizeof(common));
        for (size_t i = 0; i < n; i++)
                *next++ = (struct option){
                        .name = verb->options[i].name,
                        .has_arg = verb->options[i].argument ? required_argument : no_argument,
                        .val = OPTION_OF_VERB + (int) i,
                };
        *next = (struct option){ 0 };
}

static Request take_json(Context *c, const char *mode) {
        static const char *const names[] = {
                [JSON_OFF] = "off",
                [JSON_SHORT] = "short",
                [JSON_PRETTY] = "pretty",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strcmp(names[i], mode) == 0) {
                        c->json = (JsonMode) i;
                        return REQUEST_RUN;
                }

        (void) fail_usage(_("Unknown JSON mode '%s': choose pretty, short or off"), mode);
        return REQUEST_NONE;
}

static Request take_host(Context *c, const char *host) {
        if (host[0] == '\0' || host[0] == '-') { /* ssh would take it for an option */
                (void) fail_usage(_("'%s' is no host"), host);
                return REQUEST_NONE;
        }

        c->host = host;
        return REQUEST_RUN;
}

/* One option, as getopt says it. */
static Request take(Context *c, int option) {
        switch (option) {
        case 'h':
                return REQUEST_HELP;
        case OPTION_VERSION:
                return REQUEST_VERSION;
        case 'H':
                return take_host(c, optarg);
        case OPTION_JSON:
                return take_json(c, optarg);
        case OPTION_NO_LEGEND:
                c->legend = false;
                return REQUEST_RUN;
        case OPTION_NO_PAGER:
                c->pager = false;
                return REQUEST_RUN;
        case '?': /* getopt said what is wrong */
                (void) fprintf(stderr, _("Try '%s --help'.\n"), ERRCTL_PROGRAM);
                return REQUEST_NONE;
        default:
                c->options[option - OPTION_OF_VERB] = optarg ? optarg : "";
                return REQUEST_RUN;
        }
}

Request options_parse(Context *c, int argc, char *argv[], int *ret) {
        Request request = REQUEST_RUN;
        OptionTable table;
        int option;

        assert(c);
        assert(ret);

        fill_table(table, NULL);
        while (request == REQUEST_RUN &&
               (option = getopt_long(argc, argv, "+hH:", table, NULL)) >= 0)
                request = take(c, option);

        *ret = optind;
        return request;
}

Request options_parse_verb(Context *c, const Verb *verb, int argc, char *argv[], int *ret) {
        Request request = REQUEST_RUN;
        OptionTable table;
        int option, n = 0;

        assert(c);
        assert(verb);
        assert(ret);

        argv[0] = (char *) ERRCTL_PROGRAM; /* for getopt's messages */
        optind = 0;                        /* begin anew */

        /* Would getopt itself put the arguments in order, it would be lost which are behind "--". */
        fill_table(table, verb);
        while (request == REQUEST_RUN &&
               (option = getopt_long(argc, argv, "-hH:", table, NULL)) >= 0)
                if (option == ARGUMENT)
                        argv[++n] = optarg;
                else
                        request = take(c, option);

        if (verb->command)
                c->command = argv + optind;
        else
                while (optind < argc)
                        argv[++n] = argv[optind++];

        *ret = n;
        return request;
}
