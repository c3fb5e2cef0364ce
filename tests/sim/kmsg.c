/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kmsg.h"
#include "rpc.h"

#define LINES         8192U
#define FACILITY_USER (1U << 3) /* whoever writes to the device is user space */
#define LEVEL_INFO    6U

typedef struct Reader {
        struct Reader *next;
        Kmsg *kmsg;
        int fd;
        sd_event_source *source;
        uint64_t next_seq;
        char signs[4]; /* single bytes to send before any line */
        unsigned n_signs;
        bool asked; /* whether there is really nothing more */
} Reader;

struct Kmsg {
        sd_event *event;
        Reader *readers;
        uint64_t first_seq, next_seq;
        char *lines[LINES];
};

static void reader_drop(Reader *r) {
        for (Reader **p = &r->kmsg->readers; *p; p = &(*p)->next)
                if (*p == r) {
                        *p = r->next;
                        break;
                }
        sd_event_source_disable_unref(r->source);
        close(r->fd);
        free(r);
}

static void reader_sign(Reader *r, char sign) {
        if (r->n_signs < sizeof(r->signs))
                r->signs[r->n_signs++] = sign;
}

/* Sends one packet. Returns false if the reader takes no more now. */
static bool reader_send_one(Reader *r) {
        Kmsg *k = r->kmsg;
        const char *line;

        if (r->next_seq < k->first_seq) { /* it was too slow */
                r->next_seq = k->first_seq;
                reader_sign(r, SIM_KMSG_OVERRUN);
        }
        if (r->n_signs > 0) {
                if (send(r->fd, r->signs, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
                        return false;
                memmove(r->signs, r->signs + 1, --r->n_signs);
                return true;
        }
        line = k->lines[r->next_seq % LINES];
        if (send(r->fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return false;
        r->next_seq++;
        return true;
}

static void reader_flush(Reader *r) {
        bool more;

        for (;;) {
                if (r->asked && r->n_signs == 0 && r->next_seq == r->kmsg->next_seq) {
                        r->asked = false;
                        reader_sign(r, SIM_KMSG_EMPTY);
                }
                more = r->n_signs > 0 || r->next_seq < r->kmsg->next_seq;
                if (!more || !reader_send_one(r))
                        break;
        }
        (void) sd_event_source_set_io_events(r->source, more ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int on_reader(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Reader *r = userdata;
        char buf[1024];
        ssize_t n;

        n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
                reader_drop(r);
                return 0;
        }
        if (n == 1 && (*buf == SIM_KMSG_SEEK_FIRST || *buf == SIM_KMSG_SEEK_END)) {
                r->next_seq = *buf == SIM_KMSG_SEEK_END ? r->kmsg->next_seq : r->kmsg->first_seq;
                r->n_signs = 0;
                reader_sign(r, SIM_KMSG_SOUGHT);
        } else if (n == 1 && *buf == SIM_KMSG_EMPTY)
                r->asked = true;
        else if (n > 0) {
                buf[n] = '\0';
                kmsg_write(r->kmsg, FACILITY_USER | LEVEL_INFO, buf);
        }
        reader_flush(r);
        return 0;
}

int kmsg_add_reader(Kmsg *k, int fd) {
        Reader *r = calloc(1, sizeof(*r));
        int error;

        if (!r)
                return -ENOMEM;
        *r = (Reader){ .kmsg = k, .fd = fd, .next_seq = k->first_seq };
        error = sd_event_add_io(k->event, &r->source, fd, EPOLLIN, on_reader, r);
        if (error < 0) {
                free(r);
                return error;
        }
        r->next = k->readers;
        k->readers = r;
        reader_flush(r);
        return 0;
}

/* As the kernel does: what is not printable becomes \xNN. */
static void escape(char *to, size_t size, const char *from) {
        size_t n = 0;

        for (; *from && n + 5 < size; from++) {
                unsigned char ch = (unsigned char) *from;

                if (ch == '\n' && !from[1])
                        break;
                if (ch < ' ' || ch >= 127 || ch == '\\')
                        n += (size_t) sprintf(to + n, "\\x%02x", ch);
                else
                        to[n++] = (char) ch;
        }
        to[n] = '\0';
}

void kmsg_write(Kmsg *k, unsigned priority, const char *text) {
        char escaped[4096], *line;
        struct timespec ts;

        escape(escaped, sizeof(escaped), text);
        clock_gettime(CLOCK_MONOTONIC, &ts);
        if (asprintf(&line,
                     "%u,%llu,%llu,-;%s\n",
                     priority,
                     (unsigned long long) k->next_seq,
                     (unsigned long long) ts.tv_sec * 1000000U +
                             (unsigned long long) ts.tv_nsec / 1000U,
                     escaped) < 0)
                return;

        free(k->lines[k->next_seq % LINES]);
        k->lines[k->next_seq++ % LINES] = line;
        if (k->next_seq - k->first_seq > LINES)
                k->first_seq = k->next_seq - LINES;
        for (Reader *r = k->readers; r; r = r->next)
                reader_flush(r);
}

void kmsg_overrun(Kmsg *k) {
        for (Reader *r = k->readers; r; r = r->next) {
                reader_sign(r, SIM_KMSG_OVERRUN);
                reader_flush(r);
        }
}

int kmsg_new(sd_event *event, Kmsg **ret) {
        Kmsg *k = calloc(1, sizeof(*k));

        if (!k)
                return -ENOMEM;
        k->event = event;
        k->first_seq = k->next_seq = 400; /* the kernel has said something before */
        kmsg_write(k, 6, "zpci: simulated PCI functions");
        *ret = k;
        return 0;
}

Kmsg *kmsg_free(Kmsg *k) {
        if (!k)
                return NULL;
        while (k->readers)
                reader_drop(k->readers);
        for (unsigned i = 0; i < LINES; i++)
                free(k->lines[i]);
        free(k);
        return NULL;
}
