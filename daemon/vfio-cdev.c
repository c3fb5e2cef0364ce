/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/ioctl.h>

#include "vfio-device.h"
#include "vfio-uapi.h"

#define IOMMU_NODE "/dev/iommu"

int vfio_cdev_open(VfioDevice *device, const VfioNodes *nodes, VfioProblem *problem) {
        struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
        int r;

        assert(device);
        assert(nodes);

        r = vfio_open_node(nodes->cdev, problem);
        if (r < 0)
                return r;
        device->fd = r;

        r = vfio_open_node(IOMMU_NODE, problem);
        if (r < 0)
                return r;
        device->iommu_fd = r;

        /*
         * No address space is attached after this, so the function can do no DMA while it is ours.
         */
        bind.iommufd = device->iommu_fd;
        if (ioctl(device->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) < 0) {
                /* Another holder shows as EINVAL if it came through the character device, as EBUSY
                 * if it came through the group. */
                r = errno == EINVAL ? -EBUSY : -errno;
                return vfio_problem(problem, r, "VFIO_DEVICE_BIND_IOMMUFD");
        }
        return 0;
}
