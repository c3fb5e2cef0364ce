/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller.h"
#include "tree.h"

static const char usage[] =
        "zpci-sim [--dir=DIR] [--world] [--no-kmsg] [--die-with-parent]\n"
        "        Runs a simulated host; prints \"ready DIR\" once it is there. Ends at SIGTERM.\n"
        "zpci-sim --send=DIR COMMAND...\n"
        "        Sends each command (one argument each) to a running one and prints the answers.\n"
        "zpci-sim --send=DIR help\n"
        "        Lists the commands.\n";

typedef struct Options {
        char *dir;
        const char *send;
        bool world, kmsg, die;
} Options;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) remove(path);
        return 0;
}

static int send_command(FILE *stream, const char *command) {
        char *line = NULL;
        size_t size = 0;
        int r = EXIT_FAILURE;

        fprintf(stream, "%s\n", command);
        fflush(stream);
        if (getline(&line, &size, stream) > 0) {
                fputs(line, stdout);
                r = strncmp(line, "ok", 2) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        }
        free(line);
        return r;
}

static int send_commands(const char *dir, char **commands) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int fd, r = EXIT_SUCCESS;
        FILE *stream;

        snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sim/control", dir);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0) {
                fprintf(stderr,
                        "zpci-sim: cannot connect to %s: %s\n",
                        sa.sun_path,
                        strerror(errno));
                return EXIT_FAILURE;
        }
        stream = fdopen(fd, "r+");
        if (!stream)
                return EXIT_FAILURE;
        for (; *commands && r == EXIT_SUCCESS; commands++)
                r = send_command(stream, *commands);
        fclose(stream);
        return r;
}

static int parse_options(int argc, char **argv, Options *o) {
        enum {
                DIR_ = 256,
                WORLD,
                NO_KMSG,
                DIE,
                SEND
        };
        static const struct option options[] = {
                { "dir", required_argument, NULL, DIR_ },
                { "world", no_argument, NULL, WORLD },
                { "no-kmsg", no_argument, NULL, NO_KMSG },
                { "die-with-parent", no_argument, NULL, DIE },
                { "send", required_argument, NULL, SEND },
                {},
        };
        int opt;

        while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (opt) {
                case DIR_:
                        o->dir = optarg;
                        break;
                case WORLD:
                        o->world = true;
                        break;
                case NO_KMSG:
                        o->kmsg = false;
                        break;
                case DIE:
                        o->die = true;
                        break;
                case SEND:
                        o->send = optarg;
                        break;
                default:
                        fputs(usage, stderr);
                        return -EINVAL;
                }
        return 0;
}

/* The folder of the testbed: a new one, or an empty one that the caller named. */
static int make_dir(Options *o, char buf[static PATH_MAX]) {
        char path[PATH_MAX];

        if (o->dir) {
                if (mkdir(o->dir, 0700) < 0 && errno != EEXIST)
                        return -errno;
        } else {
                /* thousands of small files: in memory, where there is such a place */
                const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

                snprintf(buf, PATH_MAX, "%s/zpci-sim.XXXXXX", tmp);
                o->dir = mkdtemp(buf);
                if (!o->dir)
                        return -errno;
        }
        snprintf(path, sizeof(path), "%s/sim", o->dir);
        return mkdir(path, 0755) < 0 ? -errno : 0;
}

static int set_up(Controller *c, const Options *o) {
        int r;

        c->world = o->world;
        for (unsigned i = 0; i < SIM_FUNCTIONS; i++)
                c->slots[i] = (Slot){
                        .look = { -EBADF, -EBADF, -EBADF },
                        .irq = { -EBADF, -EBADF },
                        .held_group = -EBADF,
                        .held_device = -EBADF,
                };

        r = sim_create(&c->sim, o->dir, o->world ? 0666 : 0600);
        if (r >= 0)
                r = tree_init(&c->sim, o->world, o->kmsg);
        if (r >= 0)
                r = sd_event_new(&c->event);
        if (r >= 0)
                r = uevents_new(c->event, o->dir, &c->uevents);
        if (r >= 0)
                r = kmsg_new(c->event, &c->kmsg);
        if (r >= 0)
                r = kernel_start(c);
        if (r >= 0)
                r = control_start(c);
        if (r >= 0)
                r = sd_event_add_signal(c->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(c->event, NULL, SIGINT, NULL, NULL);
        return r;
}

static void tear_down(Controller *c) {
        control_free(c->control);
        uevents_free(c->uevents);
        kmsg_free(c->kmsg);
        sd_event_unref(c->event);
}

int main(int argc, char **argv) {
        Options o = { .kmsg = true };
        static Controller c; /* a megabyte or so */
        char buf[PATH_MAX];
        sigset_t signals;
        int r;

        if (parse_options(argc, argv, &o) < 0)
                return 2;
        if (o.send)
                return send_commands(o.send, argv + optind);

        if (o.die)
                prctl(PR_SET_PDEATHSIG, SIGTERM);
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        /* a function takes up to seven fds */
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 16384, 16384 });

        umask(0022);
        r = make_dir(&o, buf);
        if (r >= 0)
                r = set_up(&c, &o);
        if (r >= 0) {
                printf("ready %s\n", o.dir);
                fflush(stdout);
                r = sd_event_loop(c.event);
        }
        if (r < 0)
                fprintf(stderr, "zpci-sim: %s: %s\n", o.dir ?: "no folder", strerror(-r));
        tear_down(&c);
        if (o.dir)
                (void) nftw(o.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
