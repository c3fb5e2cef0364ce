/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "pager.h"
#include "text.h"

/* $SYSTEMD_PAGER, then $PAGER; NULL if neither is set. */
static const char *chosen_pager(void) {
        const char *pager = getenv("SYSTEMD_PAGER");

        return pager ? pager : getenv("PAGER");
}

_Noreturn static void run_pager(int input) {
        const char *pager = chosen_pager();

        if (dup2(input, STDIN_FILENO) < 0)
                _exit(EXIT_FAILURE);

        /* Chop long lines, keep colours, end by itself if it fits. Whoever may run us as another user shall
         * not get a shell or files of that user by way of less. */
        (void) setenv("LESS", "FRSXMK", 0);
        (void) setenv("LESSCHARSET", "utf-8", 0);
        (void) setenv("LESSSECURE", "1", 1);

        if (pager)
                (void) execlp("sh", "sh", "-c", pager, NULL);
        (void) execlp("less", "less", NULL);
        (void) execlp("more", "more", NULL);
        (void) execlp("cat", "cat", NULL);
        _exit(EXIT_FAILURE);
}

void pager_open(Context *c) {
        const char *pager = chosen_pager();
        int fds[2];
        pid_t pid;

        assert(c);

        if (!c->pager || c->pager_pid > 0 || c->columns == 0)
                return;
        if (pager && (pager[0] == '\0' || strcmp(pager, "cat") == 0))
                return;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return;

        pid = fork();
        if (pid == 0)
                run_pager(fds[0]);
        if (pid > 0 && dup2(fds[1], STDOUT_FILENO) >= 0) {
                c->pager_pid = pid;
                (void) signal(SIGPIPE, SIG_IGN); /* people may leave it before the end */
        }
        (void) close(fds[0]);
        (void) close(fds[1]);
}

int pager_close(Context *c) {
        bool written;
        int error;

        assert(c);

        written = !ferror(stdout) && fclose(stdout) == 0;
        error = errno;

        if (c->pager_pid > 0) {
                while (waitpid(c->pager_pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                c->pager_pid = 0;
                written = written || error == EPIPE;
        }

        return written ? EXIT_DONE : fail(_("Cannot write the output: %s"), strerror(error));
}
