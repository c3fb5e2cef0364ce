/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of vfio.c share, and nobody else sees. */

#include <stdbool.h>

#include "vfio.h"

struct VfioDevice {
        int fd;
        int error_fd; /* eventfds */
        int request_fd;
        int group_fd; /* these two … */
        int container_fd;
        int iommu_fd; /* … or this one */
        RecordInterface interface;
        uint32_t record_size; /* RECORD_CCDF: how much the kernel writes */
        uint32_t fh;
        uint8_t packed_version; /* RECORD_PACKED: of the last record */
};

/*
 * Come by a device: fill in the descriptors. Errors as vfio_open(), what is open stays in the
 * device.
 */
int vfio_group_open(VfioDevice *device, const VfioNodes *nodes, VfioProblem *problem);
int vfio_cdev_open(VfioDevice *device, const VfioNodes *nodes, VfioProblem *problem);

/*
 * Learns the error interface and the function handle. Consumes no record. Returns 0, -ENXIO if VFIO
 * knows it as no zPCI function, or as vfio_open().
 */
int vfio_error_learn(VfioDevice *device, VfioProblem *problem);

/*
 * Whether fd looks like a VFIO device: an anonymous inode of VFIO, or a character device that sysfs
 * knows as one of a PCI function. Found out without asking it anything. unbound: or knows not at all
 * any more, for a function that is just being unbound is gone from there while its device is open.
 */
bool vfio_is_device(int fd, bool unbound);
/* One without any fd. NULL if there is no memory. */
VfioDevice *vfio_device_new(void);
/* Makes and installs the eventfds that it has not. Errors as vfio_open(). */
int vfio_watch(VfioDevice *device, VfioProblem *problem);

/* Opens a node. Returns an fd or a negative errno, and names the node in *problem. */
int vfio_open_node(const char *path, VfioProblem *problem);
/* Notes what failed. Returns error. */
int vfio_problem(VfioProblem *problem, int error, const char *what);
