/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What sysfs says of one PCI function.
 *
 * Attributes: Documentation/ABI/testing/sysfs-bus-pci and arch/s390/pci/pci_sysfs.c of Linux. All
 * of it is checked: an attribute that is missing, empty, too long or no number is an error that
 * names it.
 */

#include <libudev.h>
#include <stdbool.h>
#include <stdint.h>

#include "parse.h"
#include "state.h"

#define SYSFS_NAME_SIZE 64U

typedef struct SysfsFunction {
        char address[PCI_ADDRESS_SIZE];
        char driver[SYSFS_NAME_SIZE]; /* empty if no driver is bound */
        bool vfio_bound;              /* by vfio-pci or a variant driver: it has a vfio-dev child */
        bool has_policy; /* the udev property ZPCI_ERRORD_POLICY has a valid value … */
        Policy policy;   /* … which is this */

        uint32_t fid; /* function_id */
        uint32_t fh;  /* function_handle */
        uint32_t uid;
        uint16_t pchid;
        uint16_t vfn; /* 0 = no virtual function */
        uint8_t pfgid;
        uint8_t pft;

        uint32_t group;             /* number of its IOMMU group, UINT32_MAX if it has none */
        char cdev[SYSFS_NAME_SIZE]; /* its vfio-dev child ("vfio0"), empty if there is none */
        uint64_t binding;           /* tells one binding to VFIO from the next, 0 if not bound */
} SysfsFunction;

/* What is wrong with a function's attributes, for the message to the administrator. */
typedef struct SysfsProblem {
        const char *attribute; /* static, NULL if nothing is wrong */
        char value[32]; /* the beginning of what was there, printable; empty if it cannot be read */
} SysfsProblem;

/*
 * Reads what sysfs says of a device of the PCI subsystem. libudev remembers what it read once, so
 * device has to be a fresh one. Returns
 *   1        it is a zPCI function (it has function_id), and *ret is complete. *ret_problem names
 *            the udev property if its value is no policy: then has_policy is false
 *   0        it is another PCI function, or none any more
 *   -EBADMSG an attribute is missing or wrong; *ret_problem says which; of *ret only the address is
 *   filled -EINVAL  its name is no PCI address -ENODEV  it vanished meanwhile
 * uid, vfn, pft and their like exist on all kernels that have VFIO error records: missing is wrong.
 * Missing may be only the driver, the IOMMU group, the vfio-dev child and the policy.
 */
int sysfs_read_function(struct udev_device *device, SysfsFunction *ret, SysfsProblem *ret_problem);

/*
 * The handle that a function has just now: it changes whenever the function is enabled or disabled,
 * and no uevent tells of that. Returns 0, -ENOENT if the function is gone, -EBADMSG if it is no
 * number, or an error of open(2) and read(2).
 */
int sysfs_read_handle(const char *address, uint32_t *ret);

/* The name of a PCI function type: "UNC", "ROCE", "ISM", … "UNKNOWN". Static. */
const char *sysfs_pft_name(uint8_t pft);
