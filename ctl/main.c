/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "client.h"
#include "config-build.h"
#include "pager.h"
#include "text.h"
#include "verb.h"

#define SYNOPSIS_SIZE 80U
#define HELP_COLUMN   24 /* how wide commands and options are in the help */

/* In the order of the help. */
static const Verb *const verbs[] = { &verb_list, &verb_show, &verb_monitor, &verb_decode };

/* What the options ask for instead of running the verb. */
typedef enum Request {
        REQUEST_RUN,
        REQUEST_HELP,
        REQUEST_VERSION,
        REQUEST_NONE, /* they were wrong, and that was said */
} Request;

static void print_options(void) {
        (void) puts(_("Options:\n"
                      "  -h, --help                Show this help, or that of a command\n"
                      "      --version             Show the version\n"
                      "  -H, --host=[USER@]HOST    Ask the daemon of another machine, by ssh\n"
                      "      --json=pretty|short|off\n"
                      "                            Print JSON\n"
                      "      --no-legend           Print neither headings nor how many there are\n"
                      "      --no-pager            Do not start a pager"));
}

/* A command with its arguments, as the help shows it. */
static const char *synopsis(const Verb *verb, char text[static SYNOPSIS_SIZE]) {
        const char *arguments = verb->arguments ? _(verb->arguments) : NULL;

        (void) snprintf(text,
                        SYNOPSIS_SIZE,
                        "%s%s%s",
                        verb->name,
                        arguments ? " " : "",
                        arguments ? arguments : "");
        return text;
}

/* How many bytes more than columns a text has: in UTF-8, those that continue a character. */
static int continuation_bytes(const char *text) {
        int n = 0;

        for (; *text; text++)
                n += ((unsigned char) *text & 0xc0) == 0x80;
        return n;
}

static void print_help(void) {
        char text[SYNOPSIS_SIZE];

        (void) printf(_("Usage: %s [OPTION…] COMMAND [ARGUMENT…]\n"
                        "\n"
                        "Shows the PCI functions that zpci-errord watches, and their errors.\n"
                        "\n"
                        "Commands:\n"),
                      ERRCTL_PROGRAM);
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                int width = HELP_COLUMN + continuation_bytes(synopsis(verbs[i], text));

                (void) printf("  %-*s  %s\n", width, text, _(verbs[i]->summary));
        }
        (void) putchar('\n');
        print_options();
        (void) printf(_("\nThe manual: man %s\n"), ERRCTL_PROGRAM);
}

static void print_verb_help(const Verb *verb) {
        char text[SYNOPSIS_SIZE];

        (void) printf(_("Usage: %s [OPTION…] %s\n\n%s\n"),
                      ERRCTL_PROGRAM,
                      synopsis(verb, text),
                      _(verb->help));
        print_options();
}

static Request parse_json(Context *c, const char *mode) {
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

static Request parse_host(Context *c, const char *host) {
        if (host[0] == '\0' || host[0] == '-') { /* ssh would take it for an option */
                (void) fail_usage(_("'%s' is no host"), host);
                return REQUEST_NONE;
        }

        c->host = host;
        return REQUEST_RUN;
}

/*
 * Takes options up to the first other argument if stop_early, or from all of argv, whose other
 * arguments are at its end then. optind is the first of these.
 */
static Request parse_options(Context *c, int argc, char *argv[], bool stop_early) {
        enum {
                OPTION_VERSION = 256,
                OPTION_JSON,
                OPTION_NO_LEGEND,
                OPTION_NO_PAGER,
        };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, OPTION_VERSION },
                { "host", required_argument, NULL, 'H' },
                { "json", required_argument, NULL, OPTION_JSON },
                { "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
                { "no-pager", no_argument, NULL, OPTION_NO_PAGER },
                { 0 },
        };
        Request request = REQUEST_RUN;
        int option;

        optind = 0; /* begin anew */
        while (request == REQUEST_RUN &&
               (option = getopt_long(argc, argv, stop_early ? "+hH:" : "hH:", options, NULL)) >= 0)
                switch (option) {
                case 'h':
                        request = REQUEST_HELP;
                        break;
                case OPTION_VERSION:
                        request = REQUEST_VERSION;
                        break;
                case 'H':
                        request = parse_host(c, optarg);
                        break;
                case OPTION_JSON:
                        request = parse_json(c, optarg);
                        break;
                case OPTION_NO_LEGEND:
                        c->legend = false;
                        break;
                case OPTION_NO_PAGER:
                        c->pager = false;
                        break;
                default: /* getopt said what is wrong */
                        (void) fprintf(stderr, _("Try '%s --help'.\n"), ERRCTL_PROGRAM);
                        request = REQUEST_NONE;
                }
        return request;
}

static const Verb *find_verb(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (strcmp(verbs[i]->name, name) == 0)
                        return verbs[i];
        return NULL;
}

static int answer(Request request, const Verb *verb) {
        switch (request) {
        case REQUEST_HELP:
                if (verb)
                        print_verb_help(verb);
                else
                        print_help();
                return EXIT_DONE;
        case REQUEST_VERSION:
                (void) printf("%s %s\n", ERRCTL_PROGRAM, VERSION);
                return EXIT_DONE;
        default:
                return EXIT_USAGE;
        }
}

static int run(Context *c, int argc, char *argv[]) {
        char text[SYNOPSIS_SIZE];
        const Verb *verb;
        Request request;
        int n;

        request = parse_options(c, argc, argv, true);
        if (request != REQUEST_RUN)
                return answer(request, NULL);
        if (optind == argc)
                return fail_usage(_("Say what to do, for example: %s list"), ERRCTL_PROGRAM);

        verb = find_verb(argv[optind]);
        if (!verb)
                return fail_usage(_("Unknown command '%s'"), argv[optind]);

        /* The rest is the verb's, with the program's name in front for getopt's messages. */
        argc -= optind;
        argv += optind;
        argv[0] = (char *) ERRCTL_PROGRAM;
        request = parse_options(c, argc, argv, false);
        if (request != REQUEST_RUN)
                return answer(request, verb);

        n = argc - optind;
        if (n < verb->min_arguments || n > verb->max_arguments)
                return fail_usage(
                        _("Usage: %s [OPTION…] %s"), ERRCTL_PROGRAM, synopsis(verb, text));

        return verb->run(c, n, argv + optind);
}

/* Standard output as it is before a pager comes. */
static void look_at_terminal(Context *c) {
        const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR"); /* see no-color.org */
        struct winsize size;

        if (!isatty(STDOUT_FILENO))
                return;

        c->columns =
                ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) >= 0 && size.ws_col > 0 ? size.ws_col : 80;
        c->colours = (!no_color || !no_color[0]) && term && strcmp(term, "dumb") != 0;
}

int main(int argc, char *argv[]) {
        Context context = { .legend = true, .pager = true };
        int r, written;

        (void) setlocale(LC_ALL, "");
        (void) bindtextdomain(GETTEXT_PACKAGE, LOCALEDIR);
        (void) textdomain(GETTEXT_PACKAGE);

        look_at_terminal(&context);
        r = run(&context, argc, argv);
        client_disconnect(&context);
        written = pager_close(&context);
        return r != EXIT_DONE ? r : written;
}
