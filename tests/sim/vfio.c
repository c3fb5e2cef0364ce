/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Nodes, containers and groups, and the way to an open device on both paths. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rpc.h"
#include "vfio.h"

#define DEVICE_BIND_IOMMUFD                                                                        \
        _IO(VFIO_TYPE, VFIO_BASE + 18) /* newer than the oldest kernel headers that we build with */

static int raw_open(const char *path, int flags) {
        int fd = (int) syscall(SYS_openat, AT_FDCWD, path, flags, 0);

        return fd < 0 ? -errno : fd;
}

static void raw_close(int fd) {
        syscall(SYS_close, fd);
}

/* Whoever holds a function may be dead. Only the controller looks: it has fds to look with, and an open
 * of our own would be seen by everybody who watches the node. */
static uint64_t reap(Sim *sim, unsigned slot) {
        SimReply reply;

        return sim_rpc(sim, &(SimRequest){ .kind = SIM_REQUEST_REAP, .slot = slot }, -1, &reply) < 0
                       ? 0
                       : reply.until;
}

void sim_vfio_closed(Sim *sim, const SimRef *ref) {
        uint64_t until;

        if (ref->node > SIM_NODE_DEVICE)
                return;
        until = reap(sim, ref->slot);
        if (until > 0)
                sim_sleep_until(until);
}

/* A busy group is not even opened: the failing open of a real one tells inotify nothing either. */
static int group_is_busy(Sim *sim, const SimRef *ref) {
        SimFunction *f;
        int r = 0;

        sim_lock(sim);
        f = sim_ref_function(sim, ref);
        if (!f)
                r = -ENODEV;
        else if (f->group_open || f->open != SIM_OPEN_NO || sim_now() < f->closing_until) {
                f->busy++;
                r = -EBUSY;
        }
        sim_unlock(sim);
        return r;
}

static int open_group(Sim *sim, const char *path, const SimRef *ref, int flags) {
        SimFunction *f;
        int fd, r;

        r = group_is_busy(sim, ref);
        if (r == -EBUSY) {
                reap(sim, ref->slot);
                r = group_is_busy(sim, ref);
        }
        if (r < 0)
                return r;

        fd = raw_open(path, flags);
        if (fd < 0)
                return fd;

        sim_lock(sim);
        f = sim_ref_function(sim, ref);
        r = f ? sim_group_open(sim, f, fd) : -ENODEV;
        sim_unlock(sim);
        if (r < 0) {
                raw_close(fd);
                return r;
        }
        return fd;
}

static int open_container(Sim *sim, const char *path, int flags) {
        int fd = raw_open(path, flags);
        uint32_t id;

        if (fd < 0)
                return fd;

        sim_lock(sim);
        id = sim->state->next_container++ % (SIM_CONTAINERS - 1) + 1;
        sim->state->container_iommu[id] = 0;
        sim_unlock(sim);
        sim_fd_set_word(fd, id);
        return fd;
}

int sim_vfio_open(Sim *sim, const char *path, int flags) {
        char node[PATH_MAX];
        SimRef ref;

        if (snprintf(node, sizeof(node), "%s%s", sim->dir, path) >= (int) sizeof(node))
                return -ENAMETOOLONG;
        if (flags & O_PATH) /* opens nothing */
                return raw_open(node, flags);

        /* Our locks need a file that is open for reading and writing, whatever the client wants. */
        flags = (flags & (O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)) | O_RDWR;

        if (!sim_identify_path(sim, node, &ref))
                return raw_open(node, flags); /* usually ENOENT */

        if (ref.node == SIM_NODE_GROUP) {
                if (syscall(SYS_faccessat, AT_FDCWD, node, R_OK | W_OK) < 0)
                        return -errno;
                return open_group(sim, node, &ref, flags);
        }
        if (ref.node == SIM_NODE_CONTAINER)
                return open_container(sim, node, flags);
        return raw_open(node, flags);
}

static int container_ioctl(Sim *sim, int fd, unsigned long request, void *arg) {
        uint32_t id = (uint32_t) sim_fd_word(fd) % SIM_CONTAINERS;
        uintptr_t value = (uintptr_t) arg;
        int r = -EINVAL;

        switch (request) {
        case VFIO_GET_API_VERSION:
                return VFIO_API_VERSION;
        case VFIO_CHECK_EXTENSION:
                return value == VFIO_TYPE1_IOMMU || value == VFIO_TYPE1v2_IOMMU;
        case VFIO_SET_IOMMU:
                if (value != VFIO_TYPE1_IOMMU && value != VFIO_TYPE1v2_IOMMU)
                        return -ENODEV;
                sim_lock(sim);
                for (unsigned i = 0; i < SIM_FUNCTIONS;
                     i++) /* a container without a group has none to set */
                        if (sim->state->functions[i].used &&
                            sim->state->functions[i].container == id) {
                                sim->state->container_iommu[id] = 1;
                                r = 0;
                                break;
                        }
                sim_unlock(sim);
                return r;
        default:
                return -ENOTTY;
        }
}

static int set_container(Sim *sim, SimFunction *f, const int *container) {
        SimRef ref;

        if (fcntl(*container, F_GETFD) < 0)
                return -EBADF;
        if (f->container > 0 || !sim_identify(sim, *container, &ref) ||
            ref.node != SIM_NODE_CONTAINER)
                return -EINVAL;
        f->container = (uint32_t) sim_fd_word(*container);
        return 0;
}

static int get_device_fd(Sim *sim, const SimRef *ref, const char *name) {
        char path[PATH_MAX];
        SimFunction *f;
        uint64_t until = 0;
        int fd, r;

        snprintf(path, sizeof(path), "%s/sim/device/%u", sim->dir, ref->slot);
        fd = raw_open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return -ENODEV;

        sim_lock(sim);
        f = sim_ref_function(sim, ref);
        if (!f || strcmp(f->address, name) != 0)
                r = -ENODEV;
        else if (f->container == 0 || !sim->state->container_iommu[f->container])
                r = -EINVAL;
        else
                r = sim_device_open(sim, f, SIM_OPEN_GROUP, fd, &until);
        sim_unlock(sim);

        if (until > 0)
                sim_sleep_until(until);
        if (r < 0) {
                raw_close(fd);
                return r;
        }
        return fd;
}

static int group_ioctl(Sim *sim, int fd, const SimRef *ref, unsigned long request, void *arg) {
        SimFunction *f;
        int r;

        if (request == VFIO_GROUP_GET_DEVICE_FD)
                return get_device_fd(sim, ref, arg);

        sim_lock(sim);
        f = sim_ref_function(sim, ref);
        if (!f || f->group_generation != sim_fd_word(fd))
                r = -ENODEV;
        else if (request == VFIO_GROUP_GET_STATUS) {
                r = get_u32(arg) < 8 ? -EINVAL : 0;
                if (r == 0)
                        put_u32((uint8_t *) arg + 4,
                                VFIO_GROUP_FLAGS_VIABLE |
                                        (f->container ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0));
        } else if (request == VFIO_GROUP_SET_CONTAINER)
                r = set_container(sim, f, arg);
        else if (request == VFIO_GROUP_UNSET_CONTAINER) {
                r = f->container == 0 ? -EINVAL : f->open != SIM_OPEN_NO ? -EBUSY : 0;
                if (r == 0)
                        f->container = 0;
        } else
                r = -ENOTTY;
        sim_unlock(sim);
        return r;
}

static int bind_once(Sim *sim, const SimRef *ref, int fd, uint64_t *ret_until) {
        SimFunction *f;
        int r;

        sim_lock(sim);
        f = sim_ref_function(sim, ref);
        if (!f)
                r = -ENODEV;
        else if (f->group_open || f->open == SIM_OPEN_GROUP || sim_now() < f->closing_until) {
                f->busy++;
                r = -EBUSY;
        } else
                r = sim_device_open(sim, f, SIM_OPEN_CDEV, fd, ret_until);
        sim_unlock(sim);
        return r;
}

static int bind_iommufd(Sim *sim, int fd, const SimRef *ref, uint8_t *arg) {
        uint64_t until = 0;
        SimRef iommu;
        int r;

        if (get_u32(arg) < 16 || get_u32(arg + 4) != 0 || sim_fd_word(fd) != 0)
                return -EINVAL;
        if (fcntl((int) get_u32(arg + 8), F_GETFD) < 0)
                return -EBADF;
        if (!sim_identify(sim, (int) get_u32(arg + 8), &iommu) || iommu.node != SIM_NODE_IOMMU)
                return -EINVAL;

        r = bind_once(sim, ref, fd, &until);
        if (r == -EBUSY || r == -EINVAL) {
                reap(sim, ref->slot);
                r = bind_once(sim, ref, fd, &until);
        }
        if (until > 0)
                sim_sleep_until(until);
        if (r == 0)
                put_u32(arg + 12, ref->slot + 1);
        return r;
}

static int reset(Sim *sim, const SimRef *ref) {
        uint64_t until = 0;
        SimFunction *f;
        bool permanent;
        int r;

        sim_lock(sim);
        f = sim_ref_function(sim, ref);
        r = f ? sim_device_reset(f, &until) : -ENODEV;
        permanent = f && f->permanent;
        sim_unlock(sim);

        if (until > 0)
                sim_sleep_until(until);
        return r == 0 && permanent ? -EIO : r;
}

static int device_ioctl(Sim *sim, int fd, const SimRef *ref, unsigned long request, void *arg) {
        uint64_t word = sim_fd_word(fd);
        SimFunction *f;
        bool bound;

        if (request == DEVICE_BIND_IOMMUFD)
                return ref->node == SIM_NODE_CDEV ? bind_iommufd(sim, fd, ref, arg) : -ENOTTY;

        sim_lock(sim);
        f = sim_ref_function(sim, ref);
        bound = f && f->open != SIM_OPEN_NO && f->generation == word;
        sim_unlock(sim);
        if (!f)
                return -ENODEV;
        if (!bound)
                return ref->node == SIM_NODE_CDEV ? -EINVAL : -ENODEV;

        switch (request) {
        case VFIO_DEVICE_GET_INFO:
                return sim_vfio_info(sim, f, arg);
        case VFIO_DEVICE_GET_IRQ_INFO:
                return sim_vfio_irq_info(f, arg);
        case VFIO_DEVICE_SET_IRQS:
                return sim_vfio_set_irqs(sim, f, arg);
        case VFIO_DEVICE_RESET:
                return reset(sim, ref);
        case VFIO_DEVICE_FEATURE:
                return sim_vfio_feature(sim, f, arg);
        default:
                return -ENOTTY;
        }
}

int sim_vfio_ioctl(Sim *sim, int fd, const SimRef *ref, unsigned long request, void *arg) {
        if (fcntl(fd, F_GETFL) & O_PATH)
                return -EBADF;

        switch (ref->node) {
        case SIM_NODE_CONTAINER:
                return container_ioctl(sim, fd, request, arg);
        case SIM_NODE_GROUP:
                return group_ioctl(sim, fd, ref, request, arg);
        case SIM_NODE_CDEV:
        case SIM_NODE_DEVICE:
                return device_ioctl(sim, fd, ref, request, arg);
        default:
                return -ENOTTY;
        }
}
