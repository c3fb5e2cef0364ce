/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "function-parts.h"
#include "names.h"
#include "pec.h"

void function_changed(Function *f, FunctionChange what) {
        const FunctionListener *listener = &f->context->listener;

        if (listener->changed)
                listener->changed(f, what, listener->userdata);
}

/* What is to be done with the device next, if nothing is going on with it. */
static void function_act(Function *f, bool hold) {
        FunctionRequest *attach = function_request(f, FUNCTION_TO_BE_ATTACHED);

        if (f->activity != FUNCTION_IDLE)
                return;

        if (f->former.device >= 0)
                function_take_back(f);
        else if (f->device && !hold)
                function_let_go(f);
        else if (f->device)
                function_begin_reset(f);
        else if (attach && f->facts.vfio_bound && !f->facts.inhibited && !f->facts.awaited)
                function_take_over(f, attach);
        else if (hold)
                function_acquire(f);
}

static void function_set_state(Function *f, const Verdict *verdict) {
        if (verdict->state == f->state && strcmp(verdict->reason, f->reason) == 0)
                return;

        f->state = verdict->state;
        f->reason = verdict->reason;
        /* It has no object any more, or will not have it for long. */
        if (!f->facts.vfio_bound || f->facts.stopping)
                return;

        function_log_state(f);
        function_changed(f, FUNCTION_CHANGED_STATE);
}

void function_update(Function *f) {
        Verdict verdict;

        assert(f);

        f->facts.awaited = function_request(f, FUNCTION_TO_BE_CLOSED);
        verdict = state_decide(&f->facts);
        if (verdict.hold)
                f->leave_deadline_usec = 0;

        function_act(f, verdict.hold);
        function_set_state(f, &verdict);
        function_answer(f);
}

FunctionConfig function_config(const FunctionContext *context, const SysfsFunction *sysfs) {
        assert(context);
        assert(sysfs);

        return config_for(context->config,
                          sysfs->address,
                          sysfs->fid,
                          sysfs->pchid,
                          sysfs->has_policy,
                          sysfs->policy);
}

static void function_configure(Function *f) {
        f->config = function_config(f->context, &f->sysfs);
        f->facts.policy = f->config.policy;
        function_settle(f);
}

/* What the former run knew of it. */
static void function_remember(Function *f, const HandoverFunction *former) {
        f->wishes = (FunctionWishes){
                .claimed = former->claimed,
                .released = former->released,
                .released_until_usec = former->released_until_usec,
        };
        (void) strcpy(f->wishes.holder, former->holder);
        f->facts.claimed = former->claimed;
        f->facts.released = former->released;
        f->facts.permanent = former->permanent;
        f->facts.recovery_limit = former->recovery_limit;
        f->recoveries = former->recoveries;
        function_arm_grace(f);
}

int function_new(const FunctionContext *context,
                 const SysfsFunction *sysfs,
                 const HandoverFunction *former,
                 Function **ret) {
        Function *f;
        int r;

        assert(context);
        assert(sysfs);
        assert(ret);

        f = malloc(sizeof(*f));
        if (!f)
                return -ENOMEM;

        *f = (Function){
                .context = context,
                .n_ref = 1,
                .sysfs = *sysfs,
                .facts.vfio_bound = true,
                .bound_usec = now_usec(CLOCK_MONOTONIC),
                .reason = "",
                .owner.notify_fd = -EBADF,
                .former = VFIO_NO_FDS,
        };
        r = function_new_claim_timer(f);
        if (r >= 0)
                r = function_new_reset_timer(f);
        if (r < 0) {
                (void) function_unref(f);
                return r;
        }
        function_find_inhibitor(f);
        if (former)
                function_remember(f, former);
        function_find_former(f, former);
        function_configure(f);

        /* The first verdict is where it begins, not a change of anything. */
        f->reason = state_decide(&f->facts).reason;

        *ret = f;
        return 0;
}

Function *function_ref(Function *f) {
        assert(f);

        f->n_ref++;
        return f;
}

Function *function_unref(Function *f) {
        if (!f || --f->n_ref > 0)
                return NULL;

        function_refuse_all(f);
        function_unwatch(f);
        (void) sd_event_source_disable_unref(f->claim_timer);
        (void) sd_event_source_disable_unref(f->node_watch);
        (void) sd_event_source_disable_unref(f->grace_timer);
        (void) sd_event_source_disable_unref(f->reset_timer);
        f->device = vfio_close(f->device);
        function_drop_owner(&f->owner);
        (void) safe_close(f->former.device);
        (void) safe_close(f->former.error);
        (void) safe_close(f->former.request);
        free(f);
        return NULL;
}

/* It went and came back before we looked. */
static void function_bound_again(Function *f) {
        Facts *facts = &f->facts;

        function_forget_wishes(f);
        facts->settled = facts->waiting = false;
        facts->unsupported = facts->permanent = facts->recovery_limit = false;
        facts->error = 0;
        f->recoveries = (RecoveryHistory){ 0 };
        f->backoff_usec = 0;
        f->bound_usec = now_usec(CLOCK_MONOTONIC);

        /* What is left of the former binding, if the function vanished from under us. */
        if (function_is_busy(f))
                facts->requested = true;
}

void function_correct(Function *f, const SysfsFunction *sysfs) {
        bool changed, bound_again;

        assert(f);
        assert(sysfs);
        assert(f->sysfs.fid == sysfs->fid);

        changed = strcmp(f->sysfs.driver, sysfs->driver) != 0 || f->sysfs.fh != sysfs->fh;
        bound_again = f->sysfs.binding != sysfs->binding;
        function_log_binding(f, sysfs);

        f->sysfs = *sysfs;
        if (changed)
                function_changed(f, FUNCTION_CHANGED_SYSFS);

        if (bound_again)
                function_bound_again(f);
        function_configure(f);
        function_recover_if_due(f);
        function_update(f);
}

void function_gone(Function *f) {
        assert(f);

        f->facts.vfio_bound = false;
        function_settle(f);
        function_update(f);
}

void function_stop(Function *f) {
        assert(f);

        f->facts.stopping = true;
        function_update(f);
}

void function_set_recovery(Function *f, RecordRecovery recovery) {
        RecordIdentity identity;
        Record *record;

        assert(f);

        if (f->recovery == recovery)
                return;
        f->recovery = recovery;

        function_identity(f, &identity);
        record = ring_reserve(f->context->ring, RECORD_RECOVERY, &identity);
        record->recovery = (uint8_t) recovery;
        ring_commit(f->context->ring, record);

        if (f->facts.vfio_bound)
                function_changed(f, FUNCTION_CHANGED_RECOVERY);
}

void function_count_error(Function *f, const Record *record) {
        assert(f);
        assert(record);

        f->records++;
        f->last_pec = record_pec(record);
        f->last_error_usec = record->realtime_usec;
}

void function_identity(const Function *f, RecordIdentity *ret) {
        assert(f);
        assert(ret);

        *ret = (RecordIdentity){
                .fid = f->sysfs.fid,
                .uid = f->sysfs.uid,
                .fh = f->sysfs.fh,
                .pchid = f->sysfs.pchid,
        };
        memcpy(ret->address, f->sysfs.address, sizeof(ret->address));
}

void function_begin(Function *f, FunctionActivity activity) {
        assert(f->activity == FUNCTION_IDLE);

        (void) function_ref(f);
        f->activity = activity;
        function_changed(f, FUNCTION_BECAME_BUSY);
}

void function_submit(Function *f,
                     FunctionActivity activity,
                     WorkerUrgency urgency,
                     void (*work)(WorkerJob *job),
                     void (*done)(WorkerJob *job)) {
        assert(f->activity == FUNCTION_IDLE || f->activity == activity);

        if (f->activity == FUNCTION_IDLE)
                function_begin(f, activity);
        f->job.job = (WorkerJob){ .work = work, .done = done, .urgency = urgency };
        f->job.result = 0;
        worker_submit(f->context->worker, &f->job.job);
}

void function_finish(Function *f) {
        assert(f->activity != FUNCTION_IDLE);

        f->activity = FUNCTION_IDLE;
        if (!f->device)
                f->facts.requested = false;
        f->used_usec = now_usec(CLOCK_MONOTONIC);
        function_update(f);
        function_changed(f, FUNCTION_BECAME_IDLE);
        (void) function_unref(f);
}

Function *function_of_job(WorkerJob *job) {
        return (Function *) ((char *) job - offsetof(Function, job.job));
}
