/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include "function-parts.h"

#define BACKOFF_MIN_USEC (1 * USEC_PER_SEC)
#define BACKOFF_MAX_USEC (300 * USEC_PER_SEC)

/* Between two tries while what is in the way passes soon. */
#define OPEN_AGAIN_USEC (20 * USEC_PER_MSEC)

/* For how long what happens to a node is our own doing. */
#define OURS_USEC (100 * USEC_PER_MSEC)

/* Left to itself, sd-event would take a quarter of a second. */
#define ACCURACY_USEC (5 * USEC_PER_MSEC)

void function_disarm(Function *f) {
        (void) sd_event_source_set_enabled(f->claim_timer, SD_EVENT_OFF);
        f->node_watch = sd_event_source_disable_unref(f->node_watch);
}

static int on_claim_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Function *f = userdata;

        assert(f);

        function_disarm(f);
        f->facts.settled = true;
        f->facts.waiting = false;
        function_update(f);
        return 0;
}

static int
on_node_used(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Function *f = userdata;

        assert(f);

        /* Whoever has opened it while we wait for somebody else is who we wait for. And what we did
         * with it ourselves may be told late. */
        if (((event->mask & IN_OPEN) && f->facts.waiting) ||
            now_usec(CLOCK_MONOTONIC) < f->used_usec + OURS_USEC)
                return 0;

        if (event->mask & (IN_CLOSE_WRITE | IN_CLOSE_NOWRITE)) {
                f->facts.error = 0;
                f->backoff_usec = 0;
        }
        function_settle_anew(f);
        function_update(f);
        return 0;
}

/*
 * Only a hint, since whoever uses a node of its own is not seen here: libvirt and containers make
 * such nodes. What cannot be watched is tried by the clock.
 */
static void function_watch_node(Function *f) {
        VfioNodes nodes;

        if (f->node_watch)
                return;

        function_nodes(f, &nodes);
        if (sd_event_add_inotify(f->context->event,
                                 &f->node_watch,
                                 access(nodes.cdev, F_OK) >= 0 ? nodes.cdev : nodes.group,
                                 IN_OPEN | IN_CLOSE,
                                 on_node_used,
                                 f) >= 0)
                (void) sd_event_source_set_description(f->node_watch, "function-node");
}

int function_new_claim_timer(Function *f) {
        int r;

        r = sd_event_add_time(f->context->event,
                              &f->claim_timer,
                              CLOCK_MONOTONIC,
                              0,
                              ACCURACY_USEC,
                              on_claim_timer,
                              f);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(f->claim_timer, "function-claim");
        return sd_event_source_set_enabled(f->claim_timer, SD_EVENT_OFF);
}

static void function_arm_claim_timer(Function *f, uint64_t time_usec) {
        (void) sd_event_source_set_time(f->claim_timer, time_usec);
        (void) sd_event_source_set_enabled(f->claim_timer, SD_EVENT_ONESHOT);
        function_watch_node(f);
}

bool function_is_wanted(const Function *f) {
        const Facts *facts = &f->facts;

        return facts->vfio_bound && (facts->policy == POLICY_CLAIM || facts->claimed) &&
               !facts->released && !facts->inhibited;
}

void function_settle(Function *f) {
        assert(f);

        if (!function_is_wanted(f)) {
                function_disarm(f);
                f->facts.waiting = false;
        } else if (!f->facts.settled)
                function_arm_claim_timer(f, f->bound_usec + f->config.settle_usec);
}

void function_settle_anew(Function *f) {
        assert(f);

        /* Even with SettleSec=0: while the kernel closes it for somebody, it answers EBUSY. */
        f->bound_usec = now_usec(CLOCK_MONOTONIC) + OPEN_AGAIN_USEC;
        f->facts.settled = f->facts.waiting = false;
        f->open_again_usec = 0;
        function_settle(f);
}

static void function_try_later(Function *f, int error) {
        f->facts.error = error;
        f->facts.waiting = true;
        f->backoff_usec = f->backoff_usec == 0 ? BACKOFF_MIN_USEC : f->backoff_usec * 2;
        if (f->backoff_usec > BACKOFF_MAX_USEC)
                f->backoff_usec = BACKOFF_MAX_USEC;
        function_arm_claim_timer(f, now_usec(CLOCK_MONOTONIC) + f->backoff_usec);
}

void function_fail(Function *f, int error) {
        assert(f);
        assert(error < 0);

        if (f->facts.error != error)
                (void) function_log(
                        f, LOG_WARNING, error, NULL, "its VFIO device failed, letting go");
        if (f->facts.attached)
                f->facts.requested = true;
        else
                function_try_later(f, error);
        function_update(f);
}

static void function_say_not_opened(Function *f, int error) {
        const VfioProblem *problem = &f->job.problem;

        /* The state says the rest, and says it once. */
        if (error == f->facts.error)
                return;

        (void) function_log(f,
                            error == -EBUSY ? LOG_INFO : LOG_WARNING,
                            error == -EOPNOTSUPP ? 0 : error,
                            NULL,
                            "cannot be held: %s%s%s",
                            problem->what ?: "its VFIO device does not open",
                            problem->path[0] != '\0' ? " " : "",
                            problem->path);
}

/*
 * The kernel is just handling an error, or udev has not come yet to the node of a function that was
 * just bound: both take tens of milliseconds.
 */
static bool passes_soon(int error) {
        return error == -EAGAIN || error == -EACCES;
}

void function_not_opened(Function *f, int error) {
        /* For a second: by then it has passed, or something is wrong. */
        if (passes_soon(error) && f->open_again_usec < USEC_PER_SEC) {
                f->facts.waiting = true;
                f->open_again_usec += OPEN_AGAIN_USEC;
                function_arm_claim_timer(f, now_usec(CLOCK_MONOTONIC) + OPEN_AGAIN_USEC);
                return;
        }
        f->open_again_usec = 0;

        function_say_not_opened(f, error);
        if (error == -EOPNOTSUPP) {
                f->facts.unsupported = true;
                return;
        }
        function_try_later(f, error);
}
