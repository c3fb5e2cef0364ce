/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "command.h"
#include "context.h"
#include "text.h"

enum {
        EXIT_CANNOT_RUN = 126,
        EXIT_NOT_FOUND = 127,
        EXIT_SIGNAL = 128, /* and the number of the signal */
};

static void fill_signals(sigset_t *set) {
        static const int passed_on[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };

        (void) sigemptyset(set);
        (void) sigaddset(set, SIGCHLD);
        for (size_t i = 0; i < ELEMENTSOF(passed_on); i++)
                (void) sigaddset(set, passed_on[i]);
}

_Noreturn static void run_child(char *const command[], const sigset_t *mask) {
        int error;

        (void) sigprocmask(SIG_SETMASK, mask, NULL);
        (void) execvp(command[0], command);
        error = errno;
        say(_("Cannot run '%s': %s"), command[0], strerror(error));
        _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

/* Whether the child did not get a signal that we got. */
static bool is_ours_alone(const siginfo_t *info, pid_t child) {
        bool of_kernel = info->si_code > 0; /* the terminal sends to all in the foreground */

        return info->si_signo != SIGCHLD && !of_kernel && info->si_pid != child;
}

/* All of the signals are blocked. Returns what waitpid(2) says of the child once it ended. */
static int wait_child(pid_t child, const sigset_t *signals) {
        siginfo_t info;
        int status;

        while (waitpid(child, &status, WNOHANG) != child)
                if (sigwaitinfo(signals, &info) >= 0 && is_ours_alone(&info, child))
                        (void) kill(child, info.si_signo);
        return status;
}

/* Whoever started us sees what became of the command. */
static int die_by(int number) {
        sigset_t set;

        (void) prctl(PR_SET_DUMPABLE, 0); /* one core file is enough */
        (void) sigemptyset(&set);
        (void) sigaddset(&set, number);
        (void) signal(number, SIG_DFL);
        (void) sigprocmask(SIG_UNBLOCK, &set, NULL);
        (void) raise(number);
        return EXIT_SIGNAL + number;
}

int command_run(char *const command[]) {
        sigset_t signals, mask;
        pid_t child;
        int status;

        assert(command && command[0]);

        /* Blocked before there is a child: what comes meanwhile waits. */
        fill_signals(&signals);
        (void) sigprocmask(SIG_BLOCK, &signals, &mask);
        (void) signal(SIGCHLD, SIG_DFL); /* ignored, the kernel would not keep the exit status */

        child = fork();
        if (child == 0)
                run_child(command, &mask);

        status = child > 0 ? wait_child(child, &signals) : -errno;
        (void) sigprocmask(SIG_SETMASK, &mask, NULL);
        if (child < 0)
                return fail(_("Cannot run '%s': %s"), command[0], strerror(-status));

        return WIFSIGNALED(status) ? die_by(WTERMSIG(status)) : WEXITSTATUS(status);
}
