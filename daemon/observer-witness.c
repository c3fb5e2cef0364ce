/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "observer-private.h"

static int number_compare(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

static bool observer_is_settled(const Observer *o, uint64_t number) {
        return o->n_settled > 0 &&
               bsearch(&number, o->settled, o->n_settled, sizeof(number), number_compare);
}

/*
 * Whether the VFIO device may tell more: it is ours, or is just coming or going, or may be so before
 * long, since we have just started or know nothing of the function yet.
 */
static bool observer_may_be_told_more(const Observer *o, uint32_t fid, uint64_t time_usec) {
        const Function *f = registry_by_fid(o->registry, fid);

        return !f || f->device || f->former.device >= 0 || f->activity != FUNCTION_IDLE ||
               time_usec < o->started_usec;
}

static void on_witness_account(const struct witness_account *seen, void *userdata) {
        Observer *o = userdata;
        PairingAccount account = {
                .source = RECORD_WITNESS,
                .detailed = true,
                .number = seen->sequence,
                .time_usec = seen->nsec / 1000,
        };
        uint64_t position;
        CcdfError error;

        _Static_assert(sizeof(account.raw) == sizeof(seen->raw), "the same record");

        if (observer_is_settled(o, seen->sequence) ||
            ccdf_decode(seen->raw, sizeof(seen->raw), &error) < 0)
                return;

        memcpy(account.raw, seen->raw, sizeof(account.raw));
        account.fid = error.fid;
        account.pec = error.pec;
        position = pairing_witness(o->pairing,
                                   &account,
                                   observer_may_be_told_more(o, error.fid, account.time_usec),
                                   now_usec(CLOCK_MONOTONIC));
        if (position > 0)
                ring_set_witness(o->context->ring, position, seen->sequence);

        observer_make_room(o);
}

static void on_witness_overrun(uint64_t lost, void *userdata) {
        Observer *o = userdata;
        uint64_t known = ring_witness_lost(o->context->ring);

        /* Fewer than were announced: another program counts. */
        if (lost < known)
                known = 0;
        ring_set_witness_lost(o->context->ring, lost);
        if (lost > known)
                (void) log_warning(
                        o->context->log,
                        0,
                        "The witness had no room for %" PRIu64
                        " errors; of those that nobody drained, the kernel log has the codes",
                        lost - known);
}

static void on_witness_failed(int error, void *userdata) {
        Observer *o = userdata;

        (void) log_warning(
                o->context->log,
                error,
                "What the witness tells makes no sense, it is not listened to any more; errors of "
                "functions that are not held are published with code and FID, from the kernel log");
        o->witness = witness_close(o->witness);
        pairing_expect_witness(o->pairing, false);
        (void) strcpy(o->witness_state, "EBADMSG");
}

/*
 * What a former run settled of the accounts that are still there to be read: it ended before it
 * could release them. The records tell.
 */
static int observer_remember_settled(Observer *o) {
        uint64_t oldest = witness_oldest(o->witness), cursor = 0, missed;
        const Record *record;
        size_t n = 0;

        if (oldest == UINT64_MAX)
                return 0;

        while ((record = ring_next(o->context->ring, &cursor, &missed)))
                n += record->witness >= oldest;
        if (n == 0)
                return 0;

        o->settled = calloc(n, sizeof(*o->settled));
        if (!o->settled)
                return -ENOMEM;
        for (cursor = 0; (record = ring_next(o->context->ring, &cursor, &missed));)
                if (record->witness >= oldest)
                        o->settled[o->n_settled++] = record->witness;
        qsort(o->settled, o->n_settled, sizeof(*o->settled), number_compare);
        return 0;
}

int observer_watch_witness(Observer *o, int ring_fd, int counters_fd) {
        int r;

        assert(o);

        o->witness_listener = (WitnessListener){
                .account = on_witness_account,
                .overrun = on_witness_overrun,
                .failed = on_witness_failed,
                .userdata = o,
        };

        r = witness_open(
                o->context->event, ring_fd, counters_fd, &o->witness_listener, &o->witness);
        if (r >= 0) {
                r = observer_remember_settled(o);
                if (r < 0)
                        o->witness = witness_close(o->witness);
        }
        if (r < 0) {
                observer_set_witness(o, strerrorname_np(-r) ?: "unknown");
                return r;
        }

        pairing_expect_witness(o->pairing, true);
        observer_set_witness(o, "active");
        return 0;
}

void observer_set_witness(Observer *o, const char *state) {
        assert(o);
        assert(strlen(state) < sizeof(o->witness_state));

        (void) strcpy(o->witness_state, state);
}

const char *observer_witness(const Observer *o) {
        return o ? o->witness_state : "not-started";
}

bool observer_hear_witness(Observer *o, bool patient) {
        return !o->witness || witness_catch_up(o->witness, patient);
}

void observer_release_witness(Observer *o) {
        if (o->witness)
                witness_release(o->witness, pairing_oldest_witness(o->pairing));
}

int observer_dropped(Observer *o, Function *f, uint64_t ordinal, bool patient, const Record **ret) {
        PairingAccount account;

        assert(o);
        assert(f);
        assert(ordinal > 0);
        assert(ret);

        if (!observer_hear_witness(o, patient) && patient)
                return -EAGAIN;
        /* What was drained is none of it. */
        observer_read_ring(o);
        if (!pairing_take_dropped(o->pairing, f->sysfs.fid, now_usec(CLOCK_MONOTONIC), &account))
                return 0;

        *ret = observer_commit(o, f, &account, ordinal);
        return 1;
}
