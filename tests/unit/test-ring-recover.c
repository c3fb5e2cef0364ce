/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the next run makes of what a run has left. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "balance.h"
#include "ring-fixture.h"

static void test_cursors_survive(void **state) {
        static const uint8_t boot[16] = { 1, 2, 3 }, other[16] = { 1, 2, 4 }, zero[16];
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(20);
        uint8_t stream[RING_STREAM_SIZE];

        assert_int_equal(ring_kmsg_sequence(ring, zero), UINT64_MAX);
        for (unsigned i = 0; i < 30; i++)
                fixture_error(ring);
        fixture_lost(ring, 5);
        for (unsigned i = 0; i < _RING_READER_MAX; i++)
                ring_set_cursor(ring, i, 20 + i);
        ring_set_kmsg_sequence(ring, other, 3);
        ring_set_kmsg_sequence(ring, boot, 77);
        memcpy(stream, ring_stream_id(ring), sizeof(stream));

        ring = fixture_rerun(TAKE_PTR(ring));
        assert_int_equal(ring_slots(ring), 20);
        assert_int_equal(ring_head(ring), 31);
        assert_int_equal(ring_last_sequence(ring), 30);
        assert_int_equal(ring_oldest_sequence(ring), 12);
        assert_int_equal(ring_lost(ring), 5);
        assert_memory_equal(ring_stream_id(ring), stream, sizeof(stream));
        for (unsigned i = 0; i < _RING_READER_MAX; i++)
                assert_int_equal(ring_cursor(ring, i), 20 + i);
        assert_int_equal(ring_kmsg_sequence(ring, boot), 77);
        assert_int_equal(ring_kmsg_sequence(ring, other), UINT64_MAX);

        ring_set_cursor(ring, RING_READER_JOURNAL, 3); /* a reader may go back */
        assert_int_equal(ring_cursor(ring, RING_READER_JOURNAL), 3);
        fixture_error(ring);
        assert_int_equal(ring_last_sequence(ring), 31);
}

/* Every state in which a run can end between two steps of a fold. */
static void test_fold(void **state) {
        const struct {
                uint64_t wakeup, signalled, next;
        } steps[] = {
                { 3, 10, 10 },
                { 3, 10, 13 },
                { 0, 10, 13 },
                { 0, 13, 13 },
        };

        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
                RingFunction *function = ring_function(ring, 1);

                function->wakeup = steps[i].wakeup;
                function->signalled = steps[i].signalled;
                function->signalled_next = steps[i].next;

                ring = fixture_rerun(TAKE_PTR(ring));
                function = ring_function(ring, 1);
                assert_int_equal(function->wakeup, 0);
                assert_int_equal(function->signalled, 13);
                assert_int_equal(function->signalled_next, 13);

                function->wakeup = 2;
                ring_function_fold(function);
                assert_int_equal(function->signalled, 15);
        }
}

static void test_salvage(void **state) {
        static const RecordInterface interfaces[] = { RECORD_CCDF, RECORD_PACKED };

        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++) {
                _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
                const Record *record;
                uint64_t cursor = 1;
                Record *reserved;

                fixture_error(ring);
                (void) ring_function(ring, FIXTURE_FID);
                reserved = fixture_reserve(ring, interfaces[i]);
                fixture_answer(reserved);
                reserved->monotonic_usec = 1; /* the error happened after that */

                ring = fixture_rerun(TAKE_PTR(ring));
                record = fixture_next(ring, &cursor);
                assert_non_null(record);
                assert_in_range(record->monotonic_usec, 2, now_usec(CLOCK_MONOTONIC));
                assert_int_equal(record->sequence, 2);
                assert_int_equal(record->ordinal, 1);
                assert_int_equal(record_pec(record), 2);
                assert_int_equal(record->raw_size,
                                 interfaces[i] == RECORD_CCDF ? CCDF_ERROR_SIZE
                                                              : RECORD_PACKED_SIZE);
                assert_int_equal(ring_last_sequence(ring), 2);
                assert_int_equal(ring_function(ring, FIXTURE_FID)->drained, 1);

                ring = fixture_rerun(TAKE_PTR(ring)); /* once */
                assert_int_equal(ring_last_sequence(ring), 2);
                assert_int_equal(ring_function(ring, FIXTURE_FID)->drained, 1);
        }
}

static void test_salvage_without_counters(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);

        fixture_answer(fixture_reserve(ring, RECORD_CCDF));
        ring = fixture_rerun(TAKE_PTR(ring));
        assert_int_equal(ring_last_sequence(ring), 1);
        assert_int_equal(ring_function(ring, FIXTURE_FID)->drained, 0);
}

/* What was reserved and is no answer of the kernel. */
static void test_no_salvage(void **state) {
        for (unsigned i = 0; i < 9; i++) {
                _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
                Record *record = fixture_reserve(ring, i < 5 ? RECORD_CCDF : RECORD_PACKED);

                fixture_answer(record);
                switch (i) {
                case 0: /* the ioctl had not copied yet, or there was nothing pending */
                        memset(record->raw, 0, sizeof(record->raw));
                        break;
                case 1: /* of another function */
                        record->raw[11]++;
                        break;
                case 2: /* seen elsewhere, where it can be seen again */
                        record->source = RECORD_WITNESS;
                        break;
                case 3:
                        record->raw_size = RECORD_RAW_SIZE + 1;
                        break;
                case 4:
                        memset(record->identity.address, '0', PCI_ADDRESS_SIZE);
                        break;
                case 5: /* the answer "nothing pending" */
                        record->raw[2] = record->raw[3] = 0;
                        break;
                case 6:
                        record->raw[0] = 0;
                        break;
                case 7:
                        record->interface = RECORD_NONE;
                        break;
                case 8:
                        record->kind = RECORD_LOST;
                        break;
                }

                ring = fixture_rerun(TAKE_PTR(ring));
                record = ring_reserve(ring, RECORD_ERROR, &fixture_identity);
                assert_int_equal(ring_head(ring), 0);
                assert_int_equal(record->raw[31], 0);
        }
}

/* The counters of an opening are not mended by entries of the one before. */
static void test_counters_of_a_new_opening(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        RingFunction *function = ring_function(ring, FIXTURE_FID);
        Record *record;

        record = fixture_reserve(ring, RECORD_CCDF);
        record->ordinal = 1;
        ring_commit(ring, record);

        ring = fixture_rerun(TAKE_PTR(ring));
        function = ring_function(ring, FIXTURE_FID);
        assert_int_equal(function->drained, 1);

        ring_forget_function(ring, FIXTURE_FID);
        assert_int_equal(ring_function(ring, FIXTURE_FID)->drained, 0);
        ring = fixture_rerun(TAKE_PTR(ring));
        assert_int_equal(ring_function(ring, FIXTURE_FID)->drained, 0);
}

/* A loss that was announced is settled, and not announced again. */
static void test_announced_and_not_settled(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        RingFunction *function = ring_function(ring, FIXTURE_FID);
        uint64_t balanced;
        Record *record;

        function->wakeup = 7;
        balance_signalled(function);
        for (unsigned i = 0; i < 4; i++) {
                record = fixture_reserve(ring, RECORD_CCDF);
                record->ordinal = function->drained + 1;
                ring_commit(ring, record);
                balance_drained(function);
        }
        assert_int_equal(balance_lost(function), 3);

        record = ring_reserve(ring, RECORD_LOST, &fixture_identity);
        record->source = RECORD_VFIO;
        record->lost = 3;
        record->ordinal = function->signalled;

        /* Reserved only: it is still owed. */
        ring = fixture_rerun(TAKE_PTR(ring));
        function = ring_function(ring, FIXTURE_FID);
        assert_int_equal(ring_lost(ring), 0);
        assert_int_equal(balance_lost(function), 3);

        record = ring_reserve(ring, RECORD_LOST, &fixture_identity);
        record->source = RECORD_VFIO;
        record->lost = 3;
        record->ordinal = function->signalled;
        ring_commit(ring, record);

        ring = fixture_rerun(TAKE_PTR(ring));
        function = ring_function(ring, FIXTURE_FID);
        assert_int_equal(ring_lost(ring), 3);
        assert_int_equal(balance_lost(function), 0);
        assert_int_equal(balance_settle(function, false), 0);

        /* What was settled since stays settled. */
        function->wakeup = 2;
        balance_signalled(function);
        (void) balance_settle(function, false);
        balanced = function->balanced;
        ring = fixture_rerun(TAKE_PTR(ring));
        assert_int_equal(ring_function(ring, FIXTURE_FID)->balanced, balanced);
}

/* What the queue dropped and the witness saw counts once, also if the run ended before it counted. */
static void test_witnessed_and_not_counted(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        RingFunction *function = ring_function(ring, FIXTURE_FID);
        Record *record;

        function->wakeup = 6;
        balance_signalled(function);
        for (unsigned i = 0; i < 5; i++) {
                record = fixture_reserve(ring, RECORD_CCDF);
                record->ordinal = function->drained + 1;
                if (i == 4) {
                        record->source = RECORD_WITNESS;
                        record->dropped = 1;
                        record->witness = 1234;
                }
                ring_commit(ring, record);
                if (i < 4)
                        balance_drained(function);
        }
        assert_int_equal(balance_lost(function), 2);

        for (unsigned i = 0; i < 2; i++) {
                ring = fixture_rerun(TAKE_PTR(ring));
                function = ring_function(ring, FIXTURE_FID);
                assert_int_equal(function->drained, 5);
                assert_int_equal(balance_lost(function), 1);
        }
}

/* Which account of the witness a record was paired with, and what of its losses was announced. */
static void test_witness_survives(void **state) {
        _cleanup_(ring_freep) Ring *ring = fixture_fresh(16);
        const Record *record;
        uint64_t cursor = 0, missed;

        for (unsigned i = 0; i < 20; i++)
                ring_commit(ring, fixture_reserve(ring, RECORD_CCDF));
        ring_set_witness(ring, 19, 500);
        ring_set_witness(ring, 4, 600); /* which is overwritten */
        ring_set_witness_lost(ring, 9);

        ring = fixture_rerun(TAKE_PTR(ring));
        assert_int_equal(ring_witness_lost(ring), 9);
        while ((record = ring_next(ring, &cursor, &missed)))
                assert_int_equal(record->witness, record->position == 19 ? 500 : 0);
        assert_int_equal(cursor, 20);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cursors_survive),
                cmocka_unit_test(test_fold),
                cmocka_unit_test(test_salvage),
                cmocka_unit_test(test_salvage_without_counters),
                cmocka_unit_test(test_no_salvage),
                cmocka_unit_test(test_counters_of_a_new_opening),
                cmocka_unit_test(test_announced_and_not_settled),
                cmocka_unit_test(test_witnessed_and_not_counted),
                cmocka_unit_test(test_witness_survives),
        };

        return cmocka_run_group_tests_name("ring-recover", tests, NULL, NULL);
}
