/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * zpci-errord-witness: a step of the unit before the daemon starts, with all privileges, which the
 * daemon has not. Attaches the eBPF program, and hands what holds and tells of it to the service
 * manager's fd store, from where the daemon has it. Whatever goes wrong is for the daemon to say,
 * and no reason for it not to start.
 */

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <systemd/sd-daemon.h>

#include "config.h"
#include "program.h"
#include "witness-account.h"

#define BARRIER_USEC (5 * USEC_PER_SEC)

static void print_help(void) {
        (void) printf(
                "Usage: %s [--symbol=FUNCTION] [--verbose]\n"
                "\n"
                "Attaches the eBPF program that sees the error records of PCI functions to the\n"
                "kernel, for zpci-errord. Run by zpci-errord.service before the daemon.\n"
                "\n"
                "  -h, --help             Show this help\n"
                "      --symbol=FUNCTION  The function of the kernel, if it is not %s\n"
                "      --verbose          Say what libbpf has to say\n",
                program_invocation_short_name,
                WITNESS_SYMBOL);
}

static void on_complaint(const char *file, uint64_t line, const char *text, void *userdata) {
        /* The daemon reads the same files in a moment, and says it. */
}

static bool is_switched_off(void) {
        Config config;
        bool off;

        config_defaults(&config);
        (void) config_read(&config, "", on_complaint, NULL);
        off = !config.witness;
        config_done(&config);
        return off;
}

/* What the daemon calls it. An errno that has no name is none of Linux. */
static const char *reason(int error) {
        switch (error) {
        case -EPERM:
                return "not-permitted";
        case -ENOENT:
                return "no-symbol";
        default:
                return strerrorname_np(-error) ?: "unknown";
        }
}

/* fd may be negative: then there is none of that name any more. */
static void store(const char *name, int fd) {
        char message[128];

        (void) snprintf(message, sizeof(message), "FDSTOREREMOVE=1\nFDNAME=%s", name);
        (void) sd_notify(0, message);

        /* Without FDPOLL=0 the service manager takes what can be polled for hung up. */
        (void) snprintf(message, sizeof(message), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
        if (fd >= 0 && sd_pid_notify_with_fds(0, 0, message, &fd, 1) < 0)
                (void) fprintf(stderr, "The service manager did not take %s\n", name);
}

static void store_status(const char *text) {
        _cleanup_close_ int fd = text ? memfd_create(WITNESS_FD_STATUS, MFD_CLOEXEC) : -EBADF;

        if (text && (fd < 0 || write(fd, text, strlen(text)) != (ssize_t) strlen(text)))
                (void) fprintf(stderr, "Cannot make a file in memory\n");
        store(WITNESS_FD_STATUS, fd);
}

/*
 * Instead of what there was under these names: the same program, if it ran already. It does not
 * stop in between, since we have it open too.
 */
static void hand_over(const Program *program, const char *status) {
        store(WITNESS_FD_RING, program->ring);
        store(WITNESS_FD_COUNTERS, program->counters);
        store(WITNESS_FD_LINK, program->link);
        store_status(status);

        /* All of it has to come from a process that still is there. */
        if (sd_notify_barrier(0, BARRIER_USEC) < 0)
                (void) fprintf(stderr, "The service manager did not answer\n");
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "symbol", required_argument, NULL, 's' },
                { "verbose", no_argument, NULL, 'v' },
                { 0 },
        };
        _cleanup_(program_done) Program program = PROGRAM_NONE;
        const char *symbol = WITNESS_SYMBOL;
        bool verbose = false;
        int option, r;

        while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (option) {
                case 'h':
                        print_help();
                        return EXIT_SUCCESS;
                case 's':
                        symbol = optarg;
                        break;
                case 'v':
                        verbose = true;
                        break;
                default:
                        return 2;
                }

        if (!getenv("NOTIFY_SOCKET")) {
                (void) fprintf(stderr, "No service manager here that could keep the program\n");
                return EXIT_FAILURE;
        }
        if (is_switched_off()) {
                hand_over(&program, NULL);
                return EXIT_SUCCESS;
        }

        r = program_attach(symbol, verbose, &program);
        hand_over(&program, r < 0 ? reason(r) : NULL);
        return EXIT_SUCCESS;
}
