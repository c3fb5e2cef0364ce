/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Follows what the daemon publishes, and gives it to a listener: every error once and in order,
 * whatever becomes of daemon and bus meanwhile, as long as the daemon still has it.
 */

#include "context.h"
#include "value.h"

typedef struct Monitor Monitor;

typedef enum MonitorEvent {
        MONITOR_ERROR,    /* members of ErrorReported, with its details */
        MONITOR_LOST,     /* of RecordsLost: address, fid, count */
        MONITOR_RECOVERY, /* of RecoveryChanged: address, fid, recovery */
        MONITOR_MISSED, /* count errors that came while we were away, and that the daemon has no more */
        _MONITOR_EVENT_MAX,
} MonitorEvent;

typedef struct MonitorListener {
        /* The object is the monitor's. */
        void (*event)(MonitorEvent event, json_object *object, void *userdata);
        /*
         * All that is known so far was told; what comes next may take a while. Returns EXIT_DONE to
         * go on.
         */
        int (*idle)(void *userdata);
        void *userdata;
} MonitorListener;

/*
 * Follows from now on, until the listener ends it or memory is short. Returns the status to exit
 * with. Opens context->bus, anew if it breaks. There has to be a daemon at first; later it is
 * waited for.
 */
int monitor_run(Context *context, const MonitorListener *listener);
