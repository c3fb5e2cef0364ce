/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-udev-parts.h"

struct udev {
        int unused;
};

struct udev_monitor {
        int fd;
        bool receiving;
        char filter[64];
};

struct udev *udev_new(void) {
        return fake_hand_out(sizeof(struct udev));
}

struct udev *udev_unref(struct udev *udev) {
        fake_take_back(udev);
        return NULL;
}

struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name) {
        struct udev_monitor *monitor;

        assert_string_equal(name, "udev"); /* "kernel" comes before the rules were applied */
        monitor = fake_hand_out(sizeof(*monitor));
        if (monitor)
                monitor->fd = fake.fd;
        return monitor;
}

struct udev_monitor *udev_monitor_unref(struct udev_monitor *monitor) {
        fake_take_back(monitor);
        return NULL;
}

int udev_monitor_filter_add_match_subsystem_devtype(struct udev_monitor *monitor,
                                                    const char *subsystem,
                                                    const char *devtype) {
        if (fake_fails())
                return -errno;

        assert_false(monitor->receiving);
        assert_null(devtype);
        (void) strcat(strcat(monitor->filter, subsystem), " ");
        return 0;
}

int udev_monitor_set_receive_buffer_size(struct udev_monitor *monitor, int size) {
        assert_false(monitor->receiving);
        return -EPERM; /* as without CAP_NET_ADMIN */
}

int udev_monitor_enable_receiving(struct udev_monitor *monitor) {
        if (fake_fails())
                return -errno;

        assert_string_equal(monitor->filter, "pci vfio-dev ");
        monitor->receiving = true;
        return 0;
}

int udev_monitor_get_fd(struct udev_monitor *monitor) {
        return monitor->fd;
}

struct udev_device *udev_monitor_receive_device(struct udev_monitor *monitor) {
        struct udev_device *device;
        uint64_t one;
        Event *event;

        if (read(monitor->fd, &one, sizeof(one)) < 0)
                return NULL; /* EAGAIN */

        event = &fake.events[fake.first_event++];
        if (!event->device) {
                errno = event->error;
                return NULL;
        }

        device = device_copy(event->device);
        assert_non_null(device);
        device_free(event->device);
        return device;
}

struct udev_device *udev_device_unref(struct udev_device *device) {
        if (device) {
                fake.handed_out--;
                device_free(device);
        }
        return NULL;
}

static struct udev_device *device_get(const struct udev_device *device) {
        if (!device || device->vanished) {
                errno = device ? device->vanished : ENODEV;
                return NULL;
        }

        return device_copy(device);
}

struct udev_device *udev_device_new_from_subsystem_sysname(struct udev *udev,
                                                           const char *subsystem,
                                                           const char *sysname) {
        if (strcmp(subsystem, "subsystem") == 0) {
                struct udev_device *bus = fake_hand_out(sizeof(*bus));

                if (bus)
                        (void) snprintf(bus->syspath,
                                        sizeof(bus->syspath),
                                        "%s/bus/%s",
                                        fake.root,
                                        sysname);
                return bus;
        }

        for (size_t i = 0; i < fake.n_devices; i++)
                if (strcmp(fake.devices[i]->subsystem, subsystem) == 0 &&
                    strcmp(basename(fake.devices[i]->devpath), sysname) == 0)
                        return device_get(fake.devices[i]);

        return device_get(NULL);
}

const char *udev_device_get_syspath(struct udev_device *device) {
        return device->syspath;
}

const char *udev_device_get_devpath(struct udev_device *device) {
        return device->devpath[0] ? device->devpath : NULL;
}

const char *udev_device_get_sysname(struct udev_device *device) {
        return device->devpath[0] ? basename(device->devpath) : NULL;
}

const char *udev_device_get_subsystem(struct udev_device *device) {
        return device->subsystem[0] ? device->subsystem : NULL;
}

const char *udev_device_get_driver(struct udev_device *device) {
        errno = device->driver_error ?: ENOENT;
        return device->driver[0] ? device->driver : NULL;
}

const char *udev_device_get_sysattr_value(struct udev_device *device, const char *name) {
        return value_get(device->attributes, name);
}

const char *udev_device_get_property_value(struct udev_device *device, const char *name) {
        return value_get(device->properties, name);
}
