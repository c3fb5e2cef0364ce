/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "function-parts.h"

#define BACKOFF_MIN_USEC (1 * USEC_PER_SEC)
#define BACKOFF_MAX_USEC (300 * USEC_PER_SEC)

/* Between two tries while what is in the way passes soon. */
#define OPEN_AGAIN_USEC (20 * USEC_PER_MSEC)

/* Left to itself, sd-event would take a quarter of a second. */
#define ACCURACY_USEC (5 * USEC_PER_MSEC)

/* Somebody may be waiting in an unbind, and should not have to wait for a second. */
#define LEAVE_USEC (700 * USEC_PER_MSEC)

static int on_claim_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Function *f = userdata;

        assert(f);

        f->claim_timer = sd_event_source_disable_unref(f->claim_timer);
        f->facts.settled = true;
        f->facts.waiting = false;
        function_update(f);
        return 0;
}

static void function_arm_claim_timer(Function *f, uint64_t time_usec) {
        int r;

        f->claim_timer = sd_event_source_disable_unref(f->claim_timer);
        r = sd_event_add_time(f->context->event,
                              &f->claim_timer,
                              CLOCK_MONOTONIC,
                              time_usec,
                              ACCURACY_USEC,
                              on_claim_timer,
                              f);
        if (r < 0)
                (void) function_log(
                        f, LOG_ERR, r, NULL, "cannot be claimed, there is no timer for it");
        else
                (void) sd_event_source_set_description(f->claim_timer, "function-claim");
}

void function_settle(Function *f) {
        assert(f);

        if (f->facts.settled || !f->facts.vfio_bound || f->facts.policy != POLICY_CLAIM)
                return;

        function_arm_claim_timer(f, f->bound_usec + f->config.settle_usec);
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

static void function_not_opened(Function *f, int error) {
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

static void function_opened(Function *f, VfioDevice *device) {
        int r;

        f->device = device;
        f->facts.held = true;
        f->errors = f->errors_recovered = f->errors_resetting = 0;
        f->opened_now = true;
        f->open_again_usec = 0;
        f->leave_deadline_usec = 0;
        f->interface = vfio_interface(device);

        ring_forget_function(f->context->ring, f->sysfs.fid);
        f->counters_spare = (RingFunction){ .fid = f->sysfs.fid };
        f->counters = ring_function(f->context->ring, f->sysfs.fid) ?: &f->counters_spare;

        if (vfio_function_handle(device) != 0)
                f->sysfs.fh = vfio_function_handle(device);
        if (f->facts.vfio_bound)
                function_changed(f, FUNCTION_CHANGED_INTERFACE | FUNCTION_CHANGED_SYSFS);

        r = function_watch(f);
        if (r < 0)
                function_fail(f, r);
}

static void work_open(WorkerJob *job) {
        FunctionJob *j = &function_of_job(job)->job;

        j->device = NULL;
        j->result = vfio_open(&j->nodes, &j->device, &j->problem);
}

static void done_open(WorkerJob *job) {
        Function *f = function_of_job(job);

        if (f->job.result < 0)
                function_not_opened(f, f->job.result);
        else
                function_opened(f, TAKE_PTR(f->job.device));
        function_finish(f);
}

void function_acquire(Function *f) {
        VfioNodes *nodes;

        assert(f);
        assert(!f->device);

        nodes = &f->job.nodes;
        *nodes = (VfioNodes){ 0 };
        memcpy(nodes->address, f->sysfs.address, sizeof(nodes->address));
        if (f->sysfs.group != UINT32_MAX)
                (void) snprintf(
                        nodes->group, sizeof(nodes->group), "/dev/vfio/%" PRIu32, f->sysfs.group);
        if (f->sysfs.cdev[0] != '\0')
                (void) snprintf(
                        nodes->cdev, sizeof(nodes->cdev), "/dev/vfio/devices/%s", f->sysfs.cdev);

        function_submit(f, FUNCTION_OPENING, WORKER_PATIENT, work_open, done_open);
}

static void work_close(WorkerJob *job) {
        FunctionJob *j = &function_of_job(job)->job;

        j->device = vfio_close(j->device);
}

static void done_close(WorkerJob *job) {
        Function *f = function_of_job(job);

        f->facts.held = false;

        /*
         * Who asked for it may be done with it, if it is still bound: as if it had just been bound.
         */
        if (f->facts.requested) {
                f->facts.requested = false;
                f->facts.settled = false;
                f->bound_usec = now_usec(CLOCK_MONOTONIC);
                function_settle(f);
        }

        function_finish(f);
}

void function_let_go(Function *f) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);

        assert(f);
        assert(f->device);
        assert(f->activity == FUNCTION_IDLE);

        /* One burst is many times what the kernel can hold. An error here changes nothing any more:
         * it was said when it first came, or the function is gone. */
        (void) function_drain(f);

        /* The reset that a close does skips silently while the kernel handles an error. However many
         * errors come meanwhile, all of this is over by the deadline. */
        if (f->leave_deadline_usec == 0)
                f->leave_deadline_usec = now + LEAVE_USEC;
        if (function_owes_recovery(f) && now < f->leave_deadline_usec) {
                function_recover(f, f->leave_deadline_usec - now);
                return;
        }

        function_unwatch(f);
        ring_forget_function(f->context->ring, f->sysfs.fid);
        f->counters = NULL;
        f->job.device = TAKE_PTR(f->device);
        function_submit(f, FUNCTION_CLOSING, WORKER_URGENT, work_close, done_close);
}
