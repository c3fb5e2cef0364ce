/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>

#include "function-parts.h"

/*
 * The eventfd fires while the kernel still holds the lock of the device, and for up to some 60 ms.
 */
#define RESET_DELAY_MIN_USEC (1 * USEC_PER_MSEC)
#define RESET_DELAY_MAX_USEC (100 * USEC_PER_MSEC)

#define RECOVERY_BUDGET_USEC (5 * USEC_PER_SEC)

static void work_reset(WorkerJob *job) {
        FunctionJob *j = &function_of_job(job)->job;

        j->result = vfio_reset(j->device);
}

static void done_reset(WorkerJob *job);

static void function_submit_reset(Function *f) {
        f->errors_resetting = f->errors;
        f->job.device = f->device;
        function_submit(f, FUNCTION_RESETTING, WORKER_URGENT, work_reset, done_reset);
}

static int on_reset_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Function *f = userdata;

        assert(f);

        function_submit_reset(f);
        return 0;
}

int function_new_reset_timer(Function *f) {
        int r;

        r = sd_event_add_time(f->context->event,
                              &f->reset_timer,
                              CLOCK_MONOTONIC,
                              0,
                              RESET_DELAY_MIN_USEC,
                              on_reset_timer,
                              f);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(f->reset_timer, "function-reset");
        /* As urgent as draining: until the reset the function does nothing, and who waits for it waits. */
        r = sd_event_source_set_priority(f->reset_timer, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(f->reset_timer, SD_EVENT_OFF);
}

/* Returns whether there will be another try. */
static bool function_reset_again(Function *f) {
        uint64_t next_usec = now_usec(CLOCK_MONOTONIC) + f->reset_delay_usec;

        if (next_usec > f->reset_deadline_usec)
                return false;

        (void) sd_event_source_set_time(f->reset_timer, next_usec);
        (void) sd_event_source_set_enabled(f->reset_timer, SD_EVENT_ONESHOT);

        f->reset_delay_usec *= 2;
        if (f->reset_delay_usec > RESET_DELAY_MAX_USEC)
                f->reset_delay_usec = RESET_DELAY_MAX_USEC;
        return true;
}

static void function_recovery_ended(Function *f, int error) {
        /* An error that came during the reset is owed another one, whatever became of this. */
        f->errors_recovered = f->errors_resetting;
        function_settle_debt(f);
        function_request_over(f, FUNCTION_TO_BE_RESET, error);

        if (error == 0) {
                function_set_recovery(f, RECOVERY_RECOVERED);
                return;
        }

        (void) function_log(f, LOG_ERR, error, NULL, "VFIO_DEVICE_RESET does not recover it");
        function_set_recovery(f, RECOVERY_FAILED);

        /* Closing and opening the device resets it too: let go, and try again after a while. */
        if (state_decide(&f->facts).hold)
                function_fail(f, error == -EAGAIN ? -ETIMEDOUT : error);
}

/*
 * Besides EAGAIN, the kernel has been seen to answer EIO to a reset just after an error, and to reset
 * the same function a moment later. An adapter that is broken says it for longer.
 */
static bool is_premature(const Function *f, int error) {
        return error == -EAGAIN || (error == -EIO && f->reset_delay_usec < RESET_DELAY_MAX_USEC);
}

static void done_reset(WorkerJob *job) {
        Function *f = function_of_job(job);
        int r = f->job.result;

        f->job.device = NULL;
        if (is_premature(f, r) && function_reset_again(f))
                return;

        function_recovery_ended(f, r);

        /* An error that came meanwhile wants another reset. */
        if (f->more_source)
                (void) sd_event_source_set_enabled(f->more_source, SD_EVENT_ONESHOT);
        function_finish(f);
}

/* The next run has to know: it finds a device that may be in error. */
void function_settle_debt(Function *f) {
        assert(f);

        if (f->counters && f->errors == f->errors_recovered)
                RING_STORE(f->counters->owes, 0);
}

void function_begin_reset(Function *f) {
        FunctionRequest *request;

        assert(f);
        assert(f->device);

        request = function_request(f, FUNCTION_TO_BE_RESET);
        if (!request || f->facts.attached)
                return;

        /* What it has reported until now is what this recovers, unless one of it is permanent. That
         * it cannot be read is said when it is tried again. */
        (void) function_drain(f);
        if (f->facts.permanent)
                return;

        for (; request; request = function_request(f, FUNCTION_TO_BE_RESET))
                request->begun = true;
        function_recover(f, RECOVERY_BUDGET_USEC);
}

bool function_owes_recovery(const Function *f) {
        assert(f);

        return f->errors > f->errors_recovered && !f->facts.permanent && !f->facts.attached;
}

void function_recover(Function *f, uint64_t budget_usec) {
        assert(f);
        assert(f->device);
        assert(f->activity == FUNCTION_IDLE);

        f->reset_delay_usec = RESET_DELAY_MIN_USEC;
        f->reset_deadline_usec = now_usec(CLOCK_MONOTONIC) + budget_usec;
        function_set_recovery(f, RECOVERY_IN_PROGRESS);
        function_submit_reset(f);
}

void function_recover_if_due(Function *f) {
        const RecoveryLimit *limit;

        assert(f);

        limit = &f->config.limit;
        if (!f->device || f->activity != FUNCTION_IDLE || f->facts.attached ||
            f->config.recovery != RECOVERY_POLICY_RESET || !function_owes_recovery(f) ||
            !state_decide(&f->facts).hold)
                return;

        if (recovery_history_add(&f->recoveries, limit, now_usec(CLOCK_MONOTONIC))) {
                function_changed(f, FUNCTION_CHANGED_MEMORY);
                function_recover(f, RECOVERY_BUDGET_USEC);
                return;
        }

        (void) function_log(f,
                            LOG_WARNING,
                            0,
                            NULL,
                            "reported an error again after %" PRIu32 " recoveries within %" PRIu64
                            " s (RecoveryLimit=), letting go",
                            limit->count,
                            limit->interval_usec / USEC_PER_SEC);
        f->facts.recovery_limit = true;
        function_changed(f, FUNCTION_CHANGED_MEMORY);
}

void function_hurry(Function *f, uint64_t budget_usec) {
        uint64_t deadline = now_usec(CLOCK_MONOTONIC) + budget_usec;

        assert(f);

        if (f->reset_deadline_usec > deadline)
                f->reset_deadline_usec = deadline;
        if (f->leave_deadline_usec == 0 || f->leave_deadline_usec > deadline)
                f->leave_deadline_usec = deadline;
}
