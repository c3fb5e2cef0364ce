/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A compiled user of a simulated function, for Valgrind and sanitizers: opens it through its group, waits for
 * one error, drains, resets, and closes. Usage: sim-client ADDRESS GROUP. Prints the records. */

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define RECORD 32U

static int fail(const char *what) {
        perror(what);
        exit(EXIT_FAILURE);
}

static int open_device(const char *address, const char *group_path) {
        int container, group, device;

        container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
        group = open(group_path, O_RDWR | O_CLOEXEC);
        if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0 ||
            ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
                fail(group_path);
        device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
        if (device < 0)
                fail(address);
        close(group);
        close(container);
        return device;
}

static void arm(int device, int event) {
        /* struct vfio_irq_set, whose data are one eventfd */
        struct {
                uint32_t argsz, flags, index, start, count;
                int32_t fd;
        } irq = {
                .argsz = sizeof(irq),
                .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                .index = VFIO_PCI_ERR_IRQ_INDEX,
                .count = 1,
                .fd = event,
        };

        if (ioctl(device, VFIO_DEVICE_SET_IRQS, &irq) < 0)
                fail("VFIO_DEVICE_SET_IRQS");
}

static void drain(int device) {
        /* on the heap, where a byte too many is seen */
        uint8_t *record = malloc(RECORD);
        struct {
                uint32_t argsz, flags;
                uint64_t data;
        } feature = {
                .argsz = sizeof(feature),
                .flags = VFIO_DEVICE_FEATURE_GET | 13,
                .data = (uintptr_t) record,
        };

        if (!record)
                fail("malloc");
        while (ioctl(device, VFIO_DEVICE_FEATURE, &feature) == 0) {
                for (unsigned i = 0; i < RECORD; i++)
                        printf("%02x", record[i]);
                puts("");
        }
        if (errno != ENOMSG)
                fail("VFIO_DEVICE_FEATURE");
        free(record);
}

int main(int argc, char **argv) {
        struct pollfd p = { .events = POLLIN };
        char path[64];
        uint64_t count;
        int device;

        if (argc != 3)
                return 2;
        snprintf(path, sizeof(path), "/dev/vfio/%s", argv[2]);
        device = open_device(argv[1], path);
        p.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (p.fd < 0)
                fail("eventfd");
        arm(device, p.fd);
        if (poll(&p, 1, 60000) != 1 || read(p.fd, &count, sizeof(count)) != sizeof(count))
                fail("no error came");
        drain(device);
        while (ioctl(device, VFIO_DEVICE_RESET) < 0)
                if (errno != EAGAIN)
                        fail("VFIO_DEVICE_RESET");
        close(device);
        close(p.fd);
        return 0;
}
