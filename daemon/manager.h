/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The wiring: makes every part, tells each what it has to know of the others, and runs the event
 * loop.
 */

#include <stdbool.h>

#include "config.h"
#include "log.h"
#include "util.h"

typedef struct Manager Manager;

/* What the command line says; stronger than the configuration files. */
typedef struct ManagerOptions {
        const char *policy; /* NULL, or the value of --policy=; valid */
} ManagerOptions;

/*
 * Reads the configuration, takes back what survived, and makes the parts. No device is touched yet.
 * options and log must outlive it. Returns 0 or a negative errno, which has been said in the log.
 */
int manager_new(const ManagerOptions *options, Log *log, Manager **ret);
Manager *manager_free(Manager *manager);
DEFINE_TRIVIAL_CLEANUP_FUNC(Manager *, manager_free);

/*
 * Runs until SIGTERM or SIGINT. Returns 0, or a negative errno, which has been said in the log:
 * -EEXIST if another daemon runs.
 */
int manager_run(Manager *manager);

/*
 * Whether a system call still hangs after manager_run(), in a thread that works on memory of the
 * manager's: it is not to be freed then, which would wait for that call.
 */
bool manager_hangs(const Manager *manager);
