/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * libudev as far as the daemon calls it, over devices that a test makes. It stands in for the library
 * by defining its functions in the program.
 *
 * As with the library, a device that was handed out shows what was at the time it was asked for first, and an
 * event carries a device of its own. IOMMU group and vfio-dev are a link and a folder below
 * the device's syspath, which is a real folder.
 */

#include <libudev.h>
#include <stdbool.h>
#include <stddef.h>

/* Takes the place of /sys, with no device in it. Nothing may be handed out by libudev any more. */
void fake_udev_begin(void);
/* Removes it, and fails the test if it did not give back everything that libudev handed out. */
void fake_udev_end(void);

/* Adds a device of a subsystem, "/devices/pci0001:00/0001:00:00.0". */
struct udev_device *fake_udev_add(const char *subsystem, const char *devpath);
/* Adds a zPCI function at an address of the domain with its number: FID 0x10 + n, all attributes well. */
struct udev_device *fake_udev_add_function(unsigned n);
/* Takes it away. Who got it from libudev before keeps it. */
void fake_udev_remove(struct udev_device *device);
/* It is still listed, but asking for it fails with errno; 0 ends that. */
void fake_udev_vanish(struct udev_device *device, int error);

/* text NULL: asking for it fails with errno. */
void fake_udev_set_attribute(struct udev_device *device,
                             const char *name,
                             const char *text,
                             int error);
void fake_udev_set_property(struct udev_device *device, const char *name, const char *text);
void fake_udev_set_driver(struct udev_device *device, const char *driver);
/* Whether it has one cannot be told, for this reason. */
void fake_udev_set_driver_error(struct udev_device *device, int error);
/* Makes the link iommu_group; NULL removes it. */
void fake_udev_set_group(struct udev_device *device, const char *target);
/* Makes vfio-dev with one entry; NULL removes it. */
void fake_udev_set_vfio(struct udev_device *device, const char *name);
/* Removes the folder behind the syspath. */
void fake_udev_remove_folder(struct udev_device *device);

/* An event of a device with a property, both may be NULL, lies in the monitor. */
void fake_udev_event(const char *subsystem,
                     const char *devpath,
                     const char *property,
                     const char *value);
/* The next read of the monitor fails with errno. */
void fake_udev_event_error(int error);

/* The n-th call, from 1, of what hands out or starts something fails with errno; 0 for none. */
void fake_udev_fail(unsigned n, int error);
