/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The socket of the service manager ($NOTIFY_SOCKET, sd_notify(3)), without ever waiting for it.
 *
 * sd_notify(3) blocks once this socket is full, and the service manager may stand still for seconds
 * (systemctl daemon-reload on a large machine).
 */

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util.h"

/* Zero stands for no service manager. */
typedef struct ServiceManager {
        struct sockaddr_un address;
        socklen_t address_size;
} ServiceManager;

/*
 * Learns the address from $NOTIFY_SOCKET; without one there is no service manager. Returns 0, or
 * -EINVAL if it is no address of a local socket.
 */
int service_manager_find(ServiceManager *ret);
static inline bool service_manager_exists(const ServiceManager *manager) {
        return manager->address_size > 0;
}

/*
 * Sends a message, and a duplicate of fd if that is not negative. Returns 0, -EAGAIN if the socket
 * is full: then *ret_socket is a socket that becomes writable (EPOLLOUT) once there is room, which
 * is the caller's; or another error of socket(2), connect(2) and sendmsg(2).
 */
int service_manager_send(
        const ServiceManager *manager, const char *text, size_t size, int fd, int *ret_socket);
