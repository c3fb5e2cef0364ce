/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which PCI functions there are, from libudev.
 *
 * udev can lose events, so discovery is a scan that corrects facts; a uevent only says when. Start,
 * an overrun of the monitor and a reload are the same scan of everything, the latter two a few
 * functions at a time.
 */

#include <systemd/sd-event.h>

#include "sysfs.h"
#include "util.h"

typedef struct Uevent Uevent;

typedef enum UeventError {
        UEVENT_BEGIN_RECOVERY,      /* a function reported an error */
        UEVENT_SUCCESSFUL_RECOVERY, /* the kernel recovered it */
        UEVENT_FAILED_RECOVERY,     /* the kernel could not */
} UeventError;

/*
 * What is told, all of it from the event loop or from within uevent_scan(). Every member is called.
 */
typedef struct UeventListener {
        /* This is what sysfs says of a zPCI function now. */
        void (*seen)(const SysfsFunction *function, void *userdata);
        /*
         * What sysfs says of this PCI function is wrong. If only the policy of its udev property
         * is, seen() follows; otherwise nothing is known of it but that it is there.
         */
        void (*bad)(const char *address, const SysfsProblem *problem, void *userdata);
        /* No zPCI function has this address (any more). */
        void (*gone)(const char *address, void *userdata);
        /*
         * A full scan begins; it tells of every function by seen() or bad(), and ends. What it did
         * not tell of is gone. A scan that fails does not end, and says nothing of what is gone.
         */
        void (*scan_begin)(void *userdata);
        void (*scan_end)(void *userdata);
        /* A uevent of a function's error. What sysfs says of the function now follows. */
        void (*error)(const char *address, UeventError error, void *userdata);
        /* The monitor lost events; a full scan follows. */
        void (*overrun)(void *userdata);
        /*
         * libudev failed with this negative errno. If that was while reading events, a full scan
         * follows.
         */
        void (*failed)(int error, void *userdata);
        void *userdata;
} UeventListener;

/*
 * Watches the subsystems pci and vfio-dev in an event loop. Nothing is told before the first
 * uevent_scan(). listener must outlive it. Returns 0, -ENOMEM, or an error of libudev.
 */
int uevent_open(sd_event *event, const UeventListener *listener, Uevent **ret);
Uevent *uevent_close(Uevent *uevent);
DEFINE_TRIVIAL_CLEANUP_FUNC(Uevent *, uevent_close);

/*
 * Scans everything before it returns, some 0.3 ms a function, and from the first time on tells of
 * what happens. Returns 0, or an error of libudev or sd-event: then the scan did not end.
 */
int uevent_scan(Uevent *uevent);
/*
 * The same for later: begins a scan that goes on in the event loop, a few functions at a time, so
 * that others have their turn. One that is going on begins anew. Returns 0 or an error; one that
 * comes later goes to failed().
 */
int uevent_rescan(Uevent *uevent);
