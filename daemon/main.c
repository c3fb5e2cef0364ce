/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <getopt.h>
#include <libintl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "config-build.h"
#include "config.h"
#include "manager.h"
#include "names.h"

#define _(text) gettext(text)

/* A wrong command line, as other tools have it. */
#define EXIT_USAGE 2

typedef struct Options {
        ManagerOptions manager;
        int log_level; /* -1 if not given */
        bool done;     /* --help or --version */
} Options;

static void print_help(void) {
        (void) printf(
                _("Usage: %s [OPTION…]\n"
                  "\n"
                  "Publishes the error records of VFIO-bound zPCI functions as D-Bus signals and\n"
                  "journal entries.\n"
                  "\n"
                  "  -h, --help             Show this help\n"
                  "      --version          Show the version\n"
                  "      --policy=POLICY    What to do where nothing else decides:\n"
                  "                         observe (hold nothing, the default), claim (hold those\n"
                  "                         that are idle, for full records) or ignore\n"
                  "      --log-level=LEVEL  How much to say: err, warning, notice, info, debug\n"
                  "\n"
                  "Configuration: %s/zpci-errord.conf\n"
                  "Records: journalctl ZPCI_ADDRESS=0001:00:00.0\n"
                  "         busctl monitor org.zpci.Errord1\n"),
                program_invocation_short_name,
                SYSCONFDIR);
}

static int suggest_help(void) {
        (void) fprintf(stderr, _("Try '%s --help'.\n"), program_invocation_short_name);
        return -EINVAL;
}

static int usage_error(const char *format, const char *argument) {
        (void) fprintf(stderr, "%s: ", program_invocation_short_name);
        (void) fprintf(stderr, format, argument);
        (void) fprintf(stderr, "\n");
        return suggest_help();
}

/* Returns 0, or -EINVAL after a message that says what is wrong. */
static int parse_arguments(int argc, char *argv[], Options *ret) {
        enum {
                OPTION_VERSION = 256,
                OPTION_POLICY,
                OPTION_LOG_LEVEL
        };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, OPTION_VERSION },
                { "policy", required_argument, NULL, OPTION_POLICY },
                { "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
                { 0 },
        };
        int option;

        *ret = (Options){ .log_level = -1 };

        while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (option) {
                case 'h':
                        print_help();
                        ret->done = true;
                        return 0;
                case OPTION_VERSION:
                        (void) printf("%s %s\n", ERRORD_PROGRAM, VERSION);
                        ret->done = true;
                        return 0;
                case OPTION_POLICY:
                        if (policy_from_string(optarg) < 0)
                                return usage_error(
                                        _("unknown policy '%s': choose observe, claim or ignore"),
                                        optarg);
                        ret->manager.policy = optarg;
                        break;
                case OPTION_LOG_LEVEL:
                        ret->log_level = log_level_from_string(optarg);
                        if (ret->log_level < 0)
                                return usage_error(_("unknown log level '%s'"), optarg);
                        break;
                default:
                        return suggest_help();
                }

        if (optind < argc)
                return usage_error(_("unexpected argument '%s'"), argv[optind]);
        return 0;
}

/*
 * On a terminal people want to read what is said; under a service manager it belongs to the
 * journal, with fields.
 */
static void choose_log_target(Log *log) {
        log_set_target(log,
                       getenv("JOURNAL_STREAM") && !isatty(STDERR_FILENO) ? LOG_TARGET_JOURNAL
                                                                          : LOG_TARGET_CONSOLE);
}

int main(int argc, char *argv[]) {
        _cleanup_(log_freep) Log *log = NULL;
        _cleanup_(manager_freep) Manager *manager = NULL;
        Options options;
        int r;

        (void) setlocale(LC_ALL, "");
        (void) bindtextdomain(GETTEXT_PACKAGE, LOCALEDIR);
        (void) textdomain(GETTEXT_PACKAGE);

        if (parse_arguments(argc, argv, &options) < 0)
                return EXIT_USAGE;
        if (options.done)
                return EXIT_SUCCESS;

        if (log_new(&log) < 0)
                return EXIT_FAILURE;
        choose_log_target(log);
        if (options.log_level >= 0)
                log_set_level(log, options.log_level);

        if (manager_new(&options.manager, log, &manager) < 0)
                return EXIT_FAILURE;
        r = manager_run(manager);
        /* All there is to say is said, and the kernel closes what is open. */
        if (manager_hangs(manager))
                _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
