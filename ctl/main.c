/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "agent.h"
#include "client.h"
#include "config-build.h"
#include "options.h"
#include "pager.h"
#include "text.h"

#define SYNOPSIS_SIZE 80U
#define HELP_COLUMN   28                /* how wide commands and options are in the help */
#define OPTION_COLUMN (HELP_COLUMN - 6) /* the same without what is in front of a long option */

/* In the order of the help. */
static const Verb *const verbs[] = {
        &verb_list,  &verb_show,    &verb_monitor, &verb_decode,
        &verb_claim, &verb_release, &verb_reset,   &verb_inhibit,
};

/* How many bytes more than columns a text has: in UTF-8, those that continue a character. */
static int continuation_bytes(const char *text) {
        int n = 0;

        for (; *text; text++)
                n += ((unsigned char) *text & 0xc0) == 0x80;
        return n;
}

/* verb may be NULL. */
static void print_options(const Verb *verb) {
        char text[SYNOPSIS_SIZE];
        int width;

        (void) puts(_("Options:"));
        for (size_t i = 0; verb && i < verb->n_options; i++) {
                const VerbOption *option = &verb->options[i];

                (void) snprintf(text,
                                sizeof(text),
                                "%s%s%s",
                                option->name,
                                option->argument ? "=" : "",
                                option->argument ? option->argument : "");
                width = OPTION_COLUMN + continuation_bytes(text);
                (void) printf("      --%-*s  %s\n", width, text, _(option->summary));
        }
        (void) puts(
                _("  -h, --help                    Show this help, or that of a command\n"
                  "      --version                 Show the version\n"
                  "  -H, --host=[USER@]HOST        Ask the daemon of another machine, by ssh\n"
                  "      --json=pretty|short|off   Print JSON\n"
                  "      --no-legend               Print neither headings nor how many there are\n"
                  "      --no-pager                Do not start a pager"));
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

static void print_help(void) {
        char text[SYNOPSIS_SIZE];

        (void) printf(
                _("Usage: %s [OPTION…] COMMAND [ARGUMENT…]\n"
                  "\n"
                  "Shows the PCI functions that zpci-errord watches, and their errors, and has it hold\n"
                  "functions or keep its hands off them.\n"
                  "\n"
                  "Commands:\n"),
                ERRCTL_PROGRAM);
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                int width = HELP_COLUMN + continuation_bytes(synopsis(verbs[i], text));

                (void) printf("  %-*s  %s\n", width, text, _(verbs[i]->summary));
        }
        (void) putchar('\n');
        print_options(NULL);
        (void) printf(_("\nThe manual: man %s\n"), ERRCTL_PROGRAM);
}

static void print_verb_help(const Verb *verb) {
        char text[SYNOPSIS_SIZE];

        (void) printf(_("Usage: %s [OPTION…] %s\n\n%s\n"),
                      ERRCTL_PROGRAM,
                      synopsis(verb, text),
                      _(verb->help));
        print_options(verb);
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

        request = options_parse(c, argc, argv, &n);
        if (request != REQUEST_RUN)
                return answer(request, NULL);
        if (n == argc)
                return fail_usage(_("Say what to do, for example: %s list"), ERRCTL_PROGRAM);

        verb = find_verb(argv[n]);
        if (!verb)
                return fail_usage(_("Unknown command '%s'"), argv[n]);

        argc -= n;
        argv += n;
        request = options_parse_verb(c, verb, argc, argv, &n);
        if (request != REQUEST_RUN)
                return answer(request, verb);
        if (n < verb->min_arguments || n > verb->max_arguments)
                return fail_usage(
                        _("Usage: %s [OPTION…] %s"), ERRCTL_PROGRAM, synopsis(verb, text));

        return verb->run(c, n, argv + 1);
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
        agent_close(&context);
        written = pager_close(&context);
        return r != EXIT_DONE ? r : written;
}
