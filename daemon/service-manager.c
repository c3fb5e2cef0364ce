/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "service-manager.h"

/* "/path" or "@abstract". */
int service_manager_find(ServiceManager *ret) {
        const char *name = getenv("NOTIFY_SOCKET");
        ServiceManager manager = { 0 };
        size_t size;

        assert(ret);

        *ret = manager;
        if (!name)
                return 0;
        size = strlen(name);
        if ((name[0] != '/' && name[0] != '@') || size < 2 ||
            size >= sizeof(manager.address.sun_path))
                return -EINVAL;

        manager.address.sun_family = AF_UNIX;
        memcpy(manager.address.sun_path, name, size);
        if (name[0] == '@')
                manager.address.sun_path[0] = '\0';
        manager.address_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + size);
        *ret = manager;
        return 0;
}

static ssize_t send_with_fd(int socket_fd, const char *text, size_t size, int fd) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct iovec data = { .iov_base = (char *) text, .iov_len = size }; /* only read from */
        struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

        if (fd >= 0) {
                struct cmsghdr *header;

                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(header), &fd, sizeof(int));
        }

        return sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int service_manager_send(
        const ServiceManager *manager, const char *text, size_t size, int fd, int *ret_socket) {
        _cleanup_close_ int socket_fd = -EBADF;
        int r;

        assert(manager);
        assert(service_manager_exists(manager));
        assert(text);
        assert(ret_socket);

        /* A socket for each message, as sd_notify(3) does it: the service manager may have been
         * restarted. Connected, since one that is not is always writable. */
        socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (socket_fd < 0 ||
            connect(socket_fd, (const struct sockaddr *) &manager->address, manager->address_size) <
                    0)
                return -errno;

        if (send_with_fd(socket_fd, text, size, fd) >= 0)
                return 0;

        r = -errno;
        if (r == -EAGAIN)
                *ret_socket = TAKE_FD(socket_fd);
        return r;
}
