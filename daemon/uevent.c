/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <libudev.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "uevent.h"

/* A storm of errors is a storm of uevents, and a hot-plugged adapter brings hundreds of functions. */
#define UEVENT_BUFFER_SIZE (16 * 1024 * 1024)
/* Events that are read before others in the event loop have their turn. */
#define UEVENT_BATCH 32

struct Uevent {
        const UeventListener *listener;
        struct udev *udev;
        struct udev_monitor *monitor;
        sd_event_source *source;
};

static void udev_device_unrefp(struct udev_device **device) {
        (void) udev_device_unref(*device);
}

static void udev_enumerate_unrefp(struct udev_enumerate **enumerate) {
        (void) udev_enumerate_unref(*enumerate);
}

/* errno as a negative error, also where a library forgot to set it. */
static int uevent_errno(void) {
        return errno > 0 ? -errno : -EIO;
}

/* Tells what sysfs says of a device. Returns 1 if it is a zPCI function, right or wrong. */
static int uevent_tell(Uevent *uevent, struct udev_device *device) {
        const UeventListener *listener = uevent->listener;
        SysfsFunction function;
        SysfsProblem problem;
        int r;

        r = sysfs_read_function(device, &function, &problem);
        if (problem.attribute)
                listener->bad(function.address, &problem, listener->userdata);
        if (r == 1)
                listener->seen(&function, listener->userdata);
        else if (r < 0 && r != -EBADMSG && r != -ENODEV && r != -EINVAL)
                listener->failed(r, listener->userdata);

        return r == 1 || r == -EBADMSG;
}

/*
 * Tells what is at an address now, whatever it was that happened there. The device that came with
 * an event shows the past, and libudev remembers what it read, hence a fresh one.
 */
static void uevent_correct(Uevent *uevent, const char *address) {
        _cleanup_(udev_device_unrefp) struct udev_device *device = NULL;
        const UeventListener *listener = uevent->listener;

        errno = 0;
        device = udev_device_new_from_subsystem_sysname(uevent->udev, "pci", address);
        if (!device && errno == ENOMEM)
                listener->failed(-ENOMEM, listener->userdata);
        else if (!device || !uevent_tell(uevent, device))
                listener->gone(address, listener->userdata);
}

static void uevent_tell_error(Uevent *uevent, const char *address, const char *text) {
        static const char *const table[] = {
                [UEVENT_BEGIN_RECOVERY]      = "BEGIN_RECOVERY",
                [UEVENT_SUCCESSFUL_RECOVERY] = "SUCCESSFUL_RECOVERY",
                [UEVENT_FAILED_RECOVERY]     = "FAILED_RECOVERY",
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (strcmp(text, table[i]) == 0)
                        uevent->listener->error(address, (UeventError) i, uevent->listener->userdata);
}

/*
 * The PCI address that a device of the subsystem vfio-dev belongs to, from its path
 * "/devices/…/0001:00:00.0/vfio-dev/vfio0": once it is removed, its parent can no longer be asked for.
 */
static bool uevent_parent_address(const char *devpath, char ret[static PCI_ADDRESS_SIZE]) {
        const char *end, *begin;

        end = devpath ? strstr(devpath, "/vfio-dev/") : NULL;
        if (!end)
                return false;

        begin = memrchr(devpath, '/', (size_t) (end - devpath));
        if (!begin || (size_t) (end - begin) > PCI_ADDRESS_SIZE)
                return false;

        begin++;
        *(char *) mempcpy(ret, begin, (size_t) (end - begin)) = '\0';
        return pci_address_valid(ret);
}

static void uevent_handle(Uevent *uevent, struct udev_device *device) {
        const char *subsystem = udev_device_get_subsystem(device);
        const char *name = udev_device_get_sysname(device);
        const char *error;
        char parent[PCI_ADDRESS_SIZE];

        if (!subsystem || !name)
                return;

        if (strcmp(subsystem, "vfio-dev") == 0) {
                if (uevent_parent_address(udev_device_get_devpath(device), parent))
                        uevent_correct(uevent, parent);
                return;
        }

        if (!pci_address_valid(name))
                return;

        /* First: if the function is gone meanwhile, the error was still its. */
        error = udev_device_get_property_value(device, "ERROR_EVENT");
        if (error)
                uevent_tell_error(uevent, name, error);
        uevent_correct(uevent, name);
}

/* Reads one event. Returns 1, 0 if there is none, or a negative errno if events are lost. */
static int uevent_receive(Uevent *uevent) {
        _cleanup_(udev_device_unrefp) struct udev_device *device = NULL;

        errno = 0;
        device = udev_monitor_receive_device(uevent->monitor);
        if (device) {
                uevent_handle(uevent, device);
                return 1;
        }

        return errno == EAGAIN || errno == EINTR ? 0 : uevent_errno();
}

static int uevent_on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Uevent *uevent = userdata;
        const UeventListener *listener = uevent->listener;
        int r = 1;

        for (unsigned n = 0; r > 0 && n < UEVENT_BATCH; n++)
                r = uevent_receive(uevent);
        if (r >= 0)
                return 0;

        if (r == -ENOBUFS)
                listener->overrun(listener->userdata);
        else
                listener->failed(r, listener->userdata);

        r = uevent_scan(uevent);
        if (r < 0)
                listener->failed(r, listener->userdata);

        return 0;
}

static int uevent_connect(Uevent *uevent, sd_event *event) {
        int r;

        uevent->udev = udev_new();
        if (!uevent->udev)
                return -ENOMEM;
        uevent->monitor = udev_monitor_new_from_netlink(uevent->udev, "udev");
        if (!uevent->monitor)
                return uevent_errno();

        r = udev_monitor_filter_add_match_subsystem_devtype(uevent->monitor, "pci", NULL);
        if (r < 0)
                return r;
        r = udev_monitor_filter_add_match_subsystem_devtype(uevent->monitor, "vfio-dev", NULL);
        if (r < 0)
                return r;
        /* Without the privilege for it the buffer stays smaller, and overruns come sooner. */
        (void) udev_monitor_set_receive_buffer_size(uevent->monitor, UEVENT_BUFFER_SIZE);
        r = udev_monitor_enable_receiving(uevent->monitor);
        if (r < 0)
                return r;

        r = sd_event_add_io(
                event,
                &uevent->source,
                udev_monitor_get_fd(uevent->monitor),
                EPOLLIN,
                uevent_on_readable,
                uevent);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(uevent->source, "uevent");

        /* Events are kept for after the first scan, so that nothing falls between the two. */
        return sd_event_source_set_enabled(uevent->source, SD_EVENT_OFF);
}

int uevent_open(sd_event *event, const UeventListener *listener, Uevent **ret) {
        _cleanup_(uevent_closep) Uevent *uevent = NULL;
        int r;

        assert(event);
        assert(listener);
        assert(ret);

        uevent = calloc(1, sizeof(*uevent));
        if (!uevent)
                return -ENOMEM;
        uevent->listener = listener;

        errno = 0;
        r = uevent_connect(uevent, event);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(uevent);
        return 0;
}

Uevent *uevent_close(Uevent *uevent) {
        if (!uevent)
                return NULL;

        (void) sd_event_source_disable_unref(uevent->source);
        (void) udev_monitor_unref(uevent->monitor);
        (void) udev_unref(uevent->udev);
        free(uevent);
        return NULL;
}

static int uevent_enumerate(Uevent *uevent, struct udev_enumerate **ret) {
        _cleanup_(udev_enumerate_unrefp) struct udev_enumerate *enumerate = NULL;
        int r;

        errno = 0;
        enumerate = udev_enumerate_new(uevent->udev);
        if (!enumerate)
                return uevent_errno();

        r = udev_enumerate_add_match_subsystem(enumerate, "pci");
        if (r < 0)
                return r;
        r = udev_enumerate_scan_devices(enumerate);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(enumerate);
        return 0;
}

int uevent_scan(Uevent *uevent) {
        _cleanup_(udev_enumerate_unrefp) struct udev_enumerate *enumerate = NULL;
        const UeventListener *listener;
        struct udev_list_entry *entry;
        int r;

        assert(uevent);
        listener = uevent->listener;

        r = uevent_enumerate(uevent, &enumerate);
        if (r < 0)
                return r;

        listener->scan_begin(listener->userdata);
        udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate)) {
                _cleanup_(udev_device_unrefp) struct udev_device *device = NULL;

                errno = 0;
                device = udev_device_new_from_syspath(uevent->udev, udev_list_entry_get_name(entry));
                if (device)
                        (void) uevent_tell(uevent, device);
                else if (errno == ENOMEM) /* otherwise it has gone meanwhile */
                        return -ENOMEM;
        }
        listener->scan_end(listener->userdata);

        return sd_event_source_set_enabled(uevent->source, SD_EVENT_ON);
}
