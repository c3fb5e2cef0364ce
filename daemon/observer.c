/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "kmsg.h"
#include "observer.h"
#include "pairing.h"
#include "pec.h"

struct Observer {
        const FunctionContext *context;
        Registry *registry;
        Pairing *pairing;
        Kmsg *kmsg;
        KmsgListener kmsg_listener;
        sd_id128_t boot_id;
        uint64_t kmsg_sequence; /* how far the kernel log was read */
        uint64_t cursor;        /* in the ring: records that were taken into account */
        sd_event_source *post_source;
        sd_event_source *timer;
};

/*
 * Whether whoever holds the function now owes its recovery. The kernel tells of its own, and we of
 * ours.
 */
static bool observer_is_holders(const Function *f, const PairingAccount *account) {
        PecSeverity severity = pec_describe(account->pec).severity;

        return !f->device && severity != PEC_INFORMATIONAL && severity != PEC_PERMANENT;
}

/* settled: the recovery of the function is told by itself. */
static void observer_publish(Observer *o, const PairingAccount *account, bool settled) {
        Function *f = registry_by_fid(o->registry, account->fid);
        Ring *ring = o->context->ring;
        RecordIdentity identity;
        Record *record;

        /*
         * Functions of host drivers, and those that are ignored, are not ours to tell of. Judged
         * only now: the line may have come before we heard of the function. (What waits of a
         * function that leaves is hastened.)
         */
        if (!f)
                return;

        function_identity(f, &identity);
        record = ring_reserve(ring, RECORD_ERROR, &identity);
        record->source = (uint8_t) account->source;
        record->pec = account->pec;
        /* When it happened, not when we stopped waiting for a richer account. */
        record->realtime_usec -= record->monotonic_usec - account->time_usec;
        record->monotonic_usec = account->time_usec;
        ring_commit(ring, record);
        function_count_error(f, record);

        if (!settled && observer_is_holders(f, account))
                function_set_recovery(f, RECOVERY_LEFT_TO_HOLDER);
}

/* Takes in the records that were drained since. */
static void observer_read_ring(Observer *o) {
        const Record *record;
        uint64_t missed;

        while ((record = ring_next(o->context->ring, &o->cursor, &missed)))
                if (record->kind == RECORD_ERROR && record->source == RECORD_VFIO)
                        pairing_vfio(o->pairing,
                                     record->identity.fid,
                                     record_pec(record),
                                     record->monotonic_usec);
}

/* A device that is being opened may have the record of an account in its queue. So may one that has
 * yet to be drained, and where something has to go before its time, others go first. */
static bool observer_may_drain(const Observer *o, uint32_t fid) {
        const Function *f = registry_by_fid(o->registry, fid);

        return f && (f->activity == FUNCTION_OPENING ||
                     (pairing_next_usec(o->pairing) == 0 && function_is_undrained(f)));
}

static bool observer_next_due(Observer *o, uint64_t now, PairingAccount *ret) {
        uint32_t fid;

        while (pairing_is_due(o->pairing, now, &fid) && observer_may_drain(o, fid) &&
               pairing_defer(o->pairing, fid, now))
                ;
        return pairing_due(o->pairing, now, ret);
}

/* A line counts as read once nothing that it said can be lost with this process. */
static void observer_note_progress(Observer *o) {
        if (o->kmsg_sequence != UINT64_MAX && pairing_next_usec(o->pairing) == UINT64_MAX)
                ring_set_kmsg_sequence(o->context->ring, o->boot_id.bytes, o->kmsg_sequence);
}

static void observer_time_is_up(Observer *o, uint64_t now) {
        PairingAccount account;

        observer_read_ring(o);
        while (observer_next_due(o, now, &account))
                observer_publish(o, &account, false);
        observer_note_progress(o);
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
        (void) sd_event_source_disable_unref(o->post_source);
        (void) sd_event_source_disable_unref(o->timer);
        o->pairing = pairing_free(o->pairing);
        free(o);
        return NULL;
}

static void on_kmsg_error(const KmsgError *error, void *userdata) {
        Observer *o = userdata;
        uint64_t now = now_usec(CLOCK_MONOTONIC);

        pairing_kmsg(o->pairing, error->fid, error->pec, error->monotonic_usec, now);

        /* The rest of a long log comes before the timer: what there is no room for goes now. (What has
         * waited its time does not: its record may be drained before the timer has its turn.) */
        if (pairing_next_usec(o->pairing) == 0)
                observer_time_is_up(o, now);
}

static void on_kmsg_overrun(uint64_t count, void *userdata) {
        Observer *o = userdata;

        (void) log_warning(
                o->context->log,
                0,
                "The kernel log was overwritten before it was read, %" PRIu64
                " lines are lost; errors of functions that are not held may be among them",
                count);
}

static void on_kmsg_progress(uint64_t sequence, void *userdata) {
        Observer *o = userdata;

        o->kmsg_sequence = sequence;
}

static void on_kmsg_failed(int error, void *userdata) {
        Observer *o = userdata;

        (void) log_warning(
                o->context->log,
                error,
                "Cannot read the kernel log any more; errors of functions that are not held are "
                "published without a code, from uevents");
        o->kmsg = kmsg_close(o->kmsg);
}

/*
 * The former run may have ended between the publication of an error and the note that its line was
 * read: while anything waits, nothing is noted. So lines may come that belong to records in the
 * ring, and uevents that udevd is late with. (Where there are no lines, a uevent may be all that
 * tells of an error: that it is told is worth more there than that it is told once.)
 */
static void observer_remember_former(Observer *o) {
        uint64_t now = now_usec(CLOCK_MONOTONIC), cursor = 0, missed;
        const Record *record;

        while (cursor < o->cursor && (record = ring_next(o->context->ring, &cursor, &missed)))
                if (record->kind == RECORD_ERROR &&
                    (record->source == RECORD_VFIO || record->source == RECORD_KMSG))
                        pairing_former(o->pairing,
                                       record->identity.fid,
                                       record_pec(record),
                                       record->monotonic_usec,
                                       now);
}

void observer_watch_kernel_log(Observer *o) {
        uint64_t sequence;
        int r;

        assert(o);

        o->kmsg_listener = (KmsgListener){
                .error = on_kmsg_error,
                .overrun = on_kmsg_overrun,
                .progress = on_kmsg_progress,
                .failed = on_kmsg_failed,
                .userdata = o,
        };

        sequence = ring_kmsg_sequence(o->context->ring, o->boot_id.bytes);
        r = kmsg_open(o->context->event, sequence, &o->kmsg_listener, &o->kmsg);
        if (r < 0)
                (void) log_warning(
                        o->context->log,
                        r,
                        "Cannot read the kernel log (/dev/kmsg; needs CAP_SYSLOG); errors of functions "
                        "that are not held are published without a code, from uevents");
        else
                observer_remember_former(o);
}

static void observer_catch_up(Observer *o) {
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

void observer_hasten(Observer *o, Function *function) {
        assert(o);
        assert(function);

        /* The lines of its errors were written before what brings us here happened. What they tell of is in the
         * queue, if it is there at all. */
        observer_catch_up(o);
        function_drain_rest(function);
        observer_publish_waiting(o, function->sysfs.fid);
}

void observer_finish(Observer *o) {
        assert(o);

        /* In this order: what a line tells of is in the queue, if it is there at all. What is logged
         * from now on is for the next run. */
        observer_catch_up(o);
        for (size_t i = 0; i < registry_size(o->registry); i++)
                function_drain_rest(registry_get(o->registry, i));
        for (size_t i = 0; i < registry_size(o->registry); i++)
                observer_publish_waiting(o, registry_get(o->registry, i)->sysfs.fid);
}
