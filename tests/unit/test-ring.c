/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ring-fixture.h"

static void test_fresh(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(100);
        _cleanup_(ring_freep) Ring *other = fixture_fresh(0);
        _cleanup_(ring_freep) Ring *huge = fixture_fresh(UINT32_MAX);
        uint64_t cursor = 0;

        assert_int_equal(ring_slots(ring), 100);
        assert_int_equal(ring_slots(other), RING_SLOTS_MIN);
        assert_int_equal(ring_slots(huge), RING_SLOTS_MAX);
        assert_memory_not_equal(ring_stream_id(ring), ring_stream_id(other), RING_STREAM_SIZE);
        assert_int_equal(ring_head(ring), 0);
        assert_int_equal(ring_last_sequence(ring), 0);
        assert_int_equal(ring_oldest_sequence(ring), 1);
        assert_int_equal(ring_lost(ring), 0);
        assert_int_equal(ring_cursor_after(ring, 0), 0);
        assert_int_equal(ring_cursor_after(ring, 7), 0);
        assert_null(fixture_next(ring, &cursor));
        assert_int_equal(cursor, 0);
}

static void test_sealed(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

        assert_int_equal(fcntl(ring_fd(ring), F_GET_SEALS), seals);
        assert_int_equal(ftruncate(ring_fd(ring), 0), -1);
        assert_int_equal(errno, EPERM);
        assert_true(fcntl(ring_fd(ring), F_GETFD) & FD_CLOEXEC);

        ring = fixture_rerun(TAKE_PTR(ring)); /* its image is not sealed, the opened one is */
        assert_int_equal(fcntl(ring_fd(ring), F_GET_SEALS), seals);
}

static void test_reserve(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        uint64_t before = now_usec(CLOCK_REALTIME);
        static const Record blank;
        Record *record;

        record = fixture_reserve(ring, RECORD_CCDF);
        fixture_answer(record);
        record->ordinal = record->lost = record->feature = UINT64_MAX;
        record->raw[RECORD_RAW_SIZE - 1] = 1;

        assert_ptr_equal(ring_reserve(ring, RECORD_RECOVERY, &fixture_identity), record);
        assert_memory_equal(record->raw, blank.raw, sizeof(blank.raw));
        assert_memory_equal(&record->identity, &fixture_identity, sizeof(fixture_identity));
        assert_in_range(record->realtime_usec, before, now_usec(CLOCK_REALTIME));
        assert_in_range(record->monotonic_usec, 1, now_usec(CLOCK_MONOTONIC));
        assert_int_equal(record->kind, RECORD_RECOVERY);
        assert_int_equal(record->position, 0);
        assert_int_equal(record->ordinal, 0);
        assert_int_equal(record->lost, 0);
        assert_int_equal(record->feature, 0);
        assert_int_equal(record->source, 0);
        assert_int_equal(record->raw_size, 0);
        assert_int_equal(ring_head(ring), 0);
}

static void test_order(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        const Record *record;
        uint64_t cursor = 0;

        fixture_error(ring);
        fixture_lost(ring, 3);
        ring_commit(ring, ring_reserve(ring, RECORD_RECOVERY, &fixture_identity));
        fixture_error(ring);
        fixture_lost(ring, 4);
        ring_cancel(ring, fixture_reserve(ring, RECORD_CCDF));

        assert_int_equal(ring_head(ring), 5);
        assert_int_equal(ring_last_sequence(ring), 2);
        assert_int_equal(ring_oldest_sequence(ring), 1);
        assert_int_equal(ring_lost(ring), 7);

        for (uint64_t p = 1; p <= 5; p++) {
                static const uint64_t sequences[] = { 1, 0, 0, 2, 0 };

                record = fixture_next(ring, &cursor);
                assert_non_null(record);
                assert_int_equal(record->position, p);
                assert_int_equal(cursor, p);
                assert_int_equal(record->sequence, sequences[p - 1]);
                assert_int_equal(record_pec(record), record->sequence ? 2 : 0);
        }
        assert_null(fixture_next(ring, &cursor));

        cursor = 1000; /* of another stream, say */
        assert_null(fixture_next(ring, &cursor));
        assert_int_equal(cursor, 1000);
}

/* An error may happen between the reservation and the ioctl that hands it out: it is not younger than its record. */
static void test_times(void **state) {
        static const RecordSource sources[] = { RECORD_VFIO, RECORD_KMSG, RECORD_UEVENT };
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);

        for (size_t i = 0; i < ELEMENTSOF(sources); i++) {
                Record *record = fixture_reserve(ring, RECORD_CCDF);
                uint64_t before = now_usec(CLOCK_MONOTONIC), real = now_usec(CLOCK_REALTIME);

                record->source = (uint8_t) sources[i];
                record->monotonic_usec = record->realtime_usec = 1;
                ring_commit(ring, record);
                if (sources[i] == RECORD_VFIO) {
                        assert_in_range(record->monotonic_usec, before, now_usec(CLOCK_MONOTONIC));
                        assert_in_range(record->realtime_usec, real, now_usec(CLOCK_REALTIME));
                } else {
                        assert_int_equal(record->monotonic_usec, 1);
                        assert_int_equal(record->realtime_usec, 1);
                }
        }
}

static void test_cancel(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        Record *record;

        fixture_error(ring);
        record = fixture_reserve(ring, RECORD_CCDF);
        fixture_answer(record);
        ring_cancel(ring, record);
        assert_int_equal(ring_head(ring), 1);

        ring = fixture_rerun(TAKE_PTR(ring)); /* nothing that could be salvaged is left */
        assert_int_equal(ring_head(ring), 1);
        assert_int_equal(ring_last_sequence(ring), 1);
}

static void test_overwrite(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        uint64_t cursor = 0, missed;
        const Record *newest;

        for (unsigned i = 0; i < 16; i++)
                fixture_error(ring);
        assert_int_equal(ring_oldest_sequence(ring), 1);

        /* Reserving costs the oldest its place, cancelling does not bring it back. */
        ring_cancel(ring, ring_reserve(ring, RECORD_ERROR, &fixture_identity));
        assert_int_equal(ring_oldest_sequence(ring), 2);

        for (unsigned i = 16; i < 100; i++)
                fixture_error(ring);
        assert_int_equal(ring_oldest_sequence(ring), 85);

        newest = ring_next(ring, &cursor, &missed);
        assert_int_equal(missed, 84);
        assert_int_equal(newest->sequence, 85);
        for (unsigned i = 86; i <= 100; i++)
                newest = fixture_next(ring, &cursor);
        assert_int_equal(newest->sequence, 100);
        assert_null(fixture_next(ring, &cursor));

        /* The newest stays as it is while the next is being filled. */
        fixture_answer(fixture_reserve(ring, RECORD_CCDF));
        assert_int_equal(newest->sequence, 100);

        cursor = 0;
        assert_int_equal(ring_next(ring, &cursor, &missed)->sequence, 86);
        assert_int_equal(missed, 85);
}

static void test_oldest_sequence_after_announcements(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);

        fixture_error(ring);
        for (unsigned i = 0; i < 15; i++)
                fixture_lost(ring, 1);
        assert_int_equal(ring_oldest_sequence(ring), 1);
        fixture_lost(ring, 1);
        assert_int_equal(ring_oldest_sequence(ring), 2); /* none can be read */
        assert_int_equal(ring_last_sequence(ring), 1);
        fixture_error(ring);
        assert_int_equal(ring_oldest_sequence(ring), 2);
        assert_int_equal(ring_lost(ring), 16);
}

/* Against a search that looks at every entry. */
static void test_cursor_after(void **state) {
        for (unsigned entries = 0; entries < 60; entries++) {
                _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);

                for (unsigned i = 0; i < entries; i++)
                        if (i % 7 < 3)
                                fixture_lost(ring, 1);
                        else
                                fixture_error(ring);

                for (uint64_t sequence = 0; sequence <= ring_last_sequence(ring) + 2; sequence++) {
                        uint64_t cursor = 0, missed, expected;
                        const Record *record = ring_next(ring, &cursor, &missed);

                        expected = record ? cursor - 1 : 0;
                        for (; record; record = ring_next(ring, &cursor, &missed))
                                if (record->sequence != 0 && record->sequence <= sequence)
                                        expected = cursor;
                        if (sequence > ring_last_sequence(ring))
                                expected = ring_head(ring);
                        assert_int_equal(ring_cursor_after(ring, sequence), expected);
                }
        }
}

static void test_functions(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        RingFunction *function;

        fixture_error(ring);
        for (uint32_t fid = 0; fid < RING_FUNCTIONS; fid++) {
                function = ring_function(ring, fid);
                assert_non_null(function);
                assert_int_equal(function->fid, fid);
                assert_int_equal(function->since, 1);
                function->signalled = function->signalled_next = fid;
        }
        assert_null(ring_function(ring, RING_FUNCTIONS));
        assert_int_equal(ring_function(ring, 77)->signalled, 77);

        ring = fixture_rerun(TAKE_PTR(ring));
        assert_int_equal(ring_function(ring, 1023)->signalled, 1023);

        ring_forget_function(ring, RING_FUNCTIONS); /* unknown: nothing happens */
        ring_forget_function(ring, 500);
        assert_int_equal(ring_function(ring, 499)->signalled, 499);
        function = ring_function(ring, RING_FUNCTIONS);
        assert_non_null(function);
        assert_int_equal(function->signalled, 0);
        assert_null(ring_function(ring, 500));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fresh),
                cmocka_unit_test(test_sealed),
                cmocka_unit_test(test_reserve),
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_times),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_overwrite),
                cmocka_unit_test(test_oldest_sequence_after_announcements),
                cmocka_unit_test(test_cursor_after),
                cmocka_unit_test(test_functions),
        };

        return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
