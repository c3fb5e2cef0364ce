/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "balance.h"
#include "function-parts.h"
#include "pec.h"

/* Somebody waits for the device in the kernel. */
#define PRIORITY_REQUEST (SD_EVENT_PRIORITY_IMPORTANT - 10)
/* The kernel's queue is four deep: draining goes before publishing … */
#define PRIORITY_DRAIN SD_EVENT_PRIORITY_IMPORTANT
/* … but for the rest of a long burst, and in a storm. (At the priority of the publishers, which are
 * post sources, it would always be the first of the two.) */
#define PRIORITY_MORE       (SD_EVENT_PRIORITY_NORMAL + 1)
#define DRAIN_BURST         32U
#define STORM_INTERVAL_USEC (100 * USEC_PER_MSEC)
#define STORM_BURST         8U

/* Until the next try, if the kernel is short of memory. */
#define SHORTAGE_USEC (100 * USEC_PER_MSEC)

/* An unbind is answered within a second, whatever recovery is under way or still owed. */
#define REQUEST_BUDGET_USEC (500 * USEC_PER_MSEC)

static void function_note_error(Function *f, const Record *record) {
        Pec pec = pec_describe(record_pec(record));

        function_count_error(f, record);
        if (pec.severity == PEC_PERMANENT && !f->facts.permanent) {
                f->facts.permanent = true;
                function_changed(f, FUNCTION_CHANGED_MEMORY);
        } else if (pec.severity != PEC_PERMANENT)
                f->errors++;

        if (vfio_is_unknown_revision(f->device) && !f->revision_said) {
                f->revision_said = true;
                (void) function_log(
                        f,
                        LOG_NOTICE,
                        0,
                        NULL,
                        "the kernel's error interface has an unknown revision; publishing the "
                        "raw bytes and what their beginning says");
        }
}

static int function_drain_one(Function *f) {
        Ring *ring = f->context->ring;
        RecordIdentity identity;
        Record *record;
        int r;

        function_identity(f, &identity);
        record = ring_reserve(ring, RECORD_ERROR, &identity);
        r = vfio_read_error(f->device, record);
        if (r <= 0) {
                ring_cancel(ring, record);
                return r;
        }

        record->ordinal = f->counters->drained + 1;
        ring_commit(ring, record);
        balance_drained(f->counters);
        function_note_error(f, record);
        return 1;
}

/*
 * Clears the wakeup before looking at the queue, or an error that arrives while we look is
 * forgotten.
 */
static bool function_read_signals(Function *f) {
        uint64_t *wakeup = &f->counters->wakeup;

        if (read(vfio_error_fd(f->device), wakeup, sizeof(*wakeup)) != sizeof(*wakeup))
                return false;

        balance_signalled(f->counters);
        return true;
}

/*
 * Announced before it is forgotten: in this order a crash in between tells of no loss twice, and of
 * none not at all.
 */
static void function_announce_loss(Function *f, uint64_t lost) {
        RecordIdentity identity;
        Record *record;

        function_identity(f, &identity);
        record = ring_reserve(f->context->ring, RECORD_LOST, &identity);
        record->source = RECORD_VFIO;
        record->lost = lost;
        record->ordinal = f->counters->signalled;
        ring_commit(f->context->ring, record);
        f->lost += lost;
}

/*
 * Of what is missing, what somebody else saw takes its place among the records. Returns whether the
 * rest is lost; otherwise, if patient, this is not known yet.
 */
static bool
function_fill_gaps(Function *f, uint64_t (*missing)(const RingFunction *counters), bool patient) {
        const FunctionListener *listener = &f->context->listener;
        const Record *record;

        while (listener->dropped && missing(f->counters) > 0) {
                int r = listener->dropped(
                        f, f->counters->drained + 1, patient, &record, listener->userdata);

                if (r <= 0)
                        return r == 0;
                balance_drained(f->counters);
                function_note_error(f, record);
        }

        return true;
}

/* Returns 0, or 1 if it is to be tried again. */
static int function_settle_balance(Function *f, bool patient) {
        uint64_t lost;

        if (!function_fill_gaps(f, balance_lost, patient))
                return 1;
        lost = balance_lost(f->counters);
        if (lost > 0)
                function_announce_loss(f, lost);
        (void) balance_settle(f->counters, f->opened_now);
        f->opened_now = false;
        return 0;
}

void function_announce_rest(Function *f) {
        uint64_t rest;

        assert(f);

        (void) function_fill_gaps(f, balance_rest, false);
        rest = balance_rest(f->counters);
        if (rest == 0)
                return;

        function_announce_loss(f, rest);
        (void) balance_settle(f->counters, false);
}

static int function_drain_burst(Function *f, bool patient) {
        bool seen_empty = false;
        int r;

        for (unsigned n = 0; n < DRAIN_BURST; n++) {
                if (!function_read_signals(f) && seen_empty)
                        return function_settle_balance(f, patient);

                while ((r = function_drain_one(f)) > 0)
                        if (++n >= DRAIN_BURST)
                                return 1;
                if (r < 0)
                        return r;
                seen_empty = true;
        }

        return 1;
}

/* Whose device it is learns that there was something. */
static void function_notify_owner(Function *f) {
        struct pollfd poll_fd = { .fd = f->owner.notify_fd, .events = POLLOUT };

        /* It may be one that blocks once its counter is full. Then whoever reads it has not read for
         * long, and will. */
        if (f->owner.notify_fd >= 0 && poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLOUT))
                (void) eventfd_write(f->owner.notify_fd, 1);
}

static int function_drain_or_wait(Function *f, bool patient) {
        uint64_t drained;
        int r;

        /* Before the first record is out of the kernel: a crash may come right after it. */
        drained = f->counters->drained;
        RING_STORE(f->counters->owes, 1);
        r = function_drain_burst(f, patient);
        function_settle_debt(f);

        if (f->counters->drained == drained)
                return r;
        if (f->facts.attached) {
                function_notify_owner(f);
                function_set_recovery(f, RECOVERY_LEFT_TO_HOLDER);
        }
        return r;
}

int function_drain(Function *f) {
        assert(f);
        assert(f->device);

        return function_drain_or_wait(f, false);
}

void function_drain_rest(Function *f) {
        assert(f);

        if (f->device && f->activity == FUNCTION_IDLE)
                (void) function_drain(f);
}

bool function_is_undrained(const Function *f) {
        struct pollfd errors = { .events = POLLIN };

        assert(f);

        if (!f->device)
                return f->activity == FUNCTION_OPENING;
        if (f->more_source && sd_event_source_get_enabled(f->more_source, NULL) > 0)
                return true;

        errors.fd = vfio_error_fd(f->device);
        return poll(&errors, 1, 0) > 0;
}

/* After a drain in the event loop: what follows from it. */
static void function_drained(Function *f, int result) {
        /* To close the device would throw away the record that there was no memory for. */
        if (result == -ENOMEM) {
                (void) sd_event_source_set_time_relative(f->more_source, SHORTAGE_USEC);
                (void) sd_event_source_set_enabled(f->more_source, SD_EVENT_ONESHOT);
                return;
        }
        if (result < 0) {
                function_fail(f, result);
                return;
        }

        /*
         * Only now does it work: a device that opens and then fails is tried less and less often.
         */
        if (!f->facts.waiting) {
                f->facts.error = 0;
                f->backoff_usec = 0;
        }

        /* There may be more: come back once the others had their turn. */
        if (result > 0)
                (void) sd_event_source_set_enabled(f->more_source, SD_EVENT_ONESHOT);

        function_recover_if_due(f);
        function_update(f);
}

static int on_errors_signalled(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Function *f = userdata;

        assert(f);

        function_drained(f, function_drain_or_wait(f, true));
        return 0;
}

static int on_more(sd_event_source *source, uint64_t usec, void *userdata) {
        Function *f = userdata;

        assert(f);

        function_drained(f, function_drain_or_wait(f, true));
        return 0;
}

/* The eventfd is not read: should this run end here, the next one has to be asked too. */
static int on_requested(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Function *f = userdata;

        assert(f);

        f->facts.requested = true;
        function_hurry(f, REQUEST_BUDGET_USEC);
        function_update(f);
        return 0;
}

static int function_watch_errors(Function *f) {
        int r;

        r = sd_event_add_io(f->context->event,
                            &f->error_source,
                            vfio_error_fd(f->device),
                            EPOLLIN,
                            on_errors_signalled,
                            f);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(f->error_source, PRIORITY_DRAIN);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(f->error_source, "function-errors");
        return sd_event_source_set_ratelimit(f->error_source, STORM_INTERVAL_USEC, STORM_BURST);
}

int function_watch(Function *f) {
        int r;

        assert(f);
        assert(f->device);

        r = sd_event_add_io(f->context->event,
                            &f->request_source,
                            vfio_request_fd(f->device),
                            EPOLLIN | EPOLLET,
                            on_requested,
                            f);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(f->request_source, PRIORITY_REQUEST);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(f->request_source, "function-request");

        r = function_watch_errors(f);
        if (r < 0)
                return r;

        /* Runs at once: an error may have come before the eventfd was installed. A timer, since of many
         * defer sources sd-event would always let the same one go first. */
        r = sd_event_add_time(
                f->context->event, &f->more_source, CLOCK_MONOTONIC, 0, 1, on_more, f);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(f->more_source, "function-more");
        return sd_event_source_set_priority(f->more_source, PRIORITY_MORE);
}

void function_unwatch(Function *f) {
        assert(f);

        f->request_source = sd_event_source_disable_unref(f->request_source);
        f->error_source = sd_event_source_disable_unref(f->error_source);
        f->more_source = sd_event_source_disable_unref(f->more_source);
}
