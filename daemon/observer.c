/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "observer-private.h"
#include "pec.h"

/*
 * Whether whoever holds the function now owes its recovery. The kernel tells of its own, and we of
 * ours.
 */
static bool observer_is_holders(const Function *f, const PairingAccount *account) {
        PecSeverity severity = pec_describe(account->pec).severity;

        return !f->device && severity != PEC_INFORMATIONAL && severity != PEC_PERMANENT;
}

const Record *
observer_commit(Observer *o, Function *f, const PairingAccount *account, uint64_t ordinal) {
        Ring *ring = o->context->ring;
        RecordIdentity identity;
        Record *record;

        function_identity(f, &identity);
        record = ring_reserve(ring, RECORD_ERROR, &identity);
        record->source = (uint8_t) account->source;
        if (account->detailed) {
                record->interface = RECORD_CCDF;
                record->raw_size = sizeof(account->raw);
                memcpy(record->raw, account->raw, sizeof(account->raw));
        } else
                record->pec = account->pec;
        record->witness = account->number;
        record->dropped = ordinal > 0;
        record->ordinal = ordinal;
        /* When it happened, not when we stopped waiting for a richer account. */
        record->realtime_usec -= record->monotonic_usec - account->time_usec;
        record->monotonic_usec = account->time_usec;
        ring_commit(ring, record);
        return record;
}

/* settled: the recovery of the function is told by itself. */
static void observer_publish(Observer *o, const PairingAccount *account, bool settled) {
        Function *f = registry_by_fid(o->registry, account->fid);

        /*
         * Functions of host drivers, and those that are ignored, are not ours to tell of. Judged
         * only now: the line may have come before we heard of the function. (What waits of a
         * function that leaves is hastened.)
         */
        if (!f)
                return;

        function_count_error(f, observer_commit(o, f, account, 0));

        if (!settled && observer_is_holders(f, account))
                function_set_recovery(f, RECOVERY_LEFT_TO_HOLDER);
}

PairingAccount observer_account_of(const Record *record) {
        PairingAccount account = {
                .source = (RecordSource) record->source,
                .fid = record->identity.fid,
                .pec = record_pec(record),
                .number = record->position,
                .time_usec = record->monotonic_usec,
        };
        CcdfError error;

        if (record_ccdf(record, &error) >= 0) {
                account.detailed = true;
                memcpy(account.raw, record->raw, sizeof(account.raw));
        }
        return account;
}

void observer_read_ring(Observer *o) {
        Ring *ring = o->context->ring;
        const Record *record;
        uint64_t missed;

        while ((record = ring_next(ring, &o->cursor, &missed)))
                if (record->kind == RECORD_ERROR && record->source == RECORD_VFIO) {
                        PairingAccount account = observer_account_of(record);
                        uint64_t witness = pairing_vfio(o->pairing, &account);

                        if (witness > 0)
                                ring_set_witness(ring, record->position, witness);
                }
}

/* A device that is being opened may have the record of an account in its queue. So may one that has
 * yet to be drained, and where something has to go before its time, others go first. */
static bool observer_may_drain(const Observer *o, uint32_t fid) {
        const Function *f = registry_by_fid(o->registry, fid);

        return f && (f->activity == FUNCTION_OPENING ||
                     (pairing_overflows(o->pairing) && function_is_undrained(f)));
}

static bool observer_next_due(Observer *o, uint64_t now, PairingAccount *ret) {
        uint32_t fid;

        while (pairing_is_due(o->pairing, now, &fid) && observer_may_drain(o, fid) &&
               pairing_defer(o->pairing, fid, now))
                ;
        return pairing_due(o->pairing, now, ret);
}

/*
 * What the witness and the kernel log told counts as read once nothing of it can be lost with this
 * process.
 */
static void observer_note_progress(Observer *o) {
        observer_release_witness(o);
        if (o->kmsg_sequence != UINT64_MAX && pairing_next_usec(o->pairing) == UINT64_MAX)
                ring_set_kmsg_sequence(o->context->ring, o->boot_id.bytes, o->kmsg_sequence);
}

static void observer_publish_due(Observer *o, uint64_t now) {
        PairingAccount account;

        while (observer_next_due(o, now, &account))
                observer_publish(o, &account, false);
        observer_note_progress(o);
}

void observer_make_room(Observer *o) {
        if (!pairing_overflows(o->pairing))
                return;

        observer_read_ring(o);
        observer_publish_due(o, now_usec(CLOCK_MONOTONIC));
}

void observer_time_is_up(Observer *o, uint64_t now) {
        (void) observer_hear_witness(o, false);
        observer_read_ring(o);
        observer_publish_due(o, now);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Observer *o = userdata;

        assert(o);

        observer_time_is_up(o, now_usec(CLOCK_MONOTONIC));
        return 0;
}

static int on_post(sd_event_source *source, void *userdata) {
        Observer *o = userdata;
        uint64_t next;

        assert(o);

        observer_read_ring(o);
        observer_release_witness(o);

        next = pairing_next_usec(o->pairing);
        if (next == UINT64_MAX) {
                observer_note_progress(o);
                (void) sd_event_source_set_enabled(o->timer, SD_EVENT_OFF);
                return 0;
        }

        (void) sd_event_source_set_time(o->timer, next);
        (void) sd_event_source_set_enabled(o->timer, SD_EVENT_ONESHOT);
        return 0;
}

int observer_new(const FunctionContext *context, Registry *registry, Observer **ret) {
        _cleanup_(observer_freep) Observer *o = NULL;
        int r;

        assert(context);
        assert(registry);
        assert(ret);

        o = malloc(sizeof(*o));
        if (!o)
                return -ENOMEM;
        *o = (Observer){
                .context = context,
                .registry = registry,
                .cursor = ring_head(context->ring),
                .kmsg_sequence = UINT64_MAX,
                .started_usec = now_usec(CLOCK_MONOTONIC),
                .witness_state = "not-started",
        };

        r = pairing_new(&o->pairing);
        if (r < 0)
                return r;
        r = sd_id128_get_boot(&o->boot_id);
        if (r < 0)
                return r;

        r = sd_event_add_time(context->event, &o->timer, CLOCK_MONOTONIC, 0, 1, on_timer, o);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(o->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = sd_event_add_post(context->event, &o->post_source, on_post, o);
        if (r < 0)
                return r;
        /* All that has come is taken in before anything's time is up. */
        r = sd_event_source_set_priority(o->timer, SD_EVENT_PRIORITY_NORMAL + 10);
        if (r < 0)
                return r;
        /* As soon as they are drained, records are taken in: their lines may be read next. */
        r = sd_event_source_set_priority(o->post_source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(o->timer, "observer-due");
        (void) sd_event_source_set_description(o->post_source, "observer-post");

        *ret = TAKE_PTR(o);
        return 0;
}

Observer *observer_free(Observer *o) {
        if (!o)
                return NULL;

        o->kmsg = kmsg_close(o->kmsg);
        o->witness = witness_close(o->witness);
        free(o->settled);
        (void) sd_event_source_disable_unref(o->post_source);
        (void) sd_event_source_disable_unref(o->timer);
        o->pairing = pairing_free(o->pairing);
        free(o);
        return NULL;
}

/* The witness first: it has heard of an error before its line is written. */
static void observer_catch_up(Observer *o) {
        (void) observer_hear_witness(o, false);
        if (o->kmsg)
                kmsg_catch_up(o->kmsg);
}

static void observer_publish_waiting(Observer *o, uint32_t fid) {
        PairingAccount account;

        observer_read_ring(o);

        while (pairing_take(o->pairing, fid, now_usec(CLOCK_MONOTONIC), &account))
                observer_publish(o, &account, true);
        observer_note_progress(o);
}

void observer_uevent(Observer *o, const char *address, UeventError error) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        Function *f;

        assert(o);

        f = registry_by_address(o->registry, address);
        if (!f)
                return;

        if (error == UEVENT_BEGIN_RECOVERY) {
                pairing_uevent(o->pairing, f->sysfs.fid, now, now);
                return;
        }

        /* News from before we held it. What waits may be told by its queue in a moment. */
        if (function_is_busy(f))
                return;

        /* The kernel recovers only what nobody holds, so no VFIO record will come; and the error goes
         * before its recovery. */
        observer_catch_up(o);
        observer_publish_waiting(o, f->sysfs.fid);
        function_set_recovery(
                f, error == UEVENT_SUCCESSFUL_RECOVERY ? RECOVERY_RECOVERED : RECOVERY_FAILED);
}

void observer_closing(Observer *o, Function *function) {
        assert(o);

        /* It is drained once more right before it is closed, and what it tells then the witness may have
         * seen already. Whatever happens, the account stays with the witness until there is a record. */
        if (!o->witness)
                observer_hasten(o, function);
}

void observer_hasten(Observer *o, Function *function) {
        assert(o);
        assert(function);

        /* The lines of its errors were written before what brings us here happened. What they tell of is in the
         * queue, if it is there at all. */
        observer_catch_up(o);
        function_drain_rest(function);
        observer_publish_waiting(o, function->sysfs.fid);
}

/*
 * Its device goes over to the next run, and an error may just be on its way into the queue: seen by
 * the witness, and drained by that run, which hears once more what is not released.
 */
static bool observer_leaves_to_next_run(const Observer *o, const Function *f) {
        return o->witness && o->context->restarts && f->device;
}

void observer_finish(Observer *o) {
        assert(o);

        /* In this order: what a line tells of is in the queue, if it is there at all. What is logged
         * from now on is for the next run. */
        observer_catch_up(o);
        for (size_t i = 0; i < registry_size(o->registry); i++)
                function_drain_rest(registry_get(o->registry, i));
        for (size_t i = 0; i < registry_size(o->registry); i++) {
                const Function *f = registry_get(o->registry, i);

                if (!observer_leaves_to_next_run(o, f))
                        observer_publish_waiting(o, f->sysfs.fid);
        }

        observer_read_ring(o);
        observer_note_progress(o);
}
