/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "vfio-device.h"
#include "vfio-uapi.h"

int vfio_problem(VfioProblem *problem, int error, const char *what) {
        problem->what = what;
        return error;
}

int vfio_open_node(const char *path, VfioProblem *problem) {
        int fd;

        (void) snprintf(problem->path, sizeof(problem->path), "%s", path);
        if (path[0] == '\0')
                return vfio_problem(problem, -ENOENT, "it has no node");

        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return vfio_problem(problem, -errno, "open");

        /* What fails from here on is not about this node. */
        problem->path[0] = '\0';
        return fd;
}

static int vfio_arm(const VfioDevice *device, uint32_t index, int event_fd) {
        /* struct vfio_irq_set, whose data are one eventfd. */
        struct {
                uint32_t argsz;
                uint32_t flags;
                uint32_t index;
                uint32_t start;
                uint32_t count;
                int32_t event_fd;
        } irq = {
                .argsz = sizeof(irq),
                .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                .index = index,
                .count = 1,
                .event_fd = event_fd,
        };

        return ioctl(device->fd, VFIO_DEVICE_SET_IRQS, &irq) < 0 ? -errno : 0;
}

/* Makes an eventfd and installs it. */
static int vfio_make_eventfd(VfioDevice *device, uint32_t index, int *ret) {
        int r;

        *ret = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (*ret < 0)
                return -errno;

        r = vfio_arm(device, index, *ret);
        if (r < 0)
                *ret = safe_close(*ret);
        return r;
}

int vfio_watch(VfioDevice *device, VfioProblem *problem) {
        int r = 0;

        assert(device);
        assert(problem);

        /* A holder that cannot be asked to let go hangs whoever unbinds the function. */
        if (device->request_fd < 0)
                r = vfio_make_eventfd(device, VFIO_PCI_REQ_IRQ_INDEX, &device->request_fd);
        if (r == -EINVAL)
                return vfio_problem(problem, -EOPNOTSUPP, "the kernel cannot ask for it back");
        if (r < 0)
                return vfio_problem(problem, r, "VFIO_DEVICE_SET_IRQS (request)");

        if (device->error_fd < 0)
                r = vfio_make_eventfd(device, VFIO_PCI_ERR_IRQ_INDEX, &device->error_fd);
        if (r == -EINVAL)
                return vfio_problem(
                        problem,
                        -EOPNOTSUPP,
                        "the kernel has no error interrupt for it (Linux 7.3 or newer has)");
        if (r < 0)
                return vfio_problem(problem, r, "VFIO_DEVICE_SET_IRQS (error)");
        return 0;
}

VfioDevice *vfio_device_new(void) {
        VfioDevice *device;

        device = malloc(sizeof(*device));
        if (device)
                *device = (VfioDevice){
                        .fd = -EBADF,
                        .error_fd = -EBADF,
                        .request_fd = -EBADF,
                        .group_fd = -EBADF,
                        .container_fd = -EBADF,
                        .iommu_fd = -EBADF,
                };
        return device;
}

static void vfio_device_clear(VfioDevice *device) {
        /* The device before what it hangs on: its close is the one that resets the function. */
        device->fd = safe_close(device->fd);
        device->group_fd = safe_close(device->group_fd);
        device->container_fd = safe_close(device->container_fd);
        device->iommu_fd = safe_close(device->iommu_fd);
        device->error_fd = safe_close(device->error_fd);
        device->request_fd = safe_close(device->request_fd);
}

/* Whether a function that cannot be had by its character device may be had by its group. */
static bool vfio_is_no_cdev(int error) {
        return error == -ENOENT || error == -ENODEV || error == -ENXIO || error == -EACCES ||
               error == -EPERM;
}

static int vfio_come_by(VfioDevice *device, const VfioNodes *nodes, VfioProblem *problem) {
        VfioProblem with_cdev;
        int r = -ENOENT, cdev_error;

        if (nodes->cdev[0] != '\0')
                r = vfio_cdev_open(device, nodes, problem);
        if (r >= 0 || !vfio_is_no_cdev(r))
                return r;

        cdev_error = r;
        with_cdev = *problem;
        vfio_device_clear(device);
        r = vfio_group_open(device, nodes, problem);

        /* Without a group node either, what there is to mend is the character device. */
        if (r == -ENOENT && cdev_error != -ENOENT) {
                *problem = with_cdev;
                return cdev_error;
        }
        return r;
}

/* Of a function that is ours to hold: that it has no records is all that counts. */
static int vfio_learn(VfioDevice *device, VfioProblem *problem) {
        int r;

        r = vfio_error_learn(device, problem);
        return r == -ENXIO ? -EOPNOTSUPP : r;
}

int vfio_open(const VfioNodes *nodes, VfioDevice **ret, VfioProblem *ret_problem) {
        _cleanup_(vfio_closep) VfioDevice *device = NULL;
        int r;

        assert(nodes);
        assert(ret);
        assert(ret_problem);

        *ret_problem = (VfioProblem){ 0 };

        device = vfio_device_new();
        if (!device)
                return vfio_problem(ret_problem, -ENOMEM, "memory");

        r = vfio_come_by(device, nodes, ret_problem);
        if (r < 0)
                return r;
        r = vfio_learn(device, ret_problem);
        if (r < 0)
                return r;
        r = vfio_watch(device, ret_problem);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(device);
        return 0;
}

int vfio_take_back(VfioFds *fds, VfioDevice **ret, VfioProblem *ret_problem) {
        _cleanup_(vfio_closep) VfioDevice *device = NULL;
        int r;

        assert(fds);
        assert(fds->device >= 0);
        assert(ret);
        assert(ret_problem);

        *ret_problem = (VfioProblem){ 0 };

        device = vfio_device_new();
        if (!device) {
                fds->device = safe_close(fds->device);
                fds->error = safe_close(fds->error);
                fds->request = safe_close(fds->request);
                return vfio_problem(ret_problem, -ENOMEM, "memory");
        }
        device->fd = TAKE_FD(fds->device);
        device->error_fd = TAKE_FD(fds->error);
        device->request_fd = TAKE_FD(fds->request);

        if (!vfio_is_device(device->fd, true))
                return vfio_problem(ret_problem, -ENOTTY, "it is no VFIO device");
        /* It is read until it is empty. */
        if (device->error_fd >= 0 && fcntl(device->error_fd, F_SETFL, O_NONBLOCK) < 0)
                return vfio_problem(ret_problem, -errno, "fcntl");

        r = vfio_learn(device, ret_problem);
        if (r < 0)
                return r;
        r = vfio_watch(device, ret_problem);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(device);
        return 0;
}

VfioDevice *vfio_close(VfioDevice *device) {
        if (!device)
                return NULL;

        vfio_device_clear(device);
        free(device);
        return NULL;
}

VfioFds vfio_fds(const VfioDevice *device) {
        assert(device);

        return (VfioFds){
                .device = device->fd,
                .error = device->error_fd,
                .request = device->request_fd,
        };
}

int vfio_error_fd(const VfioDevice *device) {
        assert(device);

        return device->error_fd;
}

int vfio_request_fd(const VfioDevice *device) {
        assert(device);

        return device->request_fd;
}

RecordInterface vfio_interface(const VfioDevice *device) {
        assert(device);

        return device->interface;
}

uint32_t vfio_function_handle(const VfioDevice *device) {
        assert(device);

        return device->fh;
}

int vfio_reset(VfioDevice *device) {
        assert(device);

        return ioctl(device->fd, VFIO_DEVICE_RESET) < 0 ? -errno : 0;
}
