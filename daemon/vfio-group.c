/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/ioctl.h>

#include "vfio-device.h"
#include "vfio-uapi.h"

#define VFIO_CONTAINER_NODE "/dev/vfio/vfio"

static int vfio_group_check(int group_fd, VfioProblem *problem) {
        struct vfio_group_status status = { .argsz = sizeof(status) };

        if (ioctl(group_fd, VFIO_GROUP_GET_STATUS, &status) < 0)
                return vfio_problem(problem, -errno, "VFIO_GROUP_GET_STATUS");
        if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
                return vfio_problem(problem, -EBUSY, "its IOMMU group is not viable");
        return 0;
}

int vfio_group_open(VfioDevice *device, const VfioNodes *nodes, VfioProblem *problem) {
        int r;

        assert(device);
        assert(nodes);

        /* The group first: whether somebody holds the function is answered here. */
        r = vfio_open_node(nodes->group, problem);
        if (r < 0)
                return r;
        device->group_fd = r;

        r = vfio_group_check(device->group_fd, problem);
        if (r < 0)
                return r;

        r = vfio_open_node(VFIO_CONTAINER_NODE, problem);
        if (r < 0)
                return r;
        device->container_fd = r;

        if (ioctl(device->container_fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
                return vfio_problem(problem, -EOPNOTSUPP, "the VFIO API has an unknown version");
        if (ioctl(device->container_fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) <= 0)
                return vfio_problem(problem, -EOPNOTSUPP, "VFIO has no type 1 IOMMU");
        if (ioctl(device->group_fd, VFIO_GROUP_SET_CONTAINER, &device->container_fd) < 0)
                return vfio_problem(problem, -errno, "VFIO_GROUP_SET_CONTAINER");
        if (ioctl(device->container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
                return vfio_problem(problem, -errno, "VFIO_SET_IOMMU");

        r = ioctl(device->group_fd, VFIO_GROUP_GET_DEVICE_FD, nodes->address);
        if (r < 0)
                return vfio_problem(problem, -errno, "VFIO_GROUP_GET_DEVICE_FD");
        device->fd = r;
        return 0;
}
