/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <libudev.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "uevent.h"

/*
 * A storm of errors is a storm of uevents, and a hot-plugged adapter brings hundreds of functions.
 */
#define UEVENT_BUFFER_SIZE (16 * 1024 * 1024)
/* Functions that are looked at before others in the event loop have their turn: some 5 ms. */
#define UEVENT_BATCH 16

struct Uevent {
        const UeventListener *listener;
        struct udev *udev;
        struct udev_monitor *monitor;
        sd_event_source *source;
        sd_event_source *scan_source; /* goes on with a scan */
        DIR *scan;                    /* what is left to scan, NULL if none goes on */
};

static void udev_device_unrefp(struct udev_device **device) {
        (void) udev_device_unref(*device);
}

/* errno as a negative error, also where a library forgot to set it. */
static int uevent_errno(void) {
        return errno > 0 ? -errno : -EIO;
}

/*
 * Tells what is at an address now. A device that came with an event shows the past, and libudev
 * remembers what it read, hence a fresh one. Returns 1 if there is a zPCI function, right or wrong,
 * 0 if there is none, or -ENOMEM.
 */
static int uevent_look(Uevent *uevent, const char *address) {
        _cleanup_(udev_device_unrefp) struct udev_device *device = NULL;
        const UeventListener *listener = uevent->listener;
        SysfsFunction function;
        SysfsProblem problem;
        int r;

        errno = 0;
        device = udev_device_new_from_subsystem_sysname(uevent->udev, "pci", address);
        /* That we lack something does not mean that the function is not there. */
        if (!device)
                return errno == ENOMEM || errno == EMFILE || errno == ENFILE ? -errno : 0;

        r = sysfs_read_function(device, &function, &problem);
        if (problem.attribute)
                listener->bad(address, &problem, listener->userdata);
        if (r == 1)
                listener->seen(&function, listener->userdata);

        return r == 1 || r == -EBADMSG;
}

/* Something happened at an address. Whatever it was: what counts is what is there now. */
static void uevent_correct(Uevent *uevent, const char *address) {
        const UeventListener *listener = uevent->listener;
        int r;

        r = uevent_look(uevent, address);
        if (r < 0)
                listener->failed(r, listener->userdata);
        else if (r == 0)
                listener->gone(address, listener->userdata);
}

static void uevent_scan_stop(Uevent *uevent) {
        if (uevent->scan)
                (void) closedir(uevent->scan);
        uevent->scan = NULL;
        (void) sd_event_source_set_enabled(uevent->scan_source, SD_EVENT_OFF);
}

/*
 * Begins a scan of the folder that lists the PCI functions. libudev's own enumeration would read
 * every one of them before it returns.
 */
static int uevent_scan_begin(Uevent *uevent) {
        _cleanup_(udev_device_unrefp) struct udev_device *bus = NULL;
        const UeventListener *listener = uevent->listener;
        char path[PATH_MAX];

        uevent_scan_stop(uevent);

        errno = 0;
        bus = udev_device_new_from_subsystem_sysname(uevent->udev, "subsystem", "pci");
        if (bus) {
                (void) snprintf(path, sizeof(path), "%s/devices", udev_device_get_syspath(bus));
                uevent->scan = opendir(path);
        }
        /* A machine without PCI has no functions, and that is all right. */
        if (!uevent->scan && errno != ENOENT && errno != ENODEV)
                return uevent_errno();

        listener->scan_begin(listener->userdata);
        return 0;
}

/*
 * Tells of one function. Returns 1, 0 if it was the last one, or a negative errno: then the scan
 * has no end.
 */
static int uevent_scan_step(Uevent *uevent) {
        const UeventListener *listener = uevent->listener;
        const struct dirent *entry = NULL;
        int r = 0;

        errno = 0;
        if (uevent->scan)
                entry = readdir(uevent->scan);

        if (entry && pci_address_valid(entry->d_name))
                r = uevent_look(uevent, entry->d_name);
        else if (!entry && errno > 0)
                r = -errno;
        if (entry && r >= 0)
                return 1;

        uevent_scan_stop(uevent);
        if (r == 0)
                listener->scan_end(listener->userdata);
        return r;
}

static int uevent_on_scan(sd_event_source *source, void *userdata) {
        Uevent *uevent = userdata;
        const UeventListener *listener = uevent->listener;
        int r = 1;

        for (unsigned n = 0; r > 0 && n < UEVENT_BATCH; n++)
                r = uevent_scan_step(uevent);
        if (r < 0)
                listener->failed(r, listener->userdata);

        return 0;
}

int uevent_scan(Uevent *uevent) {
        int r;

        assert(uevent);

        r = uevent_scan_begin(uevent);
        if (r < 0)
                return r;

        do
                r = uevent_scan_step(uevent);
        while (r > 0);
        if (r < 0)
                return r;

        return sd_event_source_set_enabled(uevent->source, SD_EVENT_ON);
}

int uevent_rescan(Uevent *uevent) {
        int r;

        assert(uevent);

        r = uevent_scan_begin(uevent);
        if (r < 0)
                return r;

        return sd_event_source_set_enabled(uevent->scan_source, SD_EVENT_ON);
}

static void uevent_tell_error(Uevent *uevent, const char *address, const char *text) {
        static const char *const table[] = {
                [UEVENT_BEGIN_RECOVERY] = "BEGIN_RECOVERY",
                [UEVENT_SUCCESSFUL_RECOVERY] = "SUCCESSFUL_RECOVERY",
                [UEVENT_FAILED_RECOVERY] = "FAILED_RECOVERY",
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (strcmp(text, table[i]) == 0)
                        uevent->listener->error(
                                address, (UeventError) i, uevent->listener->userdata);
}

/*
 * The PCI address that a device of the subsystem vfio-dev belongs to, from its path
 * "/devices/…/0001:00:00.0/vfio-dev/vfio0": once it is removed, its parent can no longer be asked
 * for.
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

        r = uevent_rescan(uevent);
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

        r = sd_event_add_io(event,
                            &uevent->source,
                            udev_monitor_get_fd(uevent->monitor),
                            EPOLLIN,
                            uevent_on_readable,
                            uevent);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(uevent->source, "uevent");

        /* Events are kept for after the first scan, so that nothing falls between the two. */
        r = sd_event_source_set_enabled(uevent->source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        r = sd_event_add_defer(event, &uevent->scan_source, uevent_on_scan, uevent);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(uevent->scan_source, "uevent-scan");
        return sd_event_source_set_enabled(uevent->scan_source, SD_EVENT_OFF);
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

        uevent_scan_stop(uevent);
        (void) sd_event_source_disable_unref(uevent->scan_source);
        (void) sd_event_source_disable_unref(uevent->source);
        (void) udev_monitor_unref(uevent->monitor);
        (void) udev_unref(uevent->udev);
        free(uevent);
        return NULL;
}
