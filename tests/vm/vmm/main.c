/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Usage: vmm [--private]
 *
 * Reads verbs from standard input, and answers each with one line: "ok USEC WORD..." or "failed USEC ERROR WORD...",
 * where USEC is how long it took and ERROR the name of an errno or of an error of D-Bus. Between answers it says
 * "! request N", "! error N" and "! notify N" when an eventfd was signalled N times. A failure that no test expects ends it.
 *
 *   open ADDRESS           by the group; arms eventfds for errors and for requests to let go
 *   free ADDRESS MSEC      opens and closes, again and again until the function is free
 *   close
 *   obey yes|no|read       whether to close when the kernel asks for it (yes), and to read that eventfd before
 *   arm                    sets its own eventfd for errors again
 *   fault PEC              makes an error of its function: "ok USEC ADDRESS"
 *   reset                  recovers the function
 *   read                   takes the kernel's records: "ok USEC HEX..."
 *   check                  "ok USEC VENDOR QUEUES", of its function, the second from behind the BAR
 *
 *   inhibit ADDRESS WHO    keeps the inhibitor until "uninhibit"
 *   attach notify|quiet    hands its device to the daemon, with an eventfd for notifications or without
 *   detach OBJECT
 *   claim OBJECT
 *   recover OBJECT         has the daemon reset what it holds
 *   release OBJECT USEC WHO
 *   state OBJECT           "ok USEC STATE REASON RECOVERY HOLDER", "-" for an empty one
 *
 *   inject PID ADDRESS PEC COUNT
 *                          makes errors of a function that another process has open, with a reset between them:
 *                          "ok USEC ADDRESS..."; says "! borrowed 1" when it has a duplicate of the device
 *   kill UNIT SIGNAL USEC  signals, after that time, what the service manager has started for the unit: "ok USEC PID..."
 *   config ADDRESS         "ok USEC VENDOR" as sysfs shows it: ffff in the error state
 *   write FILE TEXT        to sysfs
 */

#include "player.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORDS 4

typedef struct Verb {
        const char *name;
        int words; /* after the name */
        void (*run)(Player *player, char **words);
} Verb;

static const Verb verbs[] = {
        { "arm", 0, verb_arm },         { "attach", 1, verb_attach },
        { "check", 0, verb_check },     { "claim", 1, verb_claim },
        { "close", 0, verb_close },     { "config", 1, verb_config },
        { "detach", 1, verb_detach },   { "fault", 1, verb_fault },
        { "free", 2, verb_free },       { "inhibit", 2, verb_inhibit },
        { "inject", 4, verb_inject },   { "kill", 3, verb_kill },
        { "obey", 1, verb_obey },       { "open", 1, verb_open },
        { "read", 0, verb_read },       { "recover", 1, verb_recover },
        { "release", 3, verb_release }, { "reset", 0, verb_reset },
        { "state", 1, verb_state },     { "uninhibit", 0, verb_uninhibit },
        { "write", 2, verb_write },
};

uint64_t clock_usec(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

void answer(const Player *player, const char *format, ...) {
        va_list arguments;

        printf("ok %llu ", (unsigned long long) (clock_usec() - player->begin_usec));
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        printf("\n");
}

static void answer_error(const Player *player, const char *name, const char *what) {
        printf("failed %llu %s %s\n",
               (unsigned long long) (clock_usec() - player->begin_usec),
               name,
               what);
}

void answer_failed(const Player *player, int error, const char *what) {
        answer_error(player, strerrorname_np(error), what);
}

void answer_bus_error(const Player *player, int r, const sd_bus_error *error) {
        if (error->name)
                answer_error(player, error->name, error->message);
        else
                answer_failed(player, -r, "D-Bus");
}

static void handle(Player *player, char *line) {
        char *words[WORDS] = {}, *rest = line, *name = strsep(&rest, " ");
        int n = 0;

        while (rest && n < WORDS)
                words[n++] = strsep(&rest, " ");
        player->begin_usec = clock_usec();
        for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
                if (strcmp(verbs[i].name, name) == 0 && verbs[i].words == n) {
                        verbs[i].run(player, words);
                        return;
                }
        errx(2, "no verb '%s' with %d words", name, n);
}

static int on_input(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        static char input[4096];
        static size_t length;
        Player *player = userdata;
        char *newline;
        ssize_t n = read(fd, input + length, sizeof(input) - length);

        if (n <= 0)
                return sd_event_exit(player->event, 0);
        length += (size_t) n;
        while ((newline = memchr(input, '\n', length))) {
                *newline = 0;
                handle(player, input);
                length -= (size_t) (newline + 1 - input);
                memmove(input, newline + 1, length);
        }
        if (length == sizeof(input))
                errx(2, "a line that is too long");
        return 0;
}

int main(int argc, char *argv[]) {
        Player player = {
                .device = { .fd = -1, .group = -1, .container = -1 },
                .error = { .name = "error", .fd = -1 },
                .request = { .name = "request", .fd = -1 },
                .notify = { .name = "notify", .fd = -1 },
                .closes = true,
                .inhibitor = -1,
        };
        int r;

        setvbuf(stdout, NULL, _IOLBF, 0);
        player.own_nodes = argc > 1 && strcmp(argv[1], "--private") == 0;
        if (player.own_nodes)
                nodes_enter_namespace();
        r = sd_event_default(&player.event);
        if (r >= 0)
                r = sd_event_add_io(player.event, NULL, STDIN_FILENO, EPOLLIN, on_input, &player);
        if (r >= 0)
                r = sd_event_loop(player.event);
        if (r < 0)
                errx(1, "event loop: %s", strerror(-r));
        return r;
}
