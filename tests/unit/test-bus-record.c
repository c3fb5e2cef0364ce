/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a subscriber gets for each kind of entry. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus-pump.h"
#include "bus-record.h"
#include "names.h"
#include "ring-fixture.h"

typedef struct Fixture {
        BusFixture base;
        BusPump *pump;
        char last[1024]; /* the last signal, as text */
} Fixture;

static void describe_variant(sd_bus_message *m, const char *types, char *text, size_t size) {
        const void *bytes;
        const char *s;
        uint64_t t = 0;
        size_t n;

        assert_true(sd_bus_message_enter_container(m, 'v', types) > 0);
        if (types[0] == 'a') {
                assert_true(sd_bus_message_read_array(m, 'y', &bytes, &n) > 0);
                assert_true(2 * n + 1 <= size);
                ccdf_format(bytes, n, text);
        } else if (types[0] == 's') {
                assert_true(sd_bus_message_read(m, "s", &s) > 0);
                (void) snprintf(text, size, "%s", s);
        } else {
                union {
                        uint64_t t;
                        uint32_t u;
                        uint16_t q;
                        uint8_t y;
                        int b;
                } v;

                assert_true(sd_bus_message_read_basic(m, types[0], &v) > 0);
                switch (types[0]) {
                case 't':
                        t = v.t;
                        break;
                case 'u':
                        t = v.u;
                        break;
                case 'q':
                        t = v.q;
                        break;
                case 'y':
                        t = v.y;
                        break;
                case 'b':
                        t = (unsigned) v.b;
                        break;
                default:
                        fail_msg("a variant of type %s", types);
                }
                (void) snprintf(text, size, "%llx", (unsigned long long) t);
        }
        assert_true(sd_bus_message_exit_container(m) >= 0);
}

/*
 * One line of text for an ErrorReported, but for its time: numbers are hexadecimal, the type
 * follows the name of a detail.
 */
static void describe_error(Fixture *f, sd_bus_message *m) {
        const char *address, *name, *severity, *key, *types;
        uint64_t sequence, realtime;
        char value[256], kind;
        uint32_t fid;
        uint16_t pec;
        size_t n;

        assert_true(sd_bus_message_read(m,
                                        "suqsstt",
                                        &address,
                                        &fid,
                                        &pec,
                                        &name,
                                        &severity,
                                        &sequence,
                                        &realtime) > 0);
        assert_true(realtime > 0);
        n = (size_t) snprintf(f->last,
                              sizeof(f->last),
                              "%s %x %x %s %s %u",
                              address,
                              fid,
                              pec,
                              name,
                              severity,
                              (unsigned) sequence);

        assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                assert_true(sd_bus_message_read(m, "s", &key) > 0);
                assert_true(sd_bus_message_peek_type(m, &kind, &types) > 0);
                describe_variant(m, types, value, sizeof(value));
                if (strcmp(key, "StreamId") == 0) {
                        char stream[BUS_STREAM_SIZE];

                        bus_stream_id(f->base.ring, stream);
                        assert_string_equal(value, stream);
                        (void) snprintf(value, sizeof(value), "ok");
                }
                n += (size_t) snprintf(
                        f->last + n, sizeof(f->last) - n, " %s(%s)=%s", key, types, value);
                assert_true(n < sizeof(f->last));
                assert_true(sd_bus_message_exit_container(m) >= 0);
        }
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *address, *recovery;
        Fixture *f = userdata;
        uint64_t count;
        uint32_t fid;

        assert_string_equal(sd_bus_message_get_path(m), ERRORD_FUNCTION_PREFIX "/00000010");
        assert_string_equal(sd_bus_message_get_interface(m), ERRORD_FUNCTION_INTERFACE);

        if (sd_bus_message_is_signal(m, NULL, "ErrorReported"))
                describe_error(f, m);
        else if (sd_bus_message_is_signal(m, NULL, "RecordsLost")) {
                assert_true(sd_bus_message_read(m, "sut", &address, &fid, &count) > 0);
                (void) snprintf(
                        f->last, sizeof(f->last), "lost %s %x %u", address, fid, (unsigned) count);
        } else {
                assert_true(sd_bus_message_is_signal(m, NULL, "RecoveryChanged"));
                assert_true(sd_bus_message_read(m, "sus", &address, &fid, &recovery) > 0);
                (void) snprintf(
                        f->last, sizeof(f->last), "recovery %s %x %s", address, fid, recovery);
        }
        return 0;
}

static bool ready(void *userdata) {
        const Fixture *f = userdata;

        return sd_bus_is_ready(f->base.client) > 0 && sd_bus_is_ready(f->base.server) > 0;
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        bus_fixture_setup(&f->base, RING_SLOTS_MIN);
        bus_fixture_connect(&f->base);
        assert_true(sd_bus_match_signal(f->base.client,
                                        NULL,
                                        NULL,
                                        NULL,
                                        ERRORD_FUNCTION_INTERFACE,
                                        NULL,
                                        on_signal,
                                        f) >= 0);
        assert_int_equal(bus_pump_new(f->base.event, f->base.ring, f->base.log, &f->pump), 0);
        bus_fixture_wait(f->base.event, ready, f, "both ends to authenticate");
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        f->pump = bus_pump_free(f->pump);
        bus_fixture_teardown(&f->base);
        free(f);
        return 0;
}

static bool got(void *userdata) {
        Fixture *f = userdata;

        return f->last[0];
}

/* The newest entry of the ring comes as this. */
static void assert_signal(Fixture *f, const char *expected) {
        f->last[0] = 0;
        bus_pump_set_connection(f->pump, f->base.server);
        bus_fixture_wait(f->base.event, got, f, "a signal");
        assert_string_equal(f->last, expected);
}

static void test_ccdf(void **state) {
        Fixture *f = *state;

        fixture_error(f->base.ring);
        assert_signal(
                f,
                "0001:00:00.0 10 2 OORANGE recoverable 1 Source(s)=vfio StreamId(s)=ok "
                "FunctionHandle(u)=80020000 FailingAddress(t)=12346002 DmaAddressSpace(y)=0 MsiVector(q)=0 "
                "ExpectedTableType(y)=0 Qualifier(b)=0 ReadWrite(b)=0 "
                "Raw(ay)=0000000080020000000000100000000000000000123460020000000000000002");
}

static void test_every_ccdf_field(void **state) {
        static const uint8_t raw[CCDF_ERROR_SIZE] = {
                1,    2,    3,    4,    0x80, 2,    0,    1,    0,
                0,    0,    0x10, 0xba, 0xbc, 0xde, 0x03, /* ett b, mvn abc, dmaas de, q, rw */
                0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0,
                0,    0,    0,    0,    0,    0,    0x3b,
        };
        Fixture *f = *state;
        Record *record = fixture_reserve(f->base.ring, RECORD_CCDF);

        memcpy(record->raw, raw, sizeof(raw));
        record->source = RECORD_WITNESS;
        record->dropped = 1;
        ring_commit(f->base.ring, record);
        assert_signal(
                f,
                "0001:00:00.0 10 3b PERMERR permanent 1 Source(s)=witness Dropped(b)=1 StreamId(s)=ok "
                "FunctionHandle(u)=80020001 FailingAddress(t)=ffeeddccbbaa9988 DmaAddressSpace(y)=de "
                "MsiVector(q)=abc ExpectedTableType(y)=b Qualifier(b)=1 ReadWrite(b)=1 "
                "Raw(ay)=010203048002000100000010babcde03ffeeddccbbaa9988000000000000003b");
}

static void test_packed(void **state) {
        Fixture *f = *state;
        Record *record = fixture_reserve(f->base.ring, RECORD_PACKED);
        char expected[512] =
                "0001:00:00.0 10 2 OORANGE recoverable 1 Source(s)=vfio StreamId(s)=ok Pending(y)=3 Raw(ay)=";

        fixture_answer(record);
        ring_commit(f->base.ring, record);
        ccdf_format(record->raw, record->raw_size, expected + strlen(expected));
        assert_signal(f, expected);
}

static void test_kernel_log_and_uevent(void **state) {
        RecordIdentity identity = fixture_identity;
        Fixture *f = *state;
        Record *record;

        record = ring_reserve(f->base.ring, RECORD_ERROR, &identity);
        record->source = RECORD_KMSG;
        record->pec = 0x3a;
        ring_commit(f->base.ring, record);
        assert_signal(f, "0001:00:00.0 10 3a SERVAC recoverable 1 Source(s)=kmsg StreamId(s)=ok");

        identity.fh = 0x80020000;
        record = ring_reserve(f->base.ring, RECORD_ERROR, &identity);
        record->source = RECORD_UEVENT;
        ring_commit(f->base.ring, record);
        assert_signal(f,
                      "0001:00:00.0 10 0 UNKNOWN unknown 2 Source(s)=uevent StreamId(s)=ok "
                      "FunctionHandle(u)=80020000");
}

static void test_announcements(void **state) {
        Fixture *f = *state;
        Record *record;

        fixture_lost(f->base.ring, 3);
        assert_signal(f, "lost 0001:00:00.0 10 3");

        record = ring_reserve(f->base.ring, RECORD_RECOVERY, &fixture_identity);
        record->recovery = RECOVERY_FAILED;
        ring_commit(f->base.ring, record);
        assert_signal(f, "recovery 0001:00:00.0 10 failed");
}

#define record_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                record_test(test_ccdf),          record_test(test_every_ccdf_field),
                record_test(test_packed),        record_test(test_kernel_log_and_uevent),
                record_test(test_announcements),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
