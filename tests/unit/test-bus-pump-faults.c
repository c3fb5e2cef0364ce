/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each call with which the pump makes and sends a signal fails, once and for longer. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus-pump.h"
#include "fake-timers.h"
#include "faults.h"
#include "names.h"
#include "ring-fixture.h"

#define TIMER_SHORTAGE      0U /* the only one that the pump makes */
#define SHORTAGE_USEC       (100 * USEC_PER_MSEC)
#define TURNS_MAX           10000U
#define EVERY_KIND          "E1 E2 E3 E4 E5 L3 Rrecovered E6 "
#define EVERY_KIND_N        8U
#define EVERY_KIND_SEQUENCE 6U

typedef struct Fixture {
        BusFixture base;
        BusPump *pump;
        char got[1024]; /* what the subscriber got: "E7" an error, "L3" a loss, "Rrecovered" */
} Fixture;

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        size_t used;
        Fixture *f = userdata;
        const char *recovery;
        uint64_t n;

        used = strlen(f->got);
        if (sd_bus_message_is_signal(m, NULL, "ErrorReported") > 0) {
                assert_true(sd_bus_message_skip(m, "suqss") > 0);
                assert_true(sd_bus_message_read(m, "t", &n) > 0);
                (void) snprintf(f->got + used, sizeof(f->got) - used, "E%u ", (unsigned) n);
        } else if (sd_bus_message_is_signal(m, NULL, "RecordsLost") > 0) {
                assert_true(sd_bus_message_skip(m, "su") > 0);
                assert_true(sd_bus_message_read(m, "t", &n) > 0);
                (void) snprintf(f->got + used, sizeof(f->got) - used, "L%u ", (unsigned) n);
        } else {
                assert_true(sd_bus_message_skip(m, "su") > 0);
                assert_true(sd_bus_message_read(m, "s", &recovery) > 0);
                (void) snprintf(f->got + used, sizeof(f->got) - used, "R%s ", recovery);
        }
        assert_true(strlen(f->got) + 1 < sizeof(f->got));
        return 0;
}

static bool ready(void *userdata) {
        Fixture *f = userdata;

        return sd_bus_is_ready(f->base.server) > 0 && sd_bus_is_ready(f->base.client) > 0;
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        bus_fixture_setup(&f->base, 64);
        bus_fixture_connect(&f->base);
        assert_true(sd_bus_match_signal(f->base.client,
                                        NULL,
                                        NULL,
                                        NULL,
                                        ERRORD_FUNCTION_INTERFACE,
                                        NULL,
                                        on_signal,
                                        f) >= 0);
        bus_fixture_wait(f->base.event, ready, f, "both ends to authenticate");
        fake_timers_reset();
        assert_int_equal(bus_pump_new(f->base.event, f->base.ring, f->base.log, &f->pump), 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        if (faults_end() > 0)
                print_message("the last call that failed: %s\n", faults_last());
        f->pump = bus_pump_free(f->pump);
        bus_fixture_teardown(&f->base);
        free(f);
        return 0;
}

static void put(Fixture *f, RecordSource source, uint32_t fh) {
        Record *record = ring_reserve(f->base.ring, RECORD_ERROR, &fixture_identity);

        record->source = (uint8_t) source;
        record->identity.fh = fh;
        record->pec = 2;
        ring_commit(f->base.ring, record);
}

/* With all that a signal can have. */
static void put_every_kind(Fixture *f) {
        Record *record;

        fixture_error(f->base.ring);
        record = fixture_reserve(f->base.ring, RECORD_PACKED);
        fixture_answer(record);
        ring_commit(f->base.ring, record);
        put(f, RECORD_KMSG, 0x80020000U);
        put(f, RECORD_WITNESS, 0);
        put(f, RECORD_UEVENT, 0);
        fixture_lost(f->base.ring, 3);
        record = ring_reserve(f->base.ring, RECORD_RECOVERY, &fixture_identity);
        record->recovery = RECOVERY_RECOVERED;
        ring_commit(f->base.ring, record);
        put(f, RECORD_KMSG, 0);
}

static uint64_t cursor(const Fixture *f) {
        return ring_cursor(f->base.ring, RING_READER_BUS);
}

/* Until nothing is left to do at once. That this comes to an end is what matters most here. */
static void run_dry(Fixture *f) {
        for (unsigned n = 0; n < TURNS_MAX; n++)
                if (sd_event_run(f->base.event, 0) == 0)
                        return;
        fail_msg("the loop does not go to sleep after %s failed", faults_last());
}

static void assert_waits(Fixture *f) {
        FakeTimerStart start = { TIMER_SHORTAGE, SHORTAGE_USEC };

        run_dry(f);
        assert_true(fake_timer_is_started(&start));
}

static void assert_got(const Fixture *f, const char *expected) {
        assert_string_equal(f->got, expected);
        assert_int_equal(f->base.n_warnings, 0);
        assert_int_equal(cursor(f), ring_head(f->base.ring));
}

/* One failure, or memory that is short for long: every entry gets out once and in order. */
static void test_short_of_memory(void **state) {
        static const int errors[] = { -ENOMEM, -ENOBUFS };
        static const unsigned lengths[] = { FAULTS_FOR_EVER, 1 };
        unsigned n_runs = 0;

        for (size_t i = 0; i < ELEMENTSOF(errors) * ELEMENTSOF(lengths); i++)
                for (unsigned n = 1, failed = 1; failed > 0; n++, n_runs++) {
                        Fixture *f;

                        assert_int_equal(setup(state), 0);
                        f = *state;
                        put_every_kind(f);
                        faults_begin("sd_bus", n, lengths[i / 2], errors[i % 2]);
                        bus_pump_set_connection(f->pump, f->base.server);
                        run_dry(f);
                        failed = faults_end();
                        if (failed > 0) {
                                assert_waits(f);
                                fake_timer_expire(TIMER_SHORTAGE);
                                run_dry(f);
                        }
                        assert_got(f, EVERY_KIND);
                        assert_int_equal(bus_pump_run(f->pump), 0);
                        assert_int_equal(teardown(state), 0);
                }
        assert_true(n_runs > 4 * 5 * EVERY_KIND_N);
        assert_int_equal(setup(state), 0);
}

/* What is in nobody's power is passed over, and said; it holds up nothing. */
static void test_cannot_be_made(void **state) {
        unsigned n_runs = 0;

        for (unsigned n = 1, failed = 1; failed > 0; n++, n_runs++) {
                char *all = (char[]){ EVERY_KIND }, *next, *got;
                unsigned n_missing = 0;
                Fixture *f;

                assert_int_equal(setup(state), 0);
                f = *state;
                put_every_kind(f);
                faults_begin("sd_bus", n, 1, -EINVAL);
                bus_pump_set_connection(f->pump, f->base.server);
                run_dry(f);
                failed = faults_end();

                got = f->got;
                while ((next = strsep(&all, " ")) && *next)
                        if (strncmp(got, next, strlen(next)) == 0)
                                got += strlen(next) + 1;
                        else
                                n_missing++;
                assert_string_equal(got, "");
                assert_int_equal(n_missing, failed);
                assert_int_equal(f->base.n_warnings, failed);
                if (failed > 0)
                        assert_non_null(strstr(f->base.last_warning, "passing it over"));
                assert_int_equal(cursor(f), ring_head(f->base.ring));
                assert_int_equal(teardown(state), 0);
        }
        assert_true(n_runs > 5 * EVERY_KIND_N);
        assert_int_equal(setup(state), 0);
}

/* In memory that is damaged. (The image of a former run has none: it was checked.) */
static void test_entries_of_no_sense(void **state) {
        Fixture *f = *state;
        Record *records[2], *error;

        for (size_t i = 0; i < ELEMENTSOF(records); i++) {
                records[i] = ring_reserve(f->base.ring, RECORD_RECOVERY, &fixture_identity);
                records[i]->recovery = RECOVERY_RECOVERED;
                ring_commit(f->base.ring, records[i]);
        }
        records[0]->recovery = _RECORD_RECOVERY_MAX;
        records[1]->kind = _RECORD_KIND_MAX;
        error = fixture_reserve(f->base.ring, RECORD_CCDF);
        fixture_answer(error);
        ring_commit(f->base.ring, error);
        error->raw_size = UINT32_MAX;
        memset(error->identity.address, '1', sizeof(error->identity.address)); /* without an end */

        bus_pump_set_connection(f->pump, f->base.server);
        run_dry(f);
        assert_string_equal(f->got, "E1 ");
        assert_int_equal(f->base.n_warnings, 2);
        assert_non_null(strstr(f->base.last_warning, "ring entry 2"));
        assert_int_equal(cursor(f), 3);
}

/* Memory stays short: each try waits for the timer, and the last one gets all. */
static void test_short_again_and_again(void **state) {
        Fixture *f = *state;

        put_every_kind(f);
        faults_begin("sd_bus_message_new_signal", 1, FAULTS_FOR_EVER, -ENOMEM);
        bus_pump_set_connection(f->pump, f->base.server);
        for (unsigned i = 0; i < 10; i++) {
                assert_waits(f);
                assert_int_equal(cursor(f), 0);
                fake_timer_expire(TIMER_SHORTAGE);
        }
        run_dry(f);
        faults_end();
        fake_timer_expire(TIMER_SHORTAGE);
        run_dry(f);
        assert_got(f, EVERY_KIND);
}

/* What a connection took along when memory became short is sent by the next one; the loop sleeps meanwhile. */
static void test_connection_ends_while_short(void **state) {
        Fixture *f = *state;

        put_every_kind(f);
        faults_begin("sd_bus_send", 3, FAULTS_FOR_EVER, -ENOMEM);
        bus_pump_set_connection(f->pump, f->base.server);
        assert_waits(f);
        faults_end();
        assert_string_equal(f->got, "E1 E2 ");
        assert_int_equal(cursor(f), 2);

        /* Closed, and the pump is not told yet. */
        sd_bus_close(f->base.server);
        fixture_error(f->base.ring);
        fake_timer_expire(TIMER_SHORTAGE);
        run_dry(f);
        assert_int_equal(bus_pump_run(f->pump), EVERY_KIND_N + 1 - 2);
        bus_pump_set_connection(f->pump, NULL);
        run_dry(f);
        assert_int_equal(cursor(f), 2);
        assert_int_equal(f->base.n_warnings, 0);
}

static void test_new(void **state) {
        Fixture *f = *state;
        unsigned n_failed = 0;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                BusPump *pump = NULL;
                int r;

                fake_timers_reset();
                faults_begin(NULL, n, 1, -ENOMEM);
                r = bus_pump_new(f->base.event, f->base.ring, f->base.log, &pump);
                failed = faults_end();
                assert_int_equal(r, failed > 0 ? -ENOMEM : 0);
                assert_true(pump ? failed == 0 : failed > 0);
                n_failed += failed;
                assert_null(bus_pump_free(pump));
        }
        assert_true(n_failed >= 6);
        assert_null(bus_pump_free(NULL));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
/* Each of its runs has a fixture of its own. */
#define TEST_RUNS(function) cmocka_unit_test_teardown(function, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST_RUNS(test_short_of_memory),        TEST_RUNS(test_cannot_be_made),
                TEST(test_entries_of_no_sense),         TEST(test_short_again_and_again),
                TEST(test_connection_ends_while_short), TEST(test_new),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
