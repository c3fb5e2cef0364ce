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

/* What makes up an open device. Each is an fd, or negative. The eventfds are such (vfio_is_eventfd()). */
typedef struct VfioFds {
        int device;
        int error;   /* the eventfd for errors */
        int request; /* the eventfd for the kernel's request to let go */
} VfioFds;

#define VFIO_NO_FDS ((VfioFds){ .device = -EBADF, .error = -EBADF, .request = -EBADF })

/*
 * Takes back a device that a former run opened, if it still looks like one, see vfio_recognise().
 * Eventfds that are missing are made and installed anew; what had been signalled on them is not
 * known then. Takes the fds over in any case. Returns 0, -ENOTTY if it is no VFIO device, or as
 * vfio_open(). Blocks.
 */
int vfio_take_back(VfioFds *fds, VfioDevice **ret, VfioProblem *ret_problem);

/*
 * Finds out whether fd, which somebody handed us, is an open VFIO device of a zPCI function, and
 * learns which. Before anything is asked of it that whoever stands behind it could answer late or
 * never, it must look like one: an anonymous inode of VFIO, or a character device that sysfs knows
 * as a VFIO device of a PCI function. The device has a duplicate, nothing installed yet, and no
 * eventfds. Blocks.
 *
 * Returns 0; -ENOTTY if it is no VFIO device, or not an open one; -ENXIO if it is that of another
 * PCI function; or as vfio_open().
 */
int vfio_recognise(int fd, VfioDevice **ret, VfioProblem *ret_problem);
/*
 * Makes a recognised device one whose errors are ours to drain: installs a new eventfd for errors,
 * in the place of the owner's. address is that of the function it was found to be: its handle in
 * sysfs must still be the device's. request_fd is the owner's eventfd for the kernel's request, which
 * is duplicated. Blocks.
 *
 * Returns 0, -ESTALE if the handle is another one, or as vfio_open().
 */
int vfio_attach(VfioDevice *device, const char *address, int request_fd, VfioProblem *ret_problem);
/* Whether fd is an eventfd, found out without asking it anything. */
bool vfio_is_eventfd(int fd);

/* Closes the device. The kernel throws away what is queued, and resets the function. Blocks. */
VfioDevice *vfio_close(VfioDevice *device);
DEFINE_TRIVIAL_CLEANUP_FUNC(VfioDevice *, vfio_close);

/* Its fds: the device's own. Those eventfds that we made are non-blocking. */
VfioFds vfio_fds(const VfioDevice *device);
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
