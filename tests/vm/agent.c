/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs commands in the guest for the test host, which speaks over a virtio port. In C, because every
 * process that a shell would need costs a tenth of a second under emulation. One message a line, HEX is
 * bytes in hexadecimal ("-" for none).
 *
 *   from the host  run ID HEX      run the bash code, hand its output over when it ended
 *                  start ID HEX    run the bash code, hand its standard output over line by line
 *                  input ID HEX    write to the standard input of what was started
 *   to the host    ready
 *                  started ID PID  PID leads a session of its own: a signal to -PID reaches all of the command
 *                  line ID HEX
 *                  end ID STATUS HEX(stdout) HEX(stderr)
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS 32 /* at the same time */

typedef struct Buffer {
        char *data;
        size_t length;
} Buffer;

typedef struct Job {
        pid_t pid;
        unsigned id; /* 0 in a free slot */
        bool lines;
        int in, out, err; /* our ends of the pipes; -1 at their end, or if there is none */
        Buffer out_text, err_text;
} Job;

static void append(Buffer *buffer, const char *data, size_t length) {
        buffer->data = realloc(buffer->data, buffer->length + length + 1);
        if (!buffer->data)
                err(1, "memory");
        memcpy(buffer->data + buffer->length, data, length);
        buffer->length += length;
        buffer->data[buffer->length] = 0;
}

static void drop(Buffer *buffer, size_t length) {
        buffer->length -= length;
        memmove(buffer->data, buffer->data + length, buffer->length + 1);
}

/* Takes in what there is to read. Returns false at the end of the file. */
static bool take_in(int fd, Buffer *buffer) {
        char chunk[4096];
        ssize_t n;

        while ((n = read(fd, chunk, sizeof(chunk))) > 0)
                append(buffer, chunk, (size_t) n);
        return n < 0 && errno == EAGAIN;
}

/* Not by printf(), which under emulation takes longer than all else here. */
static void put_hex(FILE *port, const char *data, size_t length) {
        static const char digits[] = "0123456789abcdef";

        fputc(' ', port);
        if (length == 0)
                fputc('-', port);
        for (size_t i = 0; i < length; i++) {
                putc_unlocked(digits[(unsigned char) data[i] >> 4], port);
                putc_unlocked(digits[data[i] & 15], port);
        }
}

static unsigned from_hex(char digit) {
        return (unsigned) (digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static void send_line(FILE *port, const Job *job, const char *data, size_t length) {
        fprintf(port, "line %u", job->id);
        put_hex(port, data, length);
        fputc('\n', port);
        fflush(port);
}

static void send_end(FILE *port, const Job *job, int status) {
        fprintf(port,
                "end %u %d",
                job->id,
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        put_hex(port, job->out_text.data, job->out_text.length);
        put_hex(port, job->err_text.data, job->err_text.length);
        fputc('\n', port);
        fflush(port);
}

static void send_lines(FILE *port, Job *job) {
        char *end;

        while (job->out_text.length > 0 && (end = strchr(job->out_text.data, '\n'))) {
                send_line(port, job, job->out_text.data, (size_t) (end - job->out_text.data));
                drop(&job->out_text, (size_t) (end + 1 - job->out_text.data));
        }
}

static void read_pipes(FILE *port, Job *job) {
        if (job->out >= 0 && !take_in(job->out, &job->out_text)) {
                close(job->out);
                job->out = -1;
        }
        if (job->err >= 0 && !take_in(job->err, &job->err_text)) {
                close(job->err);
                job->err = -1;
        }
        if (job->lines)
                send_lines(port, job);
}

static _Noreturn void execute(const char *code, int in, int out, int error) {
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        setsid();
        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(error, STDERR_FILENO);
        execl("/bin/bash", "bash", "-c", code, NULL);
        err(127, "bash");
}

static void begin(FILE *port, Job *job, bool lines, unsigned id, const char *code) {
        int in[2] = { -1, -1 }, out[2], error[2];

        if (pipe2(out, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0)
                err(1, "pipe");
        if (!lines)
                in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        else if (pipe2(in, O_CLOEXEC) < 0)
                err(1, "pipe");
        *job = (Job){ .id = id, .lines = lines, .in = in[1], .out = out[0], .err = error[0] };
        job->pid = fork();
        if (job->pid < 0)
                err(1, "fork");
        if (job->pid == 0)
                execute(code, in[0], out[1], error[1]);
        close(in[0]);
        close(out[1]);
        close(error[1]);
        fcntl(job->out, F_SETFL, O_NONBLOCK);
        fcntl(job->err, F_SETFL, O_NONBLOCK);
        fprintf(port, "started %u %d\n", id, job->pid);
        fflush(port);
}

/* The command has ended; what it has left in the background may still have the pipes, and is not waited for. */
static void end(FILE *port, Job *job, int status) {
        read_pipes(port, job);
        send_end(port, job, status);
        if (job->in >= 0)
                close(job->in);
        if (job->out >= 0)
                close(job->out);
        if (job->err >= 0)
                close(job->err);
        free(job->out_text.data);
        free(job->err_text.data);
        *job = (Job){ .in = -1, .out = -1, .err = -1 };
}

static void reap(FILE *port, Job *jobs, int signals) {
        struct signalfd_siginfo info;
        int status;
        pid_t pid;

        if (read(signals, &info, sizeof(info)) < 0)
                err(1, "signalfd");
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                for (int i = 0; i < JOBS; i++)
                        if (jobs[i].pid == pid)
                                end(port, &jobs[i], status);
}

/* The job with this number, which is 0 in a free slot. */
static Job *find(Job *jobs, unsigned id) {
        for (int i = 0; i < JOBS; i++)
                if (jobs[i].id == id)
                        return &jobs[i];
        return NULL;
}

/* What comes too late is dropped: that the command ended, the host is told anyway. */
static void feed(const Job *job, const char *data, size_t length) {
        if (job && job->in >= 0 && write(job->in, data, length) < 0 && errno != EPIPE)
                err(1, "standard input of a command");
}

/* "VERB ID HEX", changed in place. */
static void handle(FILE *port, Job *jobs, char *message) {
        char *verb = strtok(message, " "), *id = strtok(NULL, " "), *code = strtok(NULL, " ");
        size_t n = 0;
        Job *job;

        if (!verb || !id || !code)
                errx(1, "a message with too few words");
        for (const char *p = code; p[0] && p[1]; p += 2)
                code[n++] = (char) (from_hex(p[0]) << 4 | from_hex(p[1]));
        code[n] = 0;
        if (strcmp(verb, "input") == 0) {
                feed(find(jobs, (unsigned) atoi(id)), code, n);
                return;
        }
        job = find(jobs, 0);
        if (!job)
                errx(1, "more than %d commands at the same time", JOBS);
        begin(port, job, strcmp(verb, "start") == 0, (unsigned) atoi(id), code);
}

static FILE *open_port(void) {
        glob_t found;
        FILE *port;

        if (glob("/dev/vport*p1", 0, NULL, &found) != 0)
                errx(1, "no virtio port");
        port = fdopen(open(found.gl_pathv[0], O_RDWR | O_CLOEXEC), "w");
        if (!port)
                err(1, "%s", found.gl_pathv[0]);
        return port;
}

/* Returns false when the host is gone. */
static bool read_port(FILE *port, Job *jobs, Buffer *input) {
        char chunk[4096], *newline;
        ssize_t n = read(fileno(port), chunk, sizeof(chunk));

        if (n <= 0)
                return false;
        append(input, chunk, (size_t) n);
        while (input->length > 0 && (newline = strchr(input->data, '\n'))) {
                size_t length = (size_t) (newline + 1 - input->data);

                *newline = 0;
                handle(port, jobs, input->data);
                drop(input, length);
        }
        return true;
}

static int watch_children(void) {
        sigset_t child;
        int fd;

        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        sigprocmask(SIG_BLOCK, &child, NULL);
        fd = signalfd(-1, &child, SFD_CLOEXEC);
        if (fd < 0)
                err(1, "signalfd");
        return fd;
}

int main(void) {
        static Job jobs[JOBS];
        struct pollfd fds[2 + 2 * JOBS];
        FILE *port = open_port();
        int signals = watch_children();
        Buffer input = {};

        for (int i = 0; i < JOBS; i++)
                jobs[i].in = jobs[i].out = jobs[i].err = -1;
        signal(SIGPIPE, SIG_IGN);
        fprintf(port, "ready\n");
        fflush(port);

        do {
                fds[0] = (struct pollfd){ .fd = fileno(port), .events = POLLIN };
                fds[1] = (struct pollfd){ .fd = signals, .events = POLLIN };
                for (int i = 0; i < JOBS; i++) {
                        fds[2 + 2 * i] = (struct pollfd){ .fd = jobs[i].out, .events = POLLIN };
                        fds[3 + 2 * i] = (struct pollfd){ .fd = jobs[i].err, .events = POLLIN };
                }
                if (poll(fds, 2 + 2 * JOBS, -1) < 0)
                        err(1, "poll");
                for (int i = 0; i < JOBS; i++)
                        if (fds[2 + 2 * i].revents || fds[3 + 2 * i].revents)
                                read_pipes(port, &jobs[i]);
                if (fds[1].revents)
                        reap(port, jobs, signals);
        } while (!fds[0].revents || read_port(port, jobs, &input));
        return 0;
}
