/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a subscriber fills its gap. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus-record.h"
#include "names.h"
#include "ring-fixture.h"

typedef struct Records {
        char stream[BUS_STREAM_SIZE];
        uint64_t oldest, last;
        uint64_t first_sequence; /* of those that came */
        size_t n;
} Records;

static Records get_records(BusFixture *f, const char *stream, uint64_t after, uint32_t max) {
        Records records = { 0 };
        const char *current;
        uint64_t sequence;
        sd_bus_message *m;

        m = bus_fixture_call(f,
                             ERRORD_MANAGER_PATH,
                             ERRORD_MANAGER_INTERFACE,
                             "GetRecords",
                             "stu",
                             stream,
                             after,
                             max);
        assert_true(sd_bus_message_read(m, "stt", &current, &records.oldest, &records.last) > 0);
        (void) snprintf(records.stream, sizeof(records.stream), "%s", current);

        assert_true(sd_bus_message_enter_container(m, 'a', "(" BUS_RECORD_TYPES ")") > 0);
        while (sd_bus_message_enter_container(m, 'r', BUS_RECORD_TYPES) > 0) {
                assert_true(sd_bus_message_skip(m, "suqss") > 0);
                assert_true(sd_bus_message_read(m, "t", &sequence) > 0);
                assert_true(sd_bus_message_skip(m, "ta{sv}") > 0);
                assert_true(sd_bus_message_exit_container(m) >= 0);
                if (records.n++ == 0)
                        records.first_sequence = sequence;
                assert_int_equal(sequence, records.first_sequence + records.n - 1);
        }
        sd_bus_message_unref(m);
        return records;
}

static void assert_records(BusFixture *f,
                           const char *stream,
                           uint64_t after,
                           uint32_t max,
                           size_t n,
                           uint64_t first_sequence) {
        char current[BUS_STREAM_SIZE];
        Records records = get_records(f, stream, after, max);

        bus_stream_id(f->ring, current);
        assert_string_equal(records.stream, current);
        assert_int_equal(records.oldest, ring_oldest_sequence(f->ring));
        assert_int_equal(records.last, ring_last_sequence(f->ring));
        assert_int_equal(records.n, n);
        assert_int_equal(records.first_sequence, first_sequence);
}

static void test_records(void **state) {
        char current[BUS_STREAM_SIZE];
        BusFixture *f = *state;

        assert_records(f, "", 0, 0, 0, 0);

        for (unsigned i = 0; i < 10; i++) {
                fixture_error(f->ring);
                fixture_lost(f->ring, 1); /* no error: not among the records */
        }

        bus_stream_id(f->ring, current);
        assert_records(f, "", 0, 0, 10, 1);
        assert_records(f, current, 0, 0, 10, 1);
        assert_records(f, current, 4, 3, 3, 5);
        assert_records(f, current, 9, 1000, 1, 10);
        assert_records(f, current, 10, 0, 0, 0);
        assert_records(f, current, 11, 0, 0, 0);
        assert_records(f, current, UINT64_MAX, UINT32_MAX, 0, 0);

        for (char *c = current; *c; c++)
                *c = *c >= 'a' ? (char) (*c - 'a' + 'A') : *c;
        assert_records(f, current, 4, 3, 3, 5);

        /* Of another stream: all that there is. */
        current[0] = current[0] == '0' ? '1' : '0';
        assert_records(f, current, 9, 0, 10, 1);
}

static void test_records_are_bounded(void **state) {
        BusFixture *f = *state;

        for (unsigned i = 0; i < 3000; i++)
                fixture_error(f->ring);

        assert_int_equal(ring_oldest_sequence(f->ring), 3001 - ring_slots(f->ring));
        assert_records(f, "", 0, 0, 1000, 3001 - ring_slots(f->ring));
        assert_records(f, "", 1500, 1001, 1000, 1501);
        assert_records(f, "", 2500, UINT32_MAX, 500, 2501);
}

static void test_records_of_a_strange_stream(void **state) {
        static const char *const strange[] = { "0",
                                               "current",
                                               "0123456789abcdef0123456789abcdeg",
                                               "0123456789abcdef0123456789abcdef0" };
        BusFixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(strange); i++) {
                sd_bus_message *m = bus_fixture_call(f,
                                                     ERRORD_MANAGER_PATH,
                                                     ERRORD_MANAGER_INTERFACE,
                                                     "GetRecords",
                                                     "stu",
                                                     strange[i],
                                                     UINT64_C(0),
                                                     0U);

                assert_true(sd_bus_message_is_method_error(m, SD_BUS_ERROR_INVALID_ARGS));
                assert_non_null(
                        strstr(sd_bus_message_get_error(m)->message, "32 hexadecimal digits"));
                sd_bus_message_unref(m);
        }
}

#define objects_test(name)                                                                         \
        cmocka_unit_test_setup_teardown(                                                           \
                name, bus_fixture_setup_objects, bus_fixture_teardown_objects)

int main(void) {
        static const struct CMUnitTest tests[] = {
                objects_test(test_records),
                objects_test(test_records_are_bounded),
                objects_test(test_records_of_a_strange_stream),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
