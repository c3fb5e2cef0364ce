/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device.h"

#include <dirent.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* From Linux 7.3's <linux/vfio.h> and <linux/vfio_zdev.h>. */
#ifndef VFIO_DEVICE_FEATURE_ZPCI_ERROR
#define VFIO_DEVICE_FEATURE_ZPCI_ERROR 13
#endif

/* struct vfio_device_info_cap_zpci_base, by offset: older headers end before the members wanted here. */
enum {
        BASE_START_DMA = 8,
        BASE_FUNCTION_HANDLE = 32,
        BASE_RECORD_LENGTH = 36, /* from version 3 on */
        BASE_SIZE = 40,
};

static void copy_base(struct device *device, const uint8_t *cap, unsigned version) {
        memcpy(&device->start_dma, cap + BASE_START_DMA, sizeof(device->start_dma));
        memcpy(&device->handle, cap + BASE_FUNCTION_HANDLE, sizeof(device->handle));
        if (version >= 3)
                memcpy(&device->record_length,
                       cap + BASE_RECORD_LENGTH,
                       sizeof(device->record_length));
        if (device->record_length > RECORD_MAX)
                errx(1, "%s: records of %u bytes", device->address, device->record_length);
}

/* Reads what the kernel says of the device. Returns 0 if this fd is no zPCI function. */
static int device_read_info(struct device *device) {
        union {
                struct vfio_device_info info;
                uint8_t bytes[4096];
        } u = { .info.argsz = sizeof(u) };
        struct vfio_info_cap_header header;

        if (ioctl(device->fd, VFIO_DEVICE_GET_INFO, &u) < 0)
                return 0;
        if (!(u.info.flags & VFIO_DEVICE_FLAGS_CAPS))
                return 0;
        for (uint32_t at = u.info.cap_offset; at && at <= sizeof(u) - BASE_SIZE; at = header.next) {
                memcpy(&header, u.bytes + at, sizeof(header));
                if (header.id == VFIO_DEVICE_INFO_CAP_ZPCI_BASE) {
                        copy_base(device, u.bytes + at, header.version);
                        return 1;
                }
        }
        return 0;
}

int device_group(const char *address) {
        char link[PATH_MAX], *group;
        int number;

        snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", address);
        group = realpath(link, NULL);
        if (!group)
                return -errno;
        number = atoi(strrchr(group, '/') + 1);
        free(group);
        return number;
}

static int open_group(struct device *device, const char **step) {
        char path[PATH_MAX];
        int number = device_group(device->address);

        *step = "iommu_group";
        if (number < 0)
                return number;
        snprintf(path, sizeof(path), "/dev/vfio/%d", number);
        *step = "container";
        device->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
        if (device->container < 0)
                return -errno;
        *step = "group";
        device->group = open(path, O_RDWR | O_CLOEXEC);
        if (device->group < 0)
                return -errno;
        *step = "VFIO_GROUP_SET_CONTAINER";
        if (ioctl(device->group, VFIO_GROUP_SET_CONTAINER, &device->container) < 0)
                return -errno;
        *step = "VFIO_SET_IOMMU";
        if (ioctl(device->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
                return -errno;
        *step = "VFIO_GROUP_GET_DEVICE_FD";
        device->fd = ioctl(device->group, VFIO_GROUP_GET_DEVICE_FD, device->address);
        return device->fd < 0 ? -errno : 0;
}

int device_try_open(struct device *device, const char *address, const char **step) {
        int r;

        *device = (struct device){ .address = address, .fd = -1, .group = -1, .container = -1 };
        r = open_group(device, step);
        if (r < 0) {
                device_close(device);
                return r;
        }
        if (!device_read_info(device))
                errx(1, "%s is not a zPCI function", address);
        return 0;
}

void device_open(struct device *device, const char *address) {
        const char *step;
        int r = device_try_open(device, address, &step);

        if (r < 0)
                errx(1, "%s: %s: %s", address, step, strerror(-r));
}

void device_close(struct device *device) {
        int *fds[] = { &device->fd, &device->group, &device->container };

        for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
                if (*fds[i] >= 0)
                        close(*fds[i]);
                *fds[i] = -1;
        }
}

static uint32_t sysfs_handle(const char *address) {
        char path[PATH_MAX];
        uint32_t handle;
        FILE *file;

        snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/function_handle", address);
        file = fopen(path, "re");
        if (!file || fscanf(file, "%x", &handle) != 1)
                err(1, "%s", path);
        fclose(file);
        return handle;
}

static int is_vfio_device(int dir_fd, const char *name) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);

        if (n < 0)
                return 0;
        target[n] = 0;
        return strcmp(target, "anon_inode:[vfio-device]") == 0 ||
               strncmp(target, "/dev/vfio/devices/", 18) == 0;
}

void device_borrow(struct device *device, const char *address, pid_t pid) {
        uint32_t handle = sysfs_handle(address);
        char path[PATH_MAX];
        int pid_fd = (int) syscall(SYS_pidfd_open, pid, 0);
        DIR *dir;

        *device = (struct device){ .address = address, .group = -1, .container = -1 };

        snprintf(path, sizeof(path), "/proc/%d/fd", pid);
        dir = opendir(path);
        if (pid_fd < 0 || !dir)
                err(1, "process %d", pid);
        for (struct dirent *entry; (entry = readdir(dir));) {
                if (!is_vfio_device(dirfd(dir), entry->d_name))
                        continue;
                device->fd = (int) syscall(SYS_pidfd_getfd, pid_fd, atoi(entry->d_name), 0);
                if (device->fd < 0)
                        err(1, "process %d, fd %s", pid, entry->d_name);
                if (device_read_info(device) && device->handle == handle) {
                        closedir(dir);
                        close(pid_fd);
                        return;
                }
                close(device->fd);
        }
        errx(1, "process %d does not hold %s", pid, address);
}

void device_reset(const struct device *device) {
        /* EAGAIN: the kernel holds the device's lock while it handles the error, up to some 60 ms, and gives no sign
         * when it lets go. EIO: seen once in several hundred resets in a row, on a machine with other work. */
        for (int delay = 1; ioctl(device->fd, VFIO_DEVICE_RESET) < 0; delay *= 2) {
                if (errno != EAGAIN && errno != EIO)
                        err(1, "%s: VFIO_DEVICE_RESET", device->address);
                if (delay > 4096)
                        errx(1, "%s: the kernel refused a reset for 8 s", device->address);
                poll(NULL, 0, delay);
        }
}

void device_arm(const struct device *device, uint32_t index, int eventfd) {
        union {
                struct vfio_irq_set set;
                uint8_t bytes[sizeof(struct vfio_irq_set) + sizeof(int)];
        } u = { .set = {
                        .argsz = sizeof(u),
                        .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                        .index = index,
                        .count = 1,
                } };

        memcpy(u.bytes + sizeof(struct vfio_irq_set), &eventfd, sizeof(eventfd));
        if (ioctl(device->fd, VFIO_DEVICE_SET_IRQS, &u) < 0)
                err(1, "%s: VFIO_DEVICE_SET_IRQS %u", device->address, index);
}

size_t device_take_record(const struct device *device, uint8_t record[static RECORD_MAX]) {
        /* struct vfio_device_feature, whose data are a struct vfio_device_feature_zpci_err */
        struct {
                uint32_t argsz, flags;
                uint64_t data;
        } request = {
                .argsz = sizeof(request),
                .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_ZPCI_ERROR,
                .data = (uintptr_t) record,
        };

        if (device->record_length == 0)
                errx(1, "%s: this kernel hands out no records", device->address);
        if (ioctl(device->fd, VFIO_DEVICE_FEATURE, &request) == 0)
                return device->record_length;
        if (errno != ENOMSG)
                err(1, "%s: VFIO_DEVICE_FEATURE_ZPCI_ERROR", device->address);
        return 0;
}

static off_t region_offset(const struct device *device, uint32_t region) {
        struct vfio_region_info info = { .argsz = sizeof(info), .index = region };

        if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
                err(1, "%s: VFIO_DEVICE_GET_REGION_INFO %u", device->address, region);
        return (off_t) info.offset;
}

uint32_t device_read(const struct device *device, uint32_t region, uint64_t offset, size_t size) {
        uint32_t value = 0;

        if (pread(device->fd, &value, size, region_offset(device, region) + (off_t) offset) !=
            (ssize_t) size)
                err(1,
                    "%s: read of region %u at %#llx",
                    device->address,
                    region,
                    (unsigned long long) offset);
        return le32toh(value);
}

void device_write(const struct device *device,
                  uint32_t region,
                  uint64_t offset,
                  size_t size,
                  uint32_t value) {
        uint32_t wire = htole32(value);

        if (pwrite(device->fd, &wire, size, region_offset(device, region) + (off_t) offset) !=
            (ssize_t) size)
                err(1,
                    "%s: write to region %u at %#llx",
                    device->address,
                    region,
                    (unsigned long long) offset);
}
