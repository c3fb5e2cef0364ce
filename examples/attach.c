/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A user-space driver that has zpci-errord read and publish the error records of its function.
 *
 *     cc -o attach attach.c $(pkg-config --cflags --libs libsystemd)
 *     ./attach 0001:00:00.0
 *
 * The driver keeps its device, its eventfd for VFIO_PCI_REQ_IRQ_INDEX and the duty to recover the
 * function; the daemon takes the records and the eventfd for VFIO_PCI_ERR_IRQ_INDEX.
 *
 * Left out: the attachment may end while the driver goes on (zpci-errctl release and inhibit,
 * systemctl stop, a restart of the bus; not by a restart of the daemon). A driver that wants to
 * know watches the property State of its function, "delegated" until then, and the owner of the
 * name org.zpci.Errord1. Then it attaches again, or sets an error eventfd of its own.
 */

#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define NAME    "org.zpci.Errord1"
#define OBJECT  "/org/zpci/Errord1"
#define MANAGER "org.zpci.Errord1.Manager"

/* A device, and what it is there by: the device is closed when all three are. */
typedef struct Vfio {
        int container, group, device;
} Vfio;

static _Noreturn void fail(const char *what, const char *why) {
        fprintf(stderr, "%s: %s\n", what, why);
        exit(EXIT_FAILURE);
}

/* Returns what the system call did, or ends the program. */
static int check(int result, const char *what) {
        if (result < 0)
                fail(what, strerror(errno));
        return result;
}

static void say(const char *text) {
        puts(text);
        fflush(stdout);
}

/* What every user-space driver does, here through the function's IOMMU group. */
static Vfio vfio_open(const char *address) {
        struct vfio_group_status status = { .argsz = sizeof(status) };
        char link[64], group[64] = "", node[80];
        Vfio vfio;

        snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", address);
        check((int) readlink(link, group, sizeof(group) - 1), link);
        snprintf(node, sizeof(node), "/dev/vfio/%s", basename(group));

        vfio.group = check(open(node, O_RDWR | O_CLOEXEC), node);
        vfio.container = check(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), "/dev/vfio/vfio");
        check(ioctl(vfio.group, VFIO_GROUP_GET_STATUS, &status), "VFIO_GROUP_GET_STATUS");
        if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
                fail(node, "not all functions of the group are bound to vfio-pci");
        check(ioctl(vfio.group, VFIO_GROUP_SET_CONTAINER, &vfio.container),
              "VFIO_GROUP_SET_CONTAINER");
        check(ioctl(vfio.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
        vfio.device = check(ioctl(vfio.group, VFIO_GROUP_GET_DEVICE_FD, address),
                            "VFIO_GROUP_GET_DEVICE_FD");
        return vfio;
}

static void vfio_close(Vfio *vfio) {
        close(vfio->device);
        close(vfio->group);
        close(vfio->container);
}

/* The kernel adds 1 to the eventfd when it wants the device back: the function is being unbound. */
static void vfio_arm_request(const Vfio *vfio, int request) {
        /* The fd lies behind the fixed part. */
        char buffer[sizeof(struct vfio_irq_set) + sizeof(int)]
                __attribute__((aligned(__alignof__(struct vfio_irq_set))));
        struct vfio_irq_set *irq = (struct vfio_irq_set *) buffer;

        *irq = (struct vfio_irq_set){
                .argsz = sizeof(buffer),
                .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                .index = VFIO_PCI_REQ_IRQ_INDEX,
                .count = 1,
        };
        memcpy(irq->data, &request, sizeof(request));
        check(ioctl(vfio->device, VFIO_DEVICE_SET_IRQS, irq), "VFIO_PCI_REQ_IRQ_INDEX");
}

/*
 * Until then the function does nothing. A reset only tries the lock under which the kernel reports
 * an error, so it may have to be repeated for some milliseconds. False after an error that no reset
 * recovers.
 */
static bool vfio_recover(const Vfio *vfio) {
        for (unsigned ms = 1; ioctl(vfio->device, VFIO_DEVICE_RESET) < 0; ms *= 2) {
                if (errno != EAGAIN || ms > 4096)
                        return false;
                poll(NULL, 0, (int) ms);
        }
        return true;
}

/* Returns the object of the function. Whoever leaves the bus detaches: the connection stays open. */
static const char *
attach(sd_bus *bus, const Vfio *vfio, int request, int notify, sd_bus_message **answer) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *function;
        int r;

        /* sd-bus makes duplicates of the file descriptors, and closes them. */
        r = sd_bus_call_method(bus,
                               NAME,
                               OBJECT,
                               MANAGER,
                               "Attach",
                               &error,
                               answer,
                               "ha{sv}",
                               vfio->device,
                               2,
                               "Request",
                               "h",
                               request,
                               "Notify",
                               "h",
                               notify);
        if (r >= 0)
                r = sd_bus_message_read(*answer, "o", &function);
        if (r < 0)
                fail("Attach", error.message ? error.message : strerror(-r));
        return function;
}

static void detach(sd_bus *bus, const char *function) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call_method(bus, NAME, OBJECT, MANAGER, "Detach", &error, NULL, "o", function);
        if (r < 0)
                fprintf(stderr, "Detach: %s\n", error.message ? error.message : strerror(-r));
        sd_bus_error_free(&error);
}

/*
 * The driver's work, as far as errors are concerned. Returns when it has to give up its device:
 * whether it still has to detach.
 */
static bool serve(const Vfio *vfio, int request, int notify, int signals) {
        struct pollfd events[] = {
                { .fd = request, .events = POLLIN },
                { .fd = notify, .events = POLLIN },
                { .fd = signals, .events = POLLIN },
        };
        eventfd_t count;

        for (;;) {
                check(poll(events, 3, -1), "poll");

                /* At once: whoever unbinds the function waits for it. The daemon knows by itself. */
                if (events[0].revents) {
                        say("the kernel wants the device back");
                        return false;
                }

                /* The records are published: this is the moment to recover and to start anew. */
                if (events[1].revents) {
                        check(eventfd_read(notify, &count), "Notify");
                        say("the function reported an error");
                        if (!vfio_recover(vfio)) {
                                say("no reset recovers it");
                                return true;
                        }
                        say("recovered");
                }

                if (events[2].revents)
                        return true;
        }
}

int main(int argc, char **argv) {
        sd_bus_message *answer = NULL;
        const char *function;
        sd_bus *bus = NULL;
        sigset_t ends;
        Vfio vfio;
        int request, notify, signals, r;

        if (argc != 2)
                fail("Usage", "attach ADDRESS");

        sigemptyset(&ends);
        sigaddset(&ends, SIGINT);
        sigaddset(&ends, SIGTERM);
        sigprocmask(SIG_BLOCK, &ends, NULL);
        signals = check(signalfd(-1, &ends, SFD_CLOEXEC), "signalfd");

        vfio = vfio_open(argv[1]);
        request = check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
        notify = check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
        vfio_arm_request(&vfio, request);

        r = sd_bus_open_system(&bus);
        if (r < 0)
                fail("The system bus", strerror(-r));
        function = attach(bus, &vfio, request, notify, &answer);
        printf("attached %s\n", function);
        fflush(stdout);

        if (serve(&vfio, request, notify, signals))
                detach(bus, function);
        vfio_close(&vfio);

        sd_bus_message_unref(answer);
        sd_bus_unref(bus);
        return EXIT_SUCCESS;
}
