/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * libvirt starts no guest whose hook fails, and waits for as long as a hook runs. So the work is
 * done by a child, and the parent comes to a good end in time whatever becomes of it.
 */

#include <fcntl.h>
#include <libintl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "config-build.h"
#include "hook.h"
#include "input.h"
#include "journal-line.h"
#include "names.h"

#define _(text) gettext(text)

/* From the start: until the child gives up and says so, and until nobody waits for it any more. */
#define PATIENCE_USEC (1300 * USEC_PER_MSEC)
#define LIMIT_USEC    (1600 * USEC_PER_MSEC)

typedef struct Arguments {
        const char *guest;
        const char *operation;
        const char *suboperation;
} Arguments;

static void print_help(void) {
        (void) printf(
                _("Usage: %s GUEST OPERATION SUB-OPERATION EXTRA < DOMAIN-XML\n"
                  "\n"
                  "A hook of libvirt's QEMU driver. It has zpci-errord let go of the PCI functions\n"
                  "that a guest is given, and take them back after its end. It never keeps a guest\n"
                  "from starting: what goes wrong is in the journal.\n"
                  "\n"
                  "  -h, --help     Show this help\n"
                  "      --version  Show the version\n"
                  "\n"
                  "What it said: journalctl -t %s\n"),
                program_invocation_short_name,
                ERRORD_HOOK_PROGRAM);
}

/* Returns whether they are libvirt's. Otherwise it told people what they want to know. */
static bool parse_arguments(int argc, char *argv[], Arguments *ret) {
        if (argc >= 5) {
                *ret = (Arguments){ argv[1], argv[2], argv[3] };
                return true;
        }

        (void) setlocale(LC_ALL, "");
        (void) bindtextdomain(GETTEXT_PACKAGE, LOCALEDIR);
        (void) textdomain(GETTEXT_PACKAGE);

        if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
                print_help();
        else if (argc == 2 && strcmp(argv[1], "--version") == 0)
                (void) printf("%s %s\n", ERRORD_HOOK_PROGRAM, VERSION);
        else
                (void) fprintf(stderr,
                               _("%s: libvirt calls this with four arguments. Try '%s --help'.\n"),
                               program_invocation_short_name,
                               program_invocation_short_name);
        return false;
}

static _Noreturn void
child_run(const HookOperation *operation, const char *guest, uint64_t start_usec, Log *log) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        /* Of some operations libvirt reads an answer from there: no library knows that. */
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0)
                (void) close(STDOUT_FILENO);

        hook_run(operation, guest, start_usec + PATIENCE_USEC, log);
        _exit(EXIT_SUCCESS);
}

/* Waits until the child is gone, which closes its end of the pipe. Returns 0 or -errno. */
static int child_wait(pid_t child, int alive, uint64_t deadline_usec, int *ret_status) {
        int r = input_wait(alive, deadline_usec);

        if (r < 0) {
                (void) kill(child, SIGKILL);
                return r;
        }
        return waitpid(child, ret_status, 0) < 0 ? -errno : 0;
}

static int
supervise(const HookOperation *operation, const char *guest, uint64_t start_usec, Log *log) {
        _cleanup_close_ int ours = -EBADF, childs = -EBADF;
        int fds[2], status, r;
        pid_t child;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return log_error(log, -errno, "Cannot make a pipe");
        ours = fds[0];
        childs = fds[1];

        child = fork();
        if (child < 0)
                return log_error(log, -errno, "Cannot fork");
        if (child == 0)
                child_run(operation, guest, start_usec, log);
        childs = safe_close(childs);

        r = child_wait(child, ours, start_usec + LIMIT_USEC, &status);
        if (r < 0)
                return log_error(log, r, "The hook was given up");
        if (WIFSIGNALED(status))
                return log_error(log, 0, "The hook was ended by signal %d", WTERMSIG(status));
        return 0;
}

int main(int argc, char *argv[]) {
        uint64_t start_usec = now_usec(CLOCK_MONOTONIC);
        JournalLine journal = {
                .program = ERRORD_HOOK_PROGRAM,
                .socket_path = JOURNAL_LINE_SOCKET,
        };
        _cleanup_(log_freep) Log *log = NULL;
        const HookOperation *operation;
        Arguments arguments;

        (void) signal(SIGPIPE, SIG_IGN);
        (void) signal(SIGCHLD, SIG_DFL);

        if (!parse_arguments(argc, argv, &arguments))
                return EXIT_SUCCESS;

        operation = hook_operation_find(arguments.operation, arguments.suboperation);
        if (!operation || log_new(&log) < 0)
                return EXIT_SUCCESS;
        log_set_program(log, ERRORD_HOOK_PROGRAM);
        log_set_sink(log, journal_line_send, &journal);
        log_set_target(log, LOG_TARGET_JOURNAL);

        (void) supervise(operation, arguments.guest, start_usec, log);
        return EXIT_SUCCESS;
}
