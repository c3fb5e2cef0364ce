/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes real errors of PCI functions: a virtio function is told to fetch from an address that is not mapped. Works on a
 * function that another process holds (inject), or holds one itself (hold). */

#include "inject.h"
#include "virtio.h"

#include <err.h>
#include <getopt.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define DEADLINE_MS 10000

struct options {
        const char *address;
        pid_t pid;
        unsigned pec;
        unsigned count;
        int reset_between, drain, no_request, wait; /* flags, of the type that getopt sets */
};

static void usage(FILE *out) {
        fputs("Usage: fault VERB --address=ADDRESS [OPTION...]\n\n"
              "  inject       make errors on a function that the process of --pid holds\n"
              "  hold         hold a function oneself, and recover it after an error\n"
              "  read-config  show that a function works: identity, and a register behind its BAR\n\n"
              "  --address=ADDRESS  the PCI function, such as 0001:00:00.0\n"
              "  --pid=PID          borrow the device from this process (inject, read-config)\n"
              "  --pec=2|4          the error: DMA below the aperture (2) or inside it, not mapped (4)\n"
              "  --count=N          as many errors; needs --reset-between if N is above 1\n"
              "  --reset-between    reset the function before the next error (hold: always, this drains before it)\n"
              "  --inject=2|4       hold: make errors oneself\n"
              "  --drain            hold: take the records out of the kernel's queue and print them\n"
              "  --no-request       hold: do not arm the request to let go\n"
              "  --wait             hold: until SIGTERM or the kernel's request to let go\n"
              "  --help\n",
              out);
}

static void drain(const struct device *device) {
        uint8_t record[RECORD_MAX];
        size_t length;

        while ((length = device_take_record(device, record)) > 0) {
                printf("record ");
                for (size_t i = 0; i < length; i++)
                        printf("%02x", record[i]);
                printf("\n");
        }
}

static void inject(const struct device *device, const struct options *options) {
        for (unsigned i = 0; i < options->count; i++) {
                if (i > 0)
                        device_reset(device);
                printf("error 0x%04x at 0x%llx\n",
                       options->pec,
                       (unsigned long long) inject_error(device, options->pec, i));
                if (options->drain && options->reset_between)
                        drain(device);
        }
}

static int watch_termination(void) {
        sigset_t set;
        int fd;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_BLOCK, &set, NULL);
        fd = signalfd(-1, &set, SFD_CLOEXEC);
        if (fd < 0)
                err(1, "signalfd");
        return fd;
}

/* Answers errors until it is told to let go; without --wait, until the first was answered. */
static void
hold(const struct device *device, const struct options *options, int errors, int requests) {
        struct pollfd fds[] = {
                { .fd = errors, .events = POLLIN },
                { .fd = requests, .events = POLLIN },
                { .fd = watch_termination(), .events = POLLIN },
        };

        for (;;) {
                int r = poll(fds, 3, options->wait ? -1 : DEADLINE_MS);
                eventfd_t signals;

                if (r <= 0)
                        errx(1,
                             "waited %d s for the eventfd of an error of %s",
                             DEADLINE_MS / 1000,
                             device->address);
                if (fds[0].revents) {
                        eventfd_read(errors, &signals);
                        printf("signalled %llu\n", (unsigned long long) signals);
                        if (options->drain)
                                drain(device);
                        device_reset(device);
                }
                if (fds[1].revents)
                        printf("requested\n");
                if (fds[1].revents || fds[2].revents || !options->wait)
                        return;
        }
}

static int verb_hold(const struct options *options) {
        int errors = eventfd(0, EFD_CLOEXEC), requests = eventfd(0, EFD_CLOEXEC);
        struct device device;

        device_open(&device, options->address);
        device_arm(&device, VFIO_PCI_ERR_IRQ_INDEX, errors);
        if (!options->no_request)
                device_arm(&device, VFIO_PCI_REQ_IRQ_INDEX, requests);
        printf("holding %s\n", options->address);

        if (options->pec)
                inject(&device, options);
        if (options->pec || options->wait)
                hold(&device, options, errors, requests);
        printf("released %s\n", options->address);
        return 0;
}

static int verb_inject(const struct options *options) {
        struct device device;

        if (!options->pid || !options->pec || (options->count > 1 && !options->reset_between))
                errx(2, "inject needs --pid, --pec, and --reset-between for more than one error");
        device_borrow(&device, options->address, options->pid);
        inject(&device, options);
        return 0;
}

static int verb_read_config(const struct options *options) {
        struct device device;

        if (options->pid)
                device_borrow(&device, options->address, options->pid);
        else
                device_open(&device, options->address);
        printf("vendor %04x device %04x",
               device_read(&device, VFIO_PCI_CONFIG_REGION_INDEX, PCI_VENDOR_ID, 2),
               device_read(&device, VFIO_PCI_CONFIG_REGION_INDEX, PCI_DEVICE_ID, 2));
        printf(" queues %u\n", virtio_queues(&device));
        return 0;
}

static unsigned parse_pec(const char *text) {
        if (strcmp(text, "2") != 0 && strcmp(text, "4") != 0)
                errx(2, "can make errors 2 and 4, not %s", text);
        return (unsigned) atoi(text);
}

static void parse(int argc, char *argv[], struct options *options) {
        const struct option longs[] = {
                { "address", required_argument, NULL, 'a' },
                { "pid", required_argument, NULL, 'p' },
                { "pec", required_argument, NULL, 'e' },
                { "inject", required_argument, NULL, 'e' },
                { "count", required_argument, NULL, 'c' },
                { "reset-between", no_argument, &options->reset_between, true },
                { "drain", no_argument, &options->drain, true },
                { "no-request", no_argument, &options->no_request, true },
                { "wait", no_argument, &options->wait, true },
                { "help", no_argument, NULL, 'h' },
                {},
        };

        for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
                if (c == 'a')
                        options->address = optarg;
                else if (c == 'p')
                        options->pid = atoi(optarg);
                else if (c == 'e')
                        options->pec = parse_pec(optarg);
                else if (c == 'c')
                        options->count = (unsigned) atoi(optarg);
                else if (c != 0) {
                        usage(c == 'h' ? stdout : stderr);
                        exit(c == 'h' ? 0 : 2);
                }
        }
}

int main(int argc, char *argv[]) {
        struct options options = { .count = 1 };
        const char *verb;

        setvbuf(stdout, NULL, _IOLBF, 0);
        parse(argc, argv, &options);
        verb = optind + 1 == argc ? argv[optind] : "";
        if (!options.address)
                verb = "";
        if (strcmp(verb, "inject") == 0)
                return verb_inject(&options);
        if (strcmp(verb, "hold") == 0)
                return verb_hold(&options);
        if (strcmp(verb, "read-config") == 0)
                return verb_read_config(&options);
        usage(stderr);
        return 2;
}
