/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A PCI function as its VFIO device, for the fault helper. All of these end the program with a message on failure. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RECORD_MAX 4096 /* far more than any kernel's ccdf_err_length */

struct device {
        const char *address;
        int fd;
        uint64_t start_dma;     /* first address of the DMA aperture */
        uint32_t handle;        /* function handle, as sysfs shows it */
        uint32_t record_length; /* bytes of an error record, 0 if the kernel has none to give */
};

/* Opens the function at this address by its IOMMU group, to hold it until the process ends. */
void device_open(struct device *device, const char *address);

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
