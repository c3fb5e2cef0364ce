/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who keeps the daemon's hands off which functions.
 *
 * An inhibitor is a pipe. Whoever asked for it has the writing end, and may duplicate it and pass it
 * on; when the last of these is closed, by whatever end of its holders, the reading end hangs up and
 * the inhibitor is over. The service manager keeps the reading end for the next run of the daemon,
 * and forgets it by itself when it hangs up meanwhile.
 */

#include <systemd/sd-event.h>

#include "fdstore.h"
#include "handover.h"

#define INHIBITORS_PER_USER 64U

typedef struct Inhibitors Inhibitors;

/* What an inhibitor is about, while it exists. Its id and pid are for the record only. */
typedef HandoverInhibitor Inhibitor;

typedef struct InhibitorsListener {
        /* One began or ended: other addresses are inhibited now. */
        void (*changed)(Inhibitors *inhibitors, void *userdata);
        void *userdata;
} InhibitorsListener;

/* *listener is copied; store must outlive it. Returns 0 or -ENOMEM. */
int inhibitors_new(sd_event *event,
                   FdStore *store,
                   const InhibitorsListener *listener,
                   Inhibitors **ret);
/* Those that are not over go on in the service manager's fd store. */
Inhibitors *inhibitors_free(Inhibitors *inhibitors);
DEFINE_TRIVIAL_CLEANUP_FUNC(Inhibitors *, inhibitors_free);

/*
 * Begins an inhibitor. What terms has is copied, but for the id. *ret_fd is the writing end, which
 * is the caller's. Returns 0, -EDQUOT past INHIBITORS_PER_USER of the user, -EXFULL as
 * fdstore_put(), -ENOMEM, or an error of
 * pipe2(2) or sd-event.
 */
int inhibitors_add(Inhibitors *inhibitors, const Inhibitor *terms, int *ret_fd);
/*
 * Goes on with those of a former run, as far as they are not over. Tells nobody. Returns 0 or
 * -ENOMEM.
 */
int inhibitors_restore(Inhibitors *inhibitors, const Handover *handover);
/* Adds all of them to what is handed over. Returns 0 or -ENOMEM. */
int inhibitors_hand_over(const Inhibitors *inhibitors, Handover *handover);

/* The oldest one that names the address, NULL if there is none. Valid until one ends. */
const Inhibitor *inhibitors_find(const Inhibitors *inhibitors, const char *address);
/* All of them, oldest first: the first, and the one after another; NULL at the end. */
const Inhibitor *inhibitors_next(const Inhibitors *inhibitors, const Inhibitor *previous);
