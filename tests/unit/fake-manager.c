/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "fake-manager.h"

#define BARRIER "barrier"

static void manager_forget(FakeManager *m, const char *name) {
        for (size_t i = 0; i < m->n_kept;) {
                if (strcmp(m->kept[i].name, name) != 0) {
                        i++;
                        continue;
                }
                close(m->kept[i].fd);
                m->kept[i] = m->kept[--m->n_kept];
        }
}

void fake_manager_answer(FakeManager *m) {
        manager_forget(m, BARRIER);
}

static void manager_keep(FakeManager *m, const char *name, int fd) {
        assert(m->n_kept < FAKE_MANAGER_FDS);
        (void) snprintf(m->kept[m->n_kept].name, FDSTORE_NAME_SIZE, "%s", name);
        m->kept[m->n_kept++].fd = fd;
}

static void manager_obey(FakeManager *m, const char *text, int fd) {
        char name[FDSTORE_NAME_SIZE];

        if (sscanf(text, "FDSTORE=1\nFDNAME=%255[^\n]", name) == 1)
                manager_keep(m, name, fd);
        else if (sscanf(text, "FDSTOREREMOVE=1\nFDNAME=%255[^\n]", name) == 1)
                manager_forget(m, name);
        else {
                assert(strcmp(text, "BARRIER=1") == 0);
                if (m->deaf)
                        manager_keep(m, BARRIER, fd);
                else
                        close(fd);
        }
}

static int on_message(sd_event_source *source, int socket_fd, uint32_t revents, void *userdata) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control;
        char text[512];
        struct iovec data = { .iov_base = text, .iov_len = sizeof(text) - 1 };
        struct msghdr message = {
                .msg_iov = &data,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        int fd = -EBADF;
        ssize_t n;

        n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
        assert(n >= 0);
        text[n] = '\0';
        if (CMSG_FIRSTHDR(&message))
                memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
        manager_obey(userdata, text, fd);
        return 0;
}

void fake_manager_start(FakeManager *m, sd_event *event) {
        static unsigned n;
        char name[64];

        *m = (FakeManager){ .address.sun_family = AF_UNIX };
        (void) snprintf(name, sizeof(name), "@zpci-errord-manager-%d-%u", (int) getpid(), n++);
        memcpy(m->address.sun_path + 1, name + 1, strlen(name) - 1);
        m->address_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name));
        m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert(bind(m->fd, (struct sockaddr *) &m->address, m->address_size) >= 0);
        assert(sd_event_add_io(event, &m->source, m->fd, EPOLLIN, on_message, m) >= 0);
        assert(setenv("NOTIFY_SOCKET", name, 1) == 0);
}

void fake_manager_end(FakeManager *m) {
        if (!m->source)
                return;

        m->source = sd_event_source_disable_unref(m->source);
        m->fd = safe_close(m->fd);
        while (m->n_kept > 0)
                close(m->kept[--m->n_kept].fd);
        (void) unsetenv("NOTIFY_SOCKET");
}

int fake_manager_kept(const FakeManager *m, const char *name) {
        for (size_t i = 0; i < m->n_kept; i++)
                if (strcmp(m->kept[i].name, name) == 0)
                        return m->kept[i].fd;
        return -EBADF;
}
