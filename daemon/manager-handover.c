/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>

#include "manager-private.h"

/* What is not to be forgotten may be many small things at once: they are written together. */
#define HANDOVER_USEC (50 * USEC_PER_MSEC)

static int manager_collect(const Manager *m, Handover *ret) {
        Handover handover = { 0 };
        int r;

        (void) snprintf(handover.bus_id, sizeof(handover.bus_id), "%s", bus_id(m->bus));
        r = inhibitors_hand_over(m->inhibitors, &handover);
        for (size_t i = 0; r >= 0 && i < registry_size(m->registry); i++)
                r = function_hand_over(registry_get(m->registry, i), &handover);
        if (r < 0) {
                handover_done(&handover);
                return r;
        }

        *ret = handover;
        return 0;
}

void manager_hand_over(Manager *m) {
        Handover handover;
        int r;

        assert(m);

        /* Not before all of the former run is taken back, and not what an end undoes. */
        if (!m->handover_due || m->handover_fd < 0 || !m->started || m->stopping)
                return;
        m->handover_due = false;
        (void) sd_event_source_set_enabled(m->handover_timer, SD_EVENT_OFF);

        r = manager_collect(m, &handover);
        if (r >= 0) {
                r = handover_write(m->handover_fd, &handover);
                handover_done(&handover);
        }
        if (r < 0)
                (void) log_warning(
                        m->log, r, "Cannot write down what has to survive a restart of the daemon");
}

static int on_handover_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        manager_hand_over(userdata);
        return 0;
}

void manager_hand_over_soon(Manager *m) {
        assert(m);

        if (m->handover_due)
                return;

        m->handover_due = true;
        (void) sd_event_source_set_time_relative(m->handover_timer, HANDOVER_USEC);
        (void) sd_event_source_set_enabled(m->handover_timer, SD_EVENT_ONESHOT);
}

/* Fails if another run may succeed. What nobody can read is said, and done without. */
static int manager_read_former(Manager *m) {
        unsigned skipped = 0;
        int r;

        r = handover_read(m->handover_fd, &m->former, &skipped);
        if (r == -ENOMEM)
                return r;
        if (r < 0 && r != -ENODATA) {
                (void) log_warning(m->log,
                                   r,
                                   "What the former run handed over cannot be read (%s): claims, "
                                   "releases and attachments are forgotten",
                                   r == -EPROTO    ? "a newer version wrote it"
                                   : r == -EBADMSG ? "it is damaged"
                                                   : "it cannot be opened");
                m->handover_fd = safe_close(m->handover_fd);
        }
        if (skipped > 0)
                (void) log_warning(m->log,
                                   0,
                                   "%u things that the former run handed over make no sense, and "
                                   "are left out",
                                   skipped);
        return 0;
}

int manager_take_over(Manager *m) {
        int r;

        assert(m);

        r = sd_event_add_time(
                m->event, &m->handover_timer, CLOCK_MONOTONIC, 0, 0, on_handover_timer, m);
        if (r >= 0)
                r = sd_event_source_set_enabled(m->handover_timer, SD_EVENT_OFF);
        if (r < 0)
                return r;

        m->handover_fd = fdstore_take(m->store, FDSTORE_HANDOVER);
        if (m->handover_fd >= 0) {
                r = manager_read_former(m);
                if (r < 0)
                        return r;
        }
        if (m->handover_fd < 0) {
                m->handover_fd = handover_create();
                if (m->handover_fd < 0)
                        return m->handover_fd;
                r = fdstore_put(m->store, FDSTORE_HANDOVER, m->handover_fd, false);
                if (r < 0)
                        (void) log_warning(m->log,
                                           r,
                                           "The service manager does not keep claims, releases and "
                                           "attachments for the next run");
        }

        return inhibitors_restore(m->inhibitors, &m->former);
}
