/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc.h"

#define ANSWER_SEC 10 /* the controller answers at once; more means that it is stuck */

int sim_rpc_connect(const Sim *sim, int flags) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int fd;

        snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sim/kernel", sim->dir);

        fd = (int) syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | flags, 0);
        if (fd < 0)
                return -errno;
        if (syscall(SYS_connect, fd, &sa, sizeof(sa)) < 0) {
                int r = -errno;

                syscall(SYS_close, fd);
                return r;
        }
        return fd;
}

static int exchange(int sock, const SimRequest *request, int fd, SimReply *ret) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {
                .header = {
                        .cmsg_len = CMSG_LEN(sizeof(int)),
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                },
        };
        struct iovec iov = { .iov_base = (void *) request, .iov_len = sizeof(*request) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        const struct timeval timeout = { .tv_sec = ANSWER_SEC };
        ssize_t n;

        if (fd >= 0) {
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
        }

        if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
                return -errno;
        if (syscall(SYS_sendmsg, sock, &message, MSG_NOSIGNAL) < 0)
                return -errno;

        do
                n = (ssize_t) syscall(SYS_read, sock, ret, sizeof(*ret));
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return n == sizeof(*ret) ? ret->error : -EIO;
}

int sim_rpc(const Sim *sim, const SimRequest *request, int fd, SimReply *ret) {
        int sock, r;

        *ret = (SimReply){};
        sock = sim_rpc_connect(sim, SOCK_CLOEXEC);
        if (sock < 0)
                return sock;
        r = exchange(sock, request, fd, ret);
        syscall(SYS_close, sock);
        return r;
}
