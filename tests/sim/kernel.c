/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller.h"
#include "device.h"
#include "rpc.h"

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -EBADF;
}

bool kernel_signal(Controller *c, SimFunction *f, unsigned irq, uint64_t count) {
        int fd = c->slots[sim_slot(&c->sim, f)].irq[irq];

        if (fd < 0)
                return false;
        f->signals += count;
        return write(fd, &count, sizeof(count)) == sizeof(count);
}

typedef struct Poke {
        Controller *c;
        char path[PATH_MAX];
} Poke;

static int on_poke(sd_event_source *s, uint64_t usec, void *userdata) {
        Poke *p = userdata;
        int fd = open(p->path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd >= 0)
                close(fd);
        free(p);
        return 0;
}

/* The kernel's file of a group is closed only when the last device of it is; ours is closed with the
 * group's own fd. Who watches the node has to see the former. */
static void poke_group(Controller *c, const SimFunction *f) {
        Poke *p = malloc(sizeof(*p));
        int r;

        if (!p)
                return;
        p->c = c;
        snprintf(p->path, sizeof(p->path), "%s/dev/vfio/%u", c->sim.dir, f->group);
        r = sd_event_add_time(
                c->event, NULL, CLOCK_MONOTONIC, f->closing_until / 1000U, 1000, on_poke, p);
        if (r < 0)
                free(p);
}

void kernel_reap(Controller *c, SimFunction *f) {
        Slot *slot = c->slots + sim_slot(&c->sim, f);
        bool released = false, poke = false;

        sim_lock(&c->sim);
        if (f->group_open && !sim_fd_is_held(slot->look[SIM_NODE_GROUP]))
                f->group_open = false;
        if (f->open != SIM_OPEN_NO &&
            !sim_fd_is_held(
                    slot->look[f->open == SIM_OPEN_GROUP ? SIM_NODE_DEVICE : SIM_NODE_CDEV])) {
                poke = f->open == SIM_OPEN_GROUP && !f->group_open;
                sim_device_release(f);
                released = true;
        }
        if (!f->group_open && f->open == SIM_OPEN_NO)
                f->container = 0;
        sim_unlock(&c->sim);

        if (released) {
                close_fd(slot->irq + IRQ_ERR);
                close_fd(slot->irq + IRQ_REQ);
        }
        if (poke)
                poke_group(c, f);
}

int kernel_watch(Controller *c, SimFunction *f) {
        Slot *slot = c->slots + sim_slot(&c->sim, f);
        char path[PATH_MAX];

        kernel_unwatch(c, f);
        for (unsigned node = 0; node <= SIM_NODE_DEVICE; node++) {
                if (f->ino[node] == 0)
                        continue;
                if (node == SIM_NODE_GROUP)
                        snprintf(path, sizeof(path), "%s/dev/vfio/%u", c->sim.dir, f->group);
                else if (node == SIM_NODE_CDEV)
                        snprintf(path,
                                 sizeof(path),
                                 "%s/dev/vfio/devices/vfio%d",
                                 c->sim.dir,
                                 f->vfio_index);
                else
                        snprintf(path,
                                 sizeof(path),
                                 "%s/sim/device/%u",
                                 c->sim.dir,
                                 sim_slot(&c->sim, f));
                slot->look[node] = open(path, O_RDONLY | O_CLOEXEC);
                if (slot->look[node] < 0)
                        return -errno;
                /* A process that dies tells nobody. (Watching the same file again is not an error.) */
                if (inotify_add_watch(c->inotify, path, IN_CLOSE) < 0)
                        return -errno;
        }
        return 0;
}

void kernel_unwatch(Controller *c, SimFunction *f) {
        Slot *slot = c->slots + sim_slot(&c->sim, f);

        for (unsigned node = 0; node <= SIM_NODE_DEVICE; node++)
                close_fd(slot->look + node);
        close_fd(slot->irq + IRQ_ERR);
        close_fd(slot->irq + IRQ_REQ);
}

static int on_inotify(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Controller *c = userdata;
        char buf[4096] __attribute__((__aligned__(__alignof__(struct inotify_event))));

        while (read(fd, buf, sizeof(buf)) > 0)
                ;
        /* Which node it was does not matter: a look at those that are open is cheap. */
        for (unsigned i = 0; i < SIM_FUNCTIONS; i++) {
                SimFunction *f = c->sim.state->functions + i;

                if (f->used && (f->group_open || f->open != SIM_OPEN_NO))
                        kernel_reap(c, f);
        }
        return 0;
}

static bool is_eventfd(int fd) {
        char link[64], target[64] = "";

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        return readlink(link, target, sizeof(target) - 1) > 0 &&
               strcmp(target, "anon_inode:[eventfd]") == 0;
}

static int serve_irq(Controller *c, SimFunction *f, const SimRequest *request, int *fd) {
        unsigned irq = request->index == VFIO_PCI_ERR_IRQ_INDEX ? IRQ_ERR : IRQ_REQ;
        int *mine = c->slots[request->slot].irq + irq;
        bool armed = request->kind == SIM_REQUEST_IRQ;

        if (f->open == SIM_OPEN_NO || f->generation != request->generation)
                return -ENODEV;
        if (request->kind == SIM_REQUEST_IRQ_LOOPBACK) {
                kernel_signal(c, f, irq, 1);
                return 0;
        }
        if (armed && !is_eventfd(*fd))
                return *fd < 0 ? -EBADF : -EINVAL;

        close_fd(mine);
        if (armed) {
                *mine = *fd;
                *fd = -EBADF;
        }
        *(irq == IRQ_ERR ? &f->err_armed : &f->req_armed) = armed;
        return 0;
}

static void serve(Controller *c, int conn, const SimRequest *request, int *fd) {
        SimReply reply = {};
        SimFunction *f;

        f = request->slot < SIM_FUNCTIONS ? c->sim.state->functions + request->slot : NULL;
        if (!f || !f->used)
                reply.error = -ENODEV;
        else if (request->kind == SIM_REQUEST_REAP) {
                kernel_reap(c, f);
                if (f->open == SIM_OPEN_NO && sim_now() < f->closing_until)
                        reply.until = f->closing_until;
        } else
                reply.error = serve_irq(c, f, request, fd);
        (void) send(conn, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Returns the size of the request, and the fd that came with it. */
static ssize_t receive(int conn, SimRequest *request, int *ret_fd) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = request, .iov_len = sizeof(*request) };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *header;
        ssize_t n;

        n = recvmsg(conn, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0)
                return n;
        header = CMSG_FIRSTHDR(&message);
        if (header && header->cmsg_type == SCM_RIGHTS)
                memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
        return n;
}

/* A connection is good for one request, unless it becomes a reader of the kernel log. */
static int on_request(sd_event_source *s, int conn, uint32_t revents, void *userdata) {
        Controller *c = userdata;
        SimRequest request;
        int fd = -EBADF;
        ssize_t n;

        n = receive(conn, &request, &fd);
        sd_event_source_disable_unref(s);
        if (n == sizeof(request) && request.kind == SIM_REQUEST_KMSG &&
            kmsg_add_reader(c->kmsg, conn) >= 0)
                return 0;
        if (n == sizeof(request))
                serve(c, conn, &request, &fd);
        close_fd(&fd);
        close(conn);
        return 0;
}

static int on_connect(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Controller *c = userdata;
        int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (conn >= 0 &&
            sd_event_add_io(c->event, &(sd_event_source *){ NULL }, conn, EPOLLIN, on_request, c) <
                    0)
                close(conn);
        return 0;
}

int kernel_start(Controller *c) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int r;

        c->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (c->inotify < 0)
                return -errno;
        r = sd_event_add_io(c->event, NULL, c->inotify, EPOLLIN, on_inotify, c);
        if (r < 0)
                return r;

        if (snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sim/kernel", c->sim.dir) >=
            (int) sizeof(sa.sun_path))
                return -ENAMETOOLONG;
        c->kernel = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (c->kernel < 0 || bind(c->kernel, (struct sockaddr *) &sa, sizeof(sa)) < 0 ||
            listen(c->kernel, SOMAXCONN) < 0 || chmod(sa.sun_path, c->world ? 0666 : 0600) < 0)
                return -errno;
        return sd_event_add_io(c->event, NULL, c->kernel, EPOLLIN, on_connect, c);
}
