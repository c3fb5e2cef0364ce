/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "agent.h"

/* How long it may take to tell polkit that it is there. It takes a second on a busy machine. */
#define READY_MSEC 10000

_Noreturn static void run_agent(int ready, pid_t parent) {
        char number[16];

        /* The parent may be gone already. */
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent ||
            fcntl(ready, F_SETFD, 0) < 0)
                _exit(EXIT_FAILURE);

        (void) snprintf(number, sizeof(number), "%d", ready);
        (void) execlp("pkttyagent", "pkttyagent", "--notify-fd", number, "--fallback", NULL);
        _exit(EXIT_FAILURE);
}

void agent_open(Context *c) {
        struct pollfd ready = { 0 }; /* hung up once it is ready, or was not to be started */
        pid_t self = getpid();
        int fds[2];

        assert(c);

        /* Standard input, since this is about what people type. */
        if (c->agent_pid > 0 || c->host || geteuid() == 0 || !isatty(STDIN_FILENO))
                return;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return;

        c->agent_pid = fork();
        if (c->agent_pid == 0)
                run_agent(fds[1], self);
        (void) close(fds[1]);

        ready.fd = fds[0];
        if (c->agent_pid > 0)
                (void) poll(&ready, 1, READY_MSEC);
        (void) close(fds[0]);
}

void agent_close(Context *c) {
        assert(c);

        if (c->agent_pid <= 0)
                return;

        (void) kill(c->agent_pid, SIGTERM);
        (void) kill(c->agent_pid, SIGCONT); /* it may have been stopped, for reading the terminal */
        while (waitpid(c->agent_pid, NULL, 0) < 0 && errno == EINTR)
                ;
        c->agent_pid = 0;
}
