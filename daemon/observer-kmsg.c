/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>

#include "observer-private.h"

/* The witness has heard of an error before its line was written. */
static bool on_kmsg_ready(void *userdata) {
        return observer_hear_witness(userdata, true);
}

static void on_kmsg_error(const KmsgError *error, void *userdata) {
        Observer *o = userdata;

        uint64_t now = now_usec(CLOCK_MONOTONIC);

        (void) observer_hear_witness(o, false);
        pairing_kmsg(o->pairing, error->fid, error->pec, error->monotonic_usec, now);

        /* The rest of a long log comes before the timer: what there is no room for goes now. (What has
         * waited its time does not: its record may be drained before the timer has its turn.) */
        if (pairing_overflows(o->pairing))
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
 * ring, and uevents that udevd is late with. (Where there is neither log nor witness, a uevent may be
 * all that tells of an error: that it is told is worth more there than that it is told once.)
 */
static void observer_remember_former(Observer *o) {
        uint64_t now = now_usec(CLOCK_MONOTONIC), cursor = 0, missed;
        const Record *record;

        while (cursor < o->cursor && (record = ring_next(o->context->ring, &cursor, &missed)))
                if (record->kind == RECORD_ERROR && record->source != RECORD_UEVENT) {
                        PairingAccount account = observer_account_of(record);

                        pairing_former(o->pairing, &account, record->witness > 0, now);
                }
}

void observer_watch_kernel_log(Observer *o) {
        uint64_t sequence;
        int r;

        assert(o);

        o->kmsg_listener = (KmsgListener){
                .ready = on_kmsg_ready,
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
        if (r >= 0 || o->witness)
                observer_remember_former(o);
}
