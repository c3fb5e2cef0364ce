/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"

#define LINE_MAX_SIZE 65536U
#define WORDS_MAX     1024U
#define TICK_USEC     2000U        /* how often a wait looks again */
#define REQUEST_NSEC  10000000000U /* the kernel repeats its request to let go */

struct Connection {
        Connection *next;
        Control *control;
        int fd;
        sd_event_source *source;
        char *line;
        size_t n_line;

        bool waits, gone;
        WaitKind kind;
        char address[16];
        char *condition;
        uint64_t since, deadline, next_request;
};

struct Control {
        Controller *c;
        int fd;
        sd_event_source *source, *tick;
        Connection *connections;
};

static void connection_drop(Connection *conn) {
        for (Connection **p = &conn->control->connections; *p; p = &(*p)->next)
                if (*p == conn) {
                        *p = conn->next;
                        break;
                }
        sd_event_source_disable_unref(conn->source);
        close(conn->fd);
        free(conn->condition);
        free(conn->line);
        free(conn);
}

static void answer(Connection *conn, int r, const char *text) {
        char head[64] = "";

        if (r < 0)
                snprintf(head, sizeof(head), "error %s", strerrorname_np(-r) ?: "E?");
        /* Tests read their answers; who does not is cut off. */
        if (send(conn->fd, head, strlen(head), MSG_NOSIGNAL | MSG_MORE | MSG_DONTWAIT) < 0 ||
            (r < 0 && *text &&
             send(conn->fd, " ", 1, MSG_NOSIGNAL | MSG_MORE | MSG_DONTWAIT) < 0) ||
            send(conn->fd, text, strlen(text), MSG_NOSIGNAL | MSG_MORE | MSG_DONTWAIT) < 0 ||
            send(conn->fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                (void) shutdown(conn->fd, SHUT_RDWR);
}

int command_wait(Connection *conn,
                 WaitKind kind,
                 const SimFunction *f,
                 const char *condition,
                 uint64_t timeout_ms) {
        Control *control = conn->control;

        conn->condition = condition ? strdup(condition) : NULL;
        if (condition && !conn->condition)
                return -ENOMEM;
        conn->kind = kind;
        conn->waits = true;
        conn->since = sim_now();
        conn->deadline = timeout_ms > 0 ? conn->since + timeout_ms * 1000000U : UINT64_MAX;
        conn->next_request = conn->since + REQUEST_NSEC;
        memcpy(conn->address, f->address, sizeof(conn->address));
        sd_event_source_set_time_relative(control->tick, 0);
        sd_event_source_set_enabled(control->tick, SD_EVENT_ONESHOT);
        return COMMAND_WAITS;
}

/* Returns COMMAND_WAITS as long as there is nothing to answer. */
static int look_again(Connection *conn, FILE *out) {
        Controller *c = conn->control->c;
        SimFunction *f = sim_find(&c->sim, conn->address);
        uint64_t now = sim_now();
        int r;

        if (!f)
                return -ENODEV;
        if (conn->kind == WAIT_STATE) {
                r = state_matches(c, f, conn->condition);
                if (r > 0) {
                        fputs("ok ", out);
                        state_write(c, f, out);
                        return 0;
                }
                if (r == 0 && now >= conn->deadline) {
                        fprintf(out, "waited for %s of ", conn->condition);
                        state_write(c, f, out);
                        return -ETIMEDOUT;
                }
                return r < 0 ? r : COMMAND_WAITS;
        }

        if (!function_unbind_ready(c, f)) {
                if (now >= conn->next_request) {
                        kernel_signal(c, f, IRQ_REQ, 1);
                        conn->next_request += REQUEST_NSEC;
                }
                return COMMAND_WAITS; /* for ever, as the kernel does */
        }
        function_unbind_finish(c, f);
        if (conn->kind == WAIT_REMOVE)
                function_remove(c, f);
        fprintf(out, "ok ms=%llu", (unsigned long long) ((now - conn->since) / 1000000U));
        return 0;
}

static void serve_line(Connection *conn, char *line);

static void serve_lines(Connection *conn) {
        char *end;

        while (!conn->waits && (end = memchr(conn->line, '\n', conn->n_line))) {
                size_t n = (size_t) (end - conn->line) + 1;
                char *line = strndup(conn->line, n - 1);

                memmove(conn->line, end + 1, conn->n_line - n);
                conn->n_line -= n;
                if (line)
                        serve_line(conn, line);
                free(line);
        }
}

static int on_tick(sd_event_source *s, uint64_t usec, void *userdata) {
        Control *control = userdata;
        bool more = false;

        for (Connection *conn = control->connections, *next; conn; conn = next) {
                char text[4096] = "";
                FILE *out;
                int r;

                next = conn->next;
                if (!conn->waits)
                        continue;
                out = fmemopen(text, sizeof(text), "w");
                if (!out)
                        continue;
                r = look_again(conn, out);
                fclose(out);
                if (r != COMMAND_WAITS) {
                        conn->waits = false;
                        free(conn->condition);
                        conn->condition = NULL;
                        answer(conn, r, text);
                        serve_lines(conn);
                        if (conn->gone && !conn->waits) {
                                connection_drop(conn);
                                continue;
                        }
                }
                more |= conn->waits;
        }
        if (more) {
                sd_event_source_set_time_relative(s, TICK_USEC);
                sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        }
        return 0;
}

SimFunction *command_function(Controller *c, const char *address, FILE *out) {
        SimFunction *f = sim_find(&c->sim, address);

        if (!f)
                fprintf(out, "no PCI function %s", address);
        return f;
}

char *command_rest(char **words, unsigned n_words) {
        /* The words still stand in their line: give it its spaces back. */
        for (unsigned i = 0; i + 1 < n_words; i++)
                for (char *p = words[i] + strlen(words[i]); p < words[i + 1]; p++)
                        *p = ' ';
        return words[0];
}

int parse_number(const char *text, uint64_t max, uint64_t *ret) {
        char *end;

        if (*text < '0' || *text > '9')
                return -EINVAL;
        errno = 0;
        *ret = strtoull(text, &end, 0);
        return errno || *end || *ret > max ? -EINVAL : 0;
}

static int help(FILE *out, const Command *const *tables) {
        fputs("ok", out);
        for (; *tables; tables++)
                for (const Command *command = *tables; command->name; command++)
                        fprintf(out, " | %s %s", command->name, command->usage);
        return 0;
}

static int run(Connection *conn, char **words, unsigned n_words, FILE *out) {
        static const Command *const tables[] = {
                function_commands, error_commands, state_commands, NULL
        };
        Controller *c = conn->control->c;

        if (strcmp(words[0], "help") == 0)
                return help(out, tables);
        if (strcmp(words[0], "quit") == 0) {
                fputs("ok", out);
                sd_event_exit(c->event, 0);
                return 0;
        }
        for (const Command *const *table = tables; *table; table++)
                for (const Command *command = *table; command->name; command++) {
                        if (strcmp(command->name, words[0]) != 0)
                                continue;
                        if (n_words - 1 < command->min_words) {
                                fprintf(out, "usage: %s %s", command->name, command->usage);
                                return -EINVAL;
                        }
                        return command->func(c, conn, words + 1, n_words - 1, out);
                }
        fprintf(out, "no command %s", words[0]);
        return -EOPNOTSUPP;
}

static void serve_line(Connection *conn, char *line) {
        char *text = NULL, *words[WORDS_MAX], *state;
        unsigned n_words = 0;
        size_t size;
        FILE *out;
        int r;

        for (char *word = strtok_r(line, " ", &state); word && n_words < WORDS_MAX;
             word = strtok_r(NULL, " ", &state))
                words[n_words++] = word;
        if (n_words == 0)
                return;
        out = open_memstream(&text, &size);
        if (!out)
                return;
        r = run(conn, words, n_words, out);
        fclose(out);
        if (r != COMMAND_WAITS)
                answer(conn, r, text);
        free(text);
}

static int on_connection(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Connection *conn = userdata;
        ssize_t n;

        n = recv(fd, conn->line + conn->n_line, LINE_MAX_SIZE - conn->n_line, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
                return 0;
        if (n <= 0) {
                /* an unbind goes on without who asked for it */
                conn->gone = true;
                sd_event_source_set_enabled(s, SD_EVENT_OFF);
                if (!conn->waits || conn->kind == WAIT_STATE)
                        connection_drop(conn);
                return 0;
        }
        conn->n_line += (size_t) n;
        serve_lines(conn);
        return 0;
}

static int on_connect(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Control *control = userdata;
        Connection *conn;
        int conn_fd, r;

        conn_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (conn_fd < 0)
                return 0;
        conn = calloc(1, sizeof(*conn));
        if (!conn || !(conn->line = malloc(LINE_MAX_SIZE))) {
                free(conn);
                close(conn_fd);
                return 0;
        }
        conn->control = control;
        conn->fd = conn_fd;
        conn->next = control->connections;
        control->connections = conn;
        r = sd_event_add_io(
                control->c->event, &conn->source, conn_fd, EPOLLIN, on_connection, conn);
        if (r < 0)
                connection_drop(conn);
        return 0;
}

int control_start(Controller *c) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        Control *control = calloc(1, sizeof(*control));
        int r;

        if (!control)
                return -ENOMEM;
        c->control = control;
        control->c = c;
        snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sim/control", c->sim.dir);
        control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (control->fd < 0 || bind(control->fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 ||
            listen(control->fd, SOMAXCONN) < 0 || chmod(sa.sun_path, c->world ? 0666 : 0600) < 0)
                return -errno;
        r = sd_event_add_time(c->event, &control->tick, CLOCK_MONOTONIC, 0, 100, on_tick, control);
        if (r < 0)
                return r;
        return sd_event_add_io(
                c->event, &control->source, control->fd, EPOLLIN, on_connect, control);
}

Control *control_free(Control *control) {
        if (!control)
                return NULL;
        while (control->connections)
                connection_drop(control->connections);
        sd_event_source_disable_unref(control->tick);
        sd_event_source_disable_unref(control->source);
        if (control->fd >= 0)
                close(control->fd);
        free(control);
        return NULL;
}
