/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A PCI function as its VFIO device, for the programs that run in the guest. All but device_try_open() end the program
 * with a message on failure. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RECORD_MAX 4096 /* far more than any kernel's ccdf_err_length */

struct device {
        const char *address;
        int fd, group, container; /* -1 where there is none */
        uint64_t start_dma;       /* first address of the DMA aperture */
        uint32_t handle;          /* function handle, as sysfs shows it */
        uint32_t record_length;   /* bytes of an error record, 0 if the kernel has none to give */
};

/* The number of the IOMMU group of the function at this address, for the names in /dev/vfio and /sys/class/vfio. Returns
 * -errno if there is no such function. */
int device_group(const char *address);

/* Opens the function at this address by its IOMMU group. Returns 0, or -errno with the step that failed in *step. */
int device_try_open(struct device *device, const char *address, const char **step);

/* The same for those who do not expect it to fail. */
void device_open(struct device *device, const char *address);

/* Closes what is open. */
void device_close(struct device *device);

/* Duplicates the device fd that another process holds of the function at this address. */
void device_borrow(struct device *device, const char *address, pid_t pid);

/* VFIO_DEVICE_RESET, repeated while the kernel still handles the error. */
void device_reset(const struct device *device);

/* Has the kernel signal this eventfd. index: VFIO_PCI_ERR_IRQ_INDEX or VFIO_PCI_REQ_IRQ_INDEX. */
void device_arm(const struct device *device, uint32_t index, int eventfd);

/* Takes the oldest record out of the kernel's queue. Returns its length, 0 if there is none. */
size_t device_take_record(const struct device *device, uint8_t record[static RECORD_MAX]);

/* Little-endian access of 1, 2 or 4 bytes. region: VFIO_PCI_CONFIG_REGION_INDEX or a BAR's number. */
uint32_t device_read(const struct device *device, uint32_t region, uint64_t offset, size_t size);
void device_write(
        const struct device *device, uint32_t region, uint64_t offset, size_t size, uint32_t value);
