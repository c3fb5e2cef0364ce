/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A VFIO device as a source of error records, however it was come by.
 *
 * Interface: include/uapi/linux/vfio.h and vfio_zdev.h of Linux 7.3. Calls marked "blocks" take
 * tens of milliseconds or more, for they reset the function; they belong into the worker.
 */

#include <stdbool.h>
#include <stdint.h>

#include "record.h"
#include "util.h"

typedef struct VfioDevice VfioDevice;

/* Where the nodes of a function are. Either path may be empty. */
typedef struct VfioNodes {
        char address[PCI_ADDRESS_SIZE];
        char group[64]; /* /dev/vfio/<IOMMU group> */
        char cdev[96];  /* /dev/vfio/devices/vfio<N> */
} VfioNodes;

/* What went wrong in vfio_open(), for the message to the administrator. */
typedef struct VfioProblem {
        const char *what; /* the call or fact, static */
        char path[96];    /* the node, empty if it is not about one */
} VfioProblem;

/*
 * Opens a function's device, by its character device and /dev/iommu where both exist, else by its
 * group; learns which error interface it has; and installs one eventfd for errors and one for the
 * kernel's request to let go. Opening resets the function, and takes its recovery from the kernel.
 * Blocks.
 *
 * Returns 0, or with nothing left open
 *   -EBUSY       somebody else holds it
 *   -EAGAIN      the kernel is just handling an error of it: try again within milliseconds
 *   -EOPNOTSUPP  this kernel has no error records, or no error interrupt, or records of a length
 *                that we cannot keep: *ret_problem says which
 *   -EACCES, -EPERM  no permission for a node, or the sandbox refuses it
 *   -ENOENT      there is no node
 *   -EBADMSG     the capability chain of VFIO_DEVICE_GET_INFO is malformed
 *   other errors of open(2) and ioctl(2)
 */
int vfio_open(const VfioNodes *nodes, VfioDevice **ret, VfioProblem *ret_problem);
/* Closes the device. The kernel throws away what is queued, and resets the function. Blocks. */
VfioDevice *vfio_close(VfioDevice *device);
DEFINE_TRIVIAL_CLEANUP_FUNC(VfioDevice *, vfio_close);

/* The eventfds, both non-blocking; the device's own. */
int vfio_error_fd(const VfioDevice *device);
int vfio_request_fd(const VfioDevice *device);
RecordInterface vfio_interface(const VfioDevice *device);
/* The function handle at the moment of opening. */
uint32_t vfio_function_handle(const VfioDevice *device);

/*
 * Takes one record out of the kernel's queue, into a reserved slot of the ring: sets source,
 * interface and raw_size before, since the ioctl may be the last thing this process does. Does not
 * block.
 *
 * Returns 1 for a record, 0 if none is pending, a negative errno otherwise (-ENODEV: the function
 * is gone). In the last two cases the raw bytes are blank.
 */
int vfio_read_error(VfioDevice *device, Record *record);

/*
 * Whether the last record came from a revision of the packed interface of which only the beginning
 * is understood.
 */
bool vfio_is_unknown_revision(const VfioDevice *device);

/*
 * Resets the function, which recovers it. Returns 0, -EAGAIN while the kernel is still handling the
 * error (try again), or another errno. Blocks.
 */
int vfio_reset(VfioDevice *device);
