/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "function-parts.h"
#include "names.h"
#include "pec.h"

/*
 * What an administrator should know about a state and its reason. NULL where the names say it all.
 */
static const char *function_explain(const Function *f) {
        if (strcmp(f->reason, "busy") == 0)
                return "somebody else holds its VFIO device; trying again from time to time";
        if (strcmp(f->reason, "policy-denied") == 0)
                return "no permission for its VFIO nodes; check the udev rules (udevadm trigger) "
                       "and DeviceAllow= of the unit";
        if (strcmp(f->reason, "permanent-error") == 0)
                return "it reported an error that no reset recovers; the platform has to repair or "
                       "replace it";
        if (strcmp(f->reason, "recovery-limit") == 0)
                return "it had to be recovered too often; 'zpcictl --reset-fw' recovers it and reports it to "
                       "the service element, 'zpcictl --reset' re-creates it, which loses its "
                       "driver_override, 'zpcictl --deconfigure' comes before a repair; it is taken back "
                       "once it is bound again";
        if (strcmp(f->reason, "unsupported") == 0)
                return "this kernel gives no error records of it; publishing what the kernel log shows";
        if (f->facts.waiting && f->facts.error < 0)
                return "publishing what the kernel log shows, trying again from time to time";
        return NULL;
}

static int function_state_level(const Function *f) {
        return f->state == FUNCTION_FAILED ? LOG_WARNING : LOG_INFO;
}

static void function_log_state(Function *f) {
        const char *explanation = function_explain(f);

        (void) function_log(f,
                            function_state_level(f),
                            0,
                            ERRORD_MESSAGE_STATE_ID,
                            "%s%s%s%s%s%s",
                            state_to_string(f->state),
                            f->reason[0] != '\0' ? " (" : "",
                            f->reason,
                            f->reason[0] != '\0' ? ")" : "",
                            explanation ? ": " : "",
                            explanation ?: "");
}

void function_changed(Function *f, FunctionChange what) {
        const FunctionListener *listener = &f->context->listener;

        if (listener->changed)
                listener->changed(f, what, listener->userdata);
}

void function_update(Function *f) {
        Verdict verdict;

        assert(f);

        verdict = state_decide(&f->facts);

        if (verdict.hold)
                f->leave_deadline_usec = 0;

        if (f->activity == FUNCTION_IDLE) {
                if (verdict.hold && !f->device)
                        function_acquire(f);
                else if (!verdict.hold && f->device)
                        function_let_go(f);
        }

        if (verdict.state == f->state && strcmp(verdict.reason, f->reason) == 0)
                return;

        f->state = verdict.state;
        f->reason = verdict.reason;
        /* It has no object any more, or will not have it for long. */
        if (!f->facts.vfio_bound || f->facts.stopping)
                return;

        function_log_state(f);
        function_changed(f, FUNCTION_CHANGED_STATE);
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

int function_new(const FunctionContext *context, const SysfsFunction *sysfs, Function **ret) {
        Function *f;

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
        };
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

        function_unwatch(f);
        (void) sd_event_source_disable_unref(f->claim_timer);
        (void) sd_event_source_disable_unref(f->reset_timer);
        f->device = vfio_close(f->device);
        free(f);
        return NULL;
}

static void function_log_binding(Function *f, const SysfsFunction *now) {
        if (strcmp(f->sysfs.driver, now->driver) != 0)
                (void) function_log(f,
                                    LOG_INFO,
                                    0,
                                    ERRORD_MESSAGE_STATE_ID,
                                    "driver changed from %s to %s",
                                    f->sysfs.driver,
                                    now->driver);
        else if (f->sysfs.binding != now->binding)
                (void) function_log(f,
                                    LOG_INFO,
                                    0,
                                    ERRORD_MESSAGE_STATE_ID,
                                    "%s was bound to it again",
                                    now->driver);
}

/* It went and came back before we looked. */
static void function_bound_again(Function *f) {
        Facts *facts = &f->facts;

        facts->settled = facts->waiting = facts->released = false;
        facts->unsupported = facts->permanent = facts->recovery_limit = false;
        facts->error = 0;
        f->recoveries = (RecoveryHistory){ 0 };
        f->backoff_usec = 0;
        f->bound_usec = now_usec(CLOCK_MONOTONIC);

        /* What is left of the former binding, if the function vanished from under us. */
        if (f->device)
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
        f->claim_timer = sd_event_source_disable_unref(f->claim_timer);
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

void function_submit(Function *f,
                     FunctionActivity activity,
                     WorkerUrgency urgency,
                     void (*work)(WorkerJob *job),
                     void (*done)(WorkerJob *job)) {
        assert(f->activity == FUNCTION_IDLE || f->activity == activity);

        if (f->activity == FUNCTION_IDLE) {
                (void) function_ref(f);
                function_changed(f, FUNCTION_BECAME_BUSY);
        }
        f->activity = activity;
        f->job.job = (WorkerJob){ .work = work, .done = done, .urgency = urgency };
        f->job.result = 0;
        worker_submit(f->context->worker, &f->job.job);
}

void function_finish(Function *f) {
        assert(f->activity != FUNCTION_IDLE);

        f->activity = FUNCTION_IDLE;
        function_update(f);
        function_changed(f, FUNCTION_BECAME_IDLE);
        (void) function_unref(f);
}

Function *function_of_job(WorkerJob *job) {
        return (Function *) ((char *) job - offsetof(Function, job.job));
}

int function_log(
        Function *f, int level, int error, const char *message_id, const char *format, ...) {
        char fid[32], uid[32], pchid[32], address[64], state[32], id[64], text[512];
        const char *fields[] = { address, fid, uid, pchid, state, NULL, NULL };
        va_list args;

        assert(f);

        (void) snprintf(address, sizeof(address), ERRORD_FIELD_ADDRESS "=%s", f->sysfs.address);
        (void) snprintf(fid, sizeof(fid), ERRORD_FIELD_FID "=0x%08" PRIx32, f->sysfs.fid);
        (void) snprintf(uid, sizeof(uid), ERRORD_FIELD_UID "=0x%" PRIx32, f->sysfs.uid);
        (void) snprintf(pchid, sizeof(pchid), ERRORD_FIELD_PCHID "=0x%04x", f->sysfs.pchid);
        (void) snprintf(state, sizeof(state), ERRORD_FIELD_STATE "=%s", state_to_string(f->state));
        if (message_id) {
                (void) snprintf(id, sizeof(id), "MESSAGE_ID=%s", message_id);
                fields[ELEMENTSOF(fields) - 2] = id;
        }

        va_start(args, format);
        (void) vsnprintf(text, sizeof(text), format, args);
        va_end(args);

        return log_entry(f->context->log,
                         level,
                         error,
                         fields,
                         "%s (FID 0x%08" PRIx32 ", PCHID 0x%04x): %s",
                         f->sysfs.address,
                         f->sysfs.fid,
                         f->sysfs.pchid,
                         text);
}
