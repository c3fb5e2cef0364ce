/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "inject.h"
#include "virtio.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_MS     10000
#define BELOW_APERTURE  0x12345000ull
#define INSIDE_APERTURE 0x400000ull /* from its start; nothing is mapped there */
#define STEP            0x10000ull
#define STEPS           0x1000 /* stays below the aperture */

static int open_kernel_log(void) {
        int fd = open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0 || lseek(fd, 0, SEEK_END) < 0)
                err(1, "/dev/kmsg");
        return fd;
}

/* Until the kernel says that it leaves the rest to whoever holds the function. A reset any earlier, such as after the
 * uevent, can be undone by what the kernel still does to the function. */
static void wait_until_left(int kernel_log, const char *address) {
        struct pollfd pollfd = { .fd = kernel_log, .events = POLLIN };
        char wanted[64], line[8192];
        ssize_t n;

        snprintf(wanted, sizeof(wanted), "zpci: %s: Leaving recovery", address);
        do {
                if (poll(&pollfd, 1, DEADLINE_MS) <= 0)
                        errx(1,
                             "waited %d s for the kernel to log: %s",
                             DEADLINE_MS / 1000,
                             wanted);
                n = read(kernel_log, line, sizeof(line) - 1);
                if (n < 0 && errno != EPIPE && errno != EAGAIN)
                        err(1, "/dev/kmsg");
                line[n < 0 ? 0 : n] = 0;
        } while (!strstr(line, wanted));
}

uint64_t inject_error(const struct device *device, unsigned pec, unsigned nth) {
        uint64_t dma = pec == 2 ? BELOW_APERTURE : device->start_dma + INSIDE_APERTURE;
        int kernel_log = open_kernel_log();
        uint64_t failing = virtio_fault(device, dma + nth % STEPS * STEP);

        wait_until_left(kernel_log, device->address);
        close(kernel_log);
        return failing;
}
