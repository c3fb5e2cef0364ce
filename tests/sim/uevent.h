/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Sends udev events to the monitors of the testbed: what umockdev's testbed does too, but with any
 * properties, without a limit, and without waiting for a monitor that does not read. */

#include <systemd/sd-event.h>

/* What a monitor receives in place of an event that it lost; long enough to pass libudev's socket filter. */
#define SIM_UEVENT_OVERRUN "zpci-sim: the monitor's receive buffer overran"

typedef struct Uevents Uevents;

/* 'dir' is the testbed. Returns 0 or a negative errno. */
int uevents_new(sd_event *event, const char *dir, Uevents **ret);
Uevents *uevents_free(Uevents *u);

/* Sends the event "ACTION" of "DEVPATH" (without /sys) and "SUBSYSTEM"; 'properties' are further "KEY=VALUE" lines, each
 * ended by a newline, as in a uevent file. */
int uevents_send(Uevents *u,
                 const char *action,
                 const char *devpath,
                 const char *subsystem,
                 const char *properties);

/* The next read of every monitor fails with ENOBUFS. */
int uevents_overrun(Uevents *u);
