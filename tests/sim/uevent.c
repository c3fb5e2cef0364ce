/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "uevent.h"

#define PENDING_MAX 16384U /* like the kernel, give up on a monitor that never reads */

typedef struct Message {
        struct Message *next;
        size_t size;
        uint8_t data[];
} Message;

typedef struct Monitor {
        struct Monitor *next;
        Uevents *uevents;
        char name[32]; /* of its socket */
        int fd;
        sd_event_source *source;
        Message *first, **last;
        unsigned n_pending;
} Monitor;

struct Uevents {
        sd_event *event;
        char *dir;
        uint64_t seqnum;
        Monitor *monitors;
};

/* What udevd puts in front of the properties, see libudev's device-monitor. */
typedef struct Header {
        char prefix[8];
        uint32_t magic, header_size, properties_off, properties_len;
        uint32_t subsystem_hash, devtype_hash, tag_bloom_hi, tag_bloom_lo;
} Header;

/* MurmurHash2, with which monitors filter by subsystem. */
static uint32_t string_hash(const char *s) {
        const uint32_t m = 0x5bd1e995;
        uint32_t left = (uint32_t) strlen(s), h = left;

        for (; left >= 4; left -= 4, s += 4) {
                uint32_t k;

                memcpy(&k, s, 4);
                k *= m;
                k ^= k >> 24;
                h = (h * m) ^ (k * m);
        }
        for (uint32_t i = left; i > 0; i--)
                h ^= (uint32_t) (unsigned char) s[i - 1] << (8 * (i - 1));
        if (left > 0)
                h *= m;
        h ^= h >> 13;
        h *= m;
        return h ^ h >> 15;
}

static Monitor *monitor_free(Monitor *m) {
        sd_event_source_disable_unref(m->source);
        if (m->fd >= 0)
                close(m->fd);
        while (m->first) {
                Message *next = m->first->next;

                free(m->first);
                m->first = next;
        }
        free(m);
        return NULL;
}

static void monitor_drop(Monitor *m) {
        char path[108];

        for (Monitor **p = &m->uevents->monitors; *p; p = &(*p)->next)
                if (*p == m) {
                        *p = m->next;
                        break;
                }
        snprintf(path, sizeof(path), "%s/monitors/%s", m->uevents->dir, m->name);
        (void) unlink(path);
        monitor_free(m);
}

/* Sends what the monitor takes. Returns -EAGAIN if more is left, another negative errno if it is gone. */
static int monitor_flush(Monitor *m) {
        while (m->first) {
                Message *first = m->first;

                if (send(m->fd, first->data, first->size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
                m->first = first->next;
                if (!m->first)
                        m->last = &m->first;
                m->n_pending--;
                free(first);
        }
        return 0;
}

static void monitor_push(Monitor *m) {
        int r = monitor_flush(m);

        if (r < 0 && r != -EAGAIN)
                monitor_drop(m);
        else
                (void) sd_event_source_set_enabled(m->source, r < 0 ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_writable(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        monitor_push(userdata);
        return 0;
}

static int monitor_new(Uevents *u, const char *name) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        Monitor *m;
        int r;

        m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        m->uevents = u;
        m->last = &m->first;
        snprintf(m->name, sizeof(m->name), "%s", name);
        snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/monitors/%s", u->dir, name);

        m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (m->fd < 0 || connect(m->fd, (struct sockaddr *) &sa, sizeof(sa)) < 0) {
                r = -errno;
                if (r == -ECONNREFUSED)
                        (void) unlink(sa.sun_path); /* its process is gone */
                monitor_free(m);
                return r;
        }
        r = sd_event_add_io(u->event, &m->source, m->fd, EPOLLOUT, on_writable, m);
        if (r < 0) {
                monitor_free(m);
                return r;
        }
        (void) sd_event_source_set_enabled(m->source, SD_EVENT_OFF);
        m->next = u->monitors;
        u->monitors = m;
        return 0;
}

/* Looked up at each event: whoever listens before it happens gets it. */
static void find_monitors(Uevents *u) {
        char path[108];
        struct dirent *entry;
        DIR *dir;

        snprintf(path, sizeof(path), "%s/monitors", u->dir);
        dir = opendir(path);
        if (!dir)
                return;
        while ((entry = readdir(dir))) {
                Monitor *m = u->monitors;

                if (entry->d_name[0] == '.')
                        continue;
                while (m && strcmp(m->name, entry->d_name) != 0)
                        m = m->next;
                if (!m)
                        (void) monitor_new(u, entry->d_name);
        }
        closedir(dir);
}

static int send_all(Uevents *u, const void *data, size_t size) {
        Monitor *next;

        find_monitors(u);
        for (Monitor *m = u->monitors; m; m = next) {
                Message *message;

                next = m->next;
                if (m->n_pending >= PENDING_MAX)
                        continue;
                message = malloc(sizeof(*message) + size);
                if (!message)
                        return -ENOMEM;
                message->next = NULL;
                message->size = size;
                memcpy(message->data, data, size);
                *m->last = message;
                m->last = &message->next;
                m->n_pending++;
                monitor_push(m);
        }
        return 0;
}

int uevents_overrun(Uevents *u) {
        return send_all(u, SIM_UEVENT_OVERRUN, sizeof(SIM_UEVENT_OVERRUN));
}

int uevents_send(Uevents *u,
                 const char *action,
                 const char *devpath,
                 const char *subsystem,
                 const char *properties) {
        struct {
                Header header;
                char properties[8192];
        } m = {
                .header = {
                        .prefix = "libudev",
                        .magic = htonl(0xfeedcafe),
                        .header_size = sizeof(Header),
                        .properties_off = sizeof(Header),
                        .subsystem_hash = htonl(string_hash(subsystem)),
                },
        };
        int n;

        n = snprintf(m.properties,
                     sizeof(m.properties),
                     "ACTION=%s\nDEVPATH=%s\nSUBSYSTEM=%s\nSEQNUM=%llu\n%s",
                     action,
                     devpath,
                     subsystem,
                     (unsigned long long) ++u->seqnum,
                     properties);
        if (n < 0 || n >= (int) sizeof(m.properties))
                return -E2BIG;
        for (int i = 0; i < n; i++)
                if (m.properties[i] == '\n')
                        m.properties[i] = '\0';
        m.header.properties_len = (uint32_t) n;
        return send_all(u, &m, sizeof(Header) + (size_t) n);
}

int uevents_new(sd_event *event, const char *dir, Uevents **ret) {
        Uevents *u = calloc(1, sizeof(*u));

        if (!u)
                return -ENOMEM;
        u->event = event;
        u->seqnum = 1000;
        u->dir = strdup(dir);
        if (!u->dir) {
                free(u);
                return -ENOMEM;
        }
        *ret = u;
        return 0;
}

Uevents *uevents_free(Uevents *u) {
        if (!u)
                return NULL;
        while (u->monitors) {
                Monitor *m = u->monitors;

                u->monitors = m->next;
                monitor_free(m);
        }
        free(u->dir);
        free(u);
        return NULL;
}
