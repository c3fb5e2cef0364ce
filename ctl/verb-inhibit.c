/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "agent.h"
#include "client.h"
#include "command.h"
#include "functions.h"
#include "inhibitors.h"
#include "text.h"
#include "verb.h"

enum {
        OPTION_WHO,
        OPTION_WHY,
        OPTION_LIST,
        _OPTION_MAX,
};

static const VerbOption options[_OPTION_MAX] = {
        [OPTION_WHO] = { "who",
                         N_("TEXT"),
                         N_("Who needs them; the name of COMMAND if not given") },
        [OPTION_WHY] = { "why", N_("TEXT"), N_("What for") },
        [OPTION_LIST] = { "list", NULL, N_("List who keeps the daemon from which functions") },
};

/* The name of the program, since a command line would be too long. */
static const char *default_who(char *const command[]) {
        const char *slash = strrchr(command[0], '/');

        return slash && slash[1] ? slash + 1 : command[0];
}

static int inhibit(Context *c, int n, char *const arguments[]) {
        _cleanup_(json_putp) json_object *functions = NULL;
        const char *who = c->options[OPTION_WHO], *why = c->options[OPTION_WHY];
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = functions_select(c, SELECT_TO_COME, n, arguments, &functions);
        if (r != EXIT_DONE)
                return r;

        r = inhibitors_take(c, functions, who ? who : default_who(c->command), why ? why : "", &fd);
        if (r != EXIT_DONE)
                return r;

        /* The command has the terminal for itself, and nobody reads the bus from now on. */
        agent_close(c);
        client_disconnect(c);
        return command_run(c->command);
}

static int run(Context *c, int n, char *const arguments[]) {
        bool command;

        assert(c);

        command = c->command[0];
        if (c->host)
                return fail_usage(_("'%s' works on this machine only"), "inhibit");
        if (c->options[OPTION_LIST])
                return n == 0 && !command
                               ? inhibitors_list(c)
                               : fail_usage(_("'%s' takes no arguments"), "inhibit --list");
        if (n == 0 || !command)
                return fail_usage(_("Say which functions, and behind -- what to run, for example: "
                                    "%s inhibit 0001:00:00.0 -- qemu-system-s390x …"),
                                  ERRCTL_PROGRAM);
        return inhibit(c, n, arguments);
}

const Verb verb_inhibit = {
        .name = "inhibit",
        .arguments = N_("ADDRESS… -- COMMAND…"),
        .summary = N_("Run a command that needs PCI functions for itself"),
        .help = N_(
                "Has the daemon let go of PCI functions, runs a command, and keeps the daemon's hands off them\n"
                "until the command ends. Passes on signals and the exit status. ADDRESS is a PCI address, also\n"
                "of a function that is not there yet, fid:10, or pchid:104 for all functions of an adapter.\n"),
        .max_arguments = INT_MAX,
        .command = true,
        .options = options,
        .n_options = _OPTION_MAX,
        .run = run,
};
