/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-udev-parts.h"
#include "util.h"

Fake fake;

bool fake_fails(void) {
        if (fake.fail_call == 0 || --fake.fail_call > 0)
                return false;

        errno = fake.fail_error;
        return true;
}

void fake_udev_fail(unsigned n, int error) {
        fake.fail_call = n;
        fake.fail_error = error;
}

void *fake_hand_out(size_t size) {
        void *object;

        if (fake_fails())
                return NULL;

        object = calloc(1, size);
        assert_non_null(object);
        fake.handed_out++;
        return object;
}

void fake_take_back(void *object) {
        if (object)
                fake.handed_out--;
        free(object);
}

static void values_copy(Value *to, const Value *from) {
        for (size_t i = 0; i < N_VALUES; i++) {
                to[i] = from[i];
                if (from[i].text)
                        assert_non_null(to[i].text = strdup(from[i].text));
        }
}

void device_free(struct udev_device *device) {
        for (size_t i = 0; i < N_VALUES; i++) {
                free(device->attributes[i].text);
                free(device->properties[i].text);
        }
        free(device);
}

struct udev_device *device_copy(const struct udev_device *from) {
        struct udev_device *device = fake_hand_out(sizeof(*device));

        if (!device)
                return NULL;

        *device = *from;
        values_copy(device->attributes, from->attributes);
        values_copy(device->properties, from->properties);
        return device;
}

static struct udev_device *device_make(const char *subsystem, const char *devpath) {
        struct udev_device *device = calloc(1, sizeof(*device));

        assert_non_null(device);
        (void) snprintf(device->subsystem, sizeof(device->subsystem), "%s", subsystem ?: "");
        (void) snprintf(device->devpath, sizeof(device->devpath), "%s", devpath ?: "");
        (void) snprintf(
                device->syspath, sizeof(device->syspath), "%s%s", fake.root, device->devpath);
        return device;
}

static void make_folders(const char *path) {
        char part[PATH_MAX];

        for (const char *p = strchr(path + 1, '/');; p = strchr(p + 1, '/')) {
                (void) snprintf(part, sizeof(part), "%.*s", p ? (int) (p - path) : -1, path);
                if (mkdir(part, 0755) < 0)
                        assert_int_equal(errno, EEXIST);
                if (!p)
                        return;
        }
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

static void remove_folder(const char *path) {
        assert_return_code(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), errno);
}

/* The folder that lists the devices of a bus, or an entry of it. */
static void bus_path(char path[static PATH_MAX], const char *bus, const char *name) {
        (void) snprintf(path, PATH_MAX, "%s/bus/%s/devices/%s", fake.root, bus, name);
}

void fake_udev_begin(void) {
        char path[PATH_MAX];

        memset(&fake, 0, sizeof(fake));
        (void) strcpy(fake.root, "/tmp/fake-udev-XXXXXX");
        assert_non_null(mkdtemp(fake.root));
        bus_path(path, "pci", "");
        make_folders(path);
        fake.fd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
        assert_return_code(fake.fd, errno);
}

void fake_udev_end(void) {
        for (size_t i = 0; i < fake.n_devices; i++)
                device_free(fake.devices[i]);
        for (; fake.first_event < fake.n_events; fake.first_event++)
                if (fake.events[fake.first_event].device)
                        device_free(fake.events[fake.first_event].device);
        remove_folder(fake.root);
        assert_int_equal(close(fake.fd), 0);
        assert_int_equal(fake.handed_out, 0);
}

struct udev_device *fake_udev_add(const char *subsystem, const char *devpath) {
        struct udev_device *device = device_make(subsystem, devpath);
        char path[PATH_MAX];

        assert_true(fake.n_devices < N_DEVICES);
        fake.devices[fake.n_devices++] = device;
        make_folders(device->syspath);
        bus_path(path, subsystem, basename(devpath));
        make_folders(path);
        return device;
}

struct udev_device *fake_udev_add_function(unsigned n) {
        static const struct {
                const char *name, *text;
        } attributes[] = {
                { "function_handle", "0x80020000" },
                { "pchid", "0x0104" },
                { "pfgid", "0x01" },
                { "vfn", "0x0000" },
                { "pft", "0x0b" },
        };
        struct udev_device *device;
        char text[64];

        (void) snprintf(text, sizeof(text), "/devices/pci%04x:00/%04x:00:00.0", n, n);
        device = fake_udev_add("pci", text);
        (void) snprintf(text, sizeof(text), "0x%08x", 0x10 + n);
        fake_udev_set_attribute(device, "function_id", text, 0);
        (void) snprintf(text, sizeof(text), "0x%x", n);
        fake_udev_set_attribute(device, "uid", text, 0);
        for (size_t i = 0; i < ELEMENTSOF(attributes); i++)
                fake_udev_set_attribute(device, attributes[i].name, attributes[i].text, 0);

        return device;
}

void fake_udev_remove(struct udev_device *device) {
        char path[PATH_MAX];

        for (size_t i = 0; i < fake.n_devices; i++)
                if (fake.devices[i] == device) {
                        fake.devices[i] = fake.devices[--fake.n_devices];
                        remove_folder(device->syspath);
                        bus_path(path, device->subsystem, basename(device->devpath));
                        remove_folder(path);
                        device_free(device);
                        return;
                }

        fail_msg("%s is not there", device->syspath);
}

void fake_udev_vanish(struct udev_device *device, int error) {
        device->vanished = error;
}

void fake_udev_remove_folder(struct udev_device *device) {
        remove_folder(device->syspath);
}

static void value_set(Value *values, const char *name, const char *text, int error) {
        Value *value = values;

        while (value->name[0] && strcmp(value->name, name) != 0)
                assert_true(++value < values + N_VALUES);

        (void) snprintf(value->name, sizeof(value->name), "%s", name);
        free(value->text);
        value->text = NULL;
        if (text)
                assert_non_null(value->text = strdup(text));
        value->error = error;
}

const char *value_get(const Value *values, const char *name) {
        for (const Value *value = values; value < values + N_VALUES; value++)
                if (strcmp(value->name, name) == 0) {
                        errno = value->error;
                        return value->text;
                }

        errno = ENOENT;
        return NULL;
}

void fake_udev_set_attribute(struct udev_device *device,
                             const char *name,
                             const char *text,
                             int error) {
        value_set(device->attributes, name, text, error);
}

void fake_udev_set_property(struct udev_device *device, const char *name, const char *text) {
        value_set(device->properties, name, text, ENOENT);
}

void fake_udev_set_driver_error(struct udev_device *device, int error) {
        device->driver_error = error;
}

void fake_udev_set_driver(struct udev_device *device, const char *driver) {
        (void) snprintf(device->driver, sizeof(device->driver), "%s", driver);
}

void fake_udev_set_group(struct udev_device *device, const char *target) {
        char path[PATH_MAX];

        (void) snprintf(path, sizeof(path), "%s/iommu_group", device->syspath);
        (void) unlink(path);
        if (target)
                assert_return_code(symlink(target, path), errno);
}

void fake_udev_set_vfio(struct udev_device *device, const char *name) {
        char path[PATH_MAX];

        (void) snprintf(path, sizeof(path), "%s/vfio-dev", device->syspath);
        if (access(path, F_OK) == 0)
                remove_folder(path);
        if (!name)
                return;

        (void) snprintf(path, sizeof(path), "%s/vfio-dev/%s", device->syspath, name);
        make_folders(path);
}

static Event *event_add(void) {
        uint64_t one = 1;

        assert_true(fake.n_events < N_EVENTS);
        assert_int_equal(write(fake.fd, &one, sizeof(one)), sizeof(one));
        return &fake.events[fake.n_events++];
}

void fake_udev_event(const char *subsystem,
                     const char *devpath,
                     const char *property,
                     const char *value) {
        Event *event = event_add();

        event->device = device_make(subsystem, devpath);
        if (property)
                fake_udev_set_property(event->device, property, value);
}

void fake_udev_event_error(int error) {
        event_add()->error = error;
}
