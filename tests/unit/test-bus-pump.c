/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus-pump.h"
#include "names.h"
#include "ring-fixture.h"

typedef struct Fixture {
        BusFixture base;
        BusPump *pump;

        /* What the subscriber got. */
        unsigned n_signals;
        unsigned n_out_of_order;
        uint64_t last_sequence;

        uint64_t wanted;
} Fixture;

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Fixture *f = userdata;
        uint64_t sequence;

        assert_string_equal(sd_bus_message_get_member(m), "ErrorReported");
        assert_true(sd_bus_message_skip(m, "suqss") > 0);
        assert_true(sd_bus_message_read(m, "t", &sequence) > 0);

        f->n_signals++;
        f->n_out_of_order += sequence != f->last_sequence + 1;
        f->last_sequence = sequence;
        return 0;
}

static void connect_both(Fixture *f) {
        f->base.server = sd_bus_close_unref(f->base.server);
        f->base.client = sd_bus_close_unref(f->base.client);
        bus_fixture_connect(&f->base);
        assert_true(sd_bus_match_signal(f->base.client,
                                        NULL,
                                        NULL,
                                        NULL,
                                        ERRORD_FUNCTION_INTERFACE,
                                        NULL,
                                        on_signal,
                                        f) >= 0);
}

static bool ready(void *userdata) {
        Fixture *f = userdata;

        return sd_bus_is_ready(f->base.server) > 0 && sd_bus_is_ready(f->base.client) > 0;
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        bus_fixture_setup(&f->base, 1024);
        connect_both(f);
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

        return f->n_signals >= f->wanted;
}

static void wait_signals(Fixture *f, unsigned n) {
        f->wanted = n;
        bus_fixture_wait(f->base.event, got, f, "signals");
        assert_int_equal(f->n_signals, n);
}

static uint64_t stored(const Fixture *f) {
        return ring_cursor(f->base.ring, RING_READER_BUS);
}

static bool all_stored(void *userdata) {
        Fixture *f = userdata;

        return stored(f) == ring_head(f->base.ring);
}

static void until_idle(Fixture *f) {
        while (sd_event_run(f->base.event, 0) > 0)
                ;
}

/* More than a turn's worth, with nobody else to wake the loop. */
static void test_burst(void **state) {
        Fixture *f = *state;

        until_idle(f);
        assert_true(sd_bus_detach_event(f->base.client) >= 0);
        for (unsigned i = 0; i < 7 * BUS_PUMP_IN_FLIGHT + 7; i++)
                fixture_error(f->base.ring);
        bus_pump_set_connection(f->pump, f->base.server);
        bus_fixture_wait(f->base.event, all_stored, f, "the cursor to come to the head");

        assert_true(sd_bus_attach_event(f->base.client, f->base.event, SD_EVENT_PRIORITY_NORMAL) >=
                    0);
        wait_signals(f, 7 * BUS_PUMP_IN_FLIGHT + 7);
        assert_int_equal(f->n_out_of_order, 0);
}

static int count_turn(sd_event_source *source, uint64_t usec, void *userdata) {
        unsigned *n = userdata;

        (*n)++;
        assert_true(sd_event_source_set_time(source, usec + 1) >= 0);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static bool stalled(void *userdata) {
        Fixture *f = userdata;
        uint64_t n;

        assert_true(sd_bus_get_n_queued_write(f->base.server, &n) >= 0);
        return n > 0;
}

/*
 * The reader stops: what is emitted and not written is bounded, and not taken for sent. Then it
 * goes on.
 */
static void test_stalled_reader(void **state) {
        unsigned n_turns = 0;
        sd_event_source *timer = NULL;
        Fixture *f = *state;
        uint64_t n, cursor;
        int size = 4096;

        assert_int_equal(
                setsockopt(
                        sd_bus_get_fd(f->base.server), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
                0);
        assert_true(sd_bus_detach_event(f->base.client) >= 0);

        for (unsigned i = 0; i < 600; i++)
                fixture_error(f->base.ring);
        bus_pump_set_connection(f->pump, f->base.server);
        bus_fixture_wait(f->base.event, stalled, f, "the socket to be full");

        /* Whatever else happens. */
        assert_true(sd_event_add_time(
                            f->base.event, &timer, CLOCK_MONOTONIC, 1, 1, count_turn, &n_turns) >=
                    0);
        while (n_turns < 100) {
                assert_true(sd_event_run(f->base.event, UINT64_MAX) >= 0);
                assert_true(sd_bus_get_n_queued_write(f->base.server, &n) >= 0);
                assert_true(n > 0 && n <= BUS_PUMP_IN_FLIGHT);
        }
        cursor = stored(f);
        assert_true(cursor < 600 - BUS_PUMP_IN_FLIGHT);
        sd_event_source_disable_unref(timer);

        /* Once both post sources have had their turns there is nothing to do: no busy waiting. */
        assert_true(sd_event_run(f->base.event, 0) >= 0);
        assert_true(sd_event_run(f->base.event, 0) >= 0);
        assert_int_equal(sd_event_run(f->base.event, 0), 0);

        assert_true(sd_bus_attach_event(f->base.client, f->base.event, SD_EVENT_PRIORITY_NORMAL) >=
                    0);
        wait_signals(f, 600);
        assert_int_equal(f->n_out_of_order, 0);
        bus_fixture_wait(f->base.event, all_stored, f, "the cursor to come to the head");
}

/* What the old connection took along is emitted again on the new one. */
static void test_reconnect(void **state) {
        Fixture *f = *state;
        int size = 4096;
        uint64_t cursor;

        assert_int_equal(
                setsockopt(
                        sd_bus_get_fd(f->base.server), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
                0);
        assert_true(sd_bus_detach_event(f->base.client) >= 0);
        for (unsigned i = 0; i < 600; i++)
                fixture_error(f->base.ring);
        bus_pump_set_connection(f->pump, f->base.server);
        bus_fixture_wait(f->base.event, stalled, f, "the socket to be full");
        cursor = stored(f);

        bus_pump_set_connection(f->pump, NULL);
        assert_int_equal(bus_pump_run(f->pump), 600 - cursor);
        fixture_error(f->base.ring);
        assert_int_equal(bus_pump_run(f->pump), 601 - cursor);

        connect_both(f);
        bus_fixture_wait(f->base.event, ready, f, "both ends to authenticate");
        assert_int_equal(f->n_signals, 0);
        f->last_sequence = cursor;
        bus_pump_set_connection(f->pump, f->base.server);
        wait_signals(f, (unsigned) (601 - cursor));
        assert_int_equal(f->n_out_of_order, 0);
        assert_true(all_stored(f));
        assert_int_equal(f->base.n_warnings, 0);
}

static void test_reader_goes_away(void **state) {
        Fixture *f = *state;

        bus_pump_set_connection(f->pump, f->base.server);
        f->base.client = sd_bus_close_unref(f->base.client);
        for (unsigned i = 0; i < 100; i++) {
                fixture_error(f->base.ring);
                bus_pump_run(f->pump);
        }
        /* The pump is not told yet. It gives nothing up. */
        assert_int_equal(stored(f), 0);
        assert_int_equal(bus_pump_run(f->pump), 100);
        assert_int_equal(f->base.n_warnings, 0);

        bus_pump_set_connection(f->pump, NULL);
        connect_both(f);
        bus_fixture_wait(f->base.event, ready, f, "both ends to authenticate");
        bus_pump_set_connection(f->pump, f->base.server);
        wait_signals(f, 100);
        assert_int_equal(f->n_out_of_order, 0);
}

static void test_overwritten(void **state) {
        Fixture *f = *state;
        uint32_t n = ring_slots(f->base.ring) + 1000;

        for (unsigned i = 0; i < n; i++)
                fixture_error(f->base.ring);
        f->last_sequence = 1000;
        bus_pump_set_connection(f->pump, f->base.server);
        wait_signals(f, ring_slots(f->base.ring));
        assert_int_equal(f->n_out_of_order, 0);
        bus_fixture_wait(f->base.event, all_stored, f, "the cursor to come to the head");
        bus_pump_run(f->pump);
        assert_int_equal(f->base.n_warnings, 1);
        assert_non_null(strstr(f->base.last_warning, "1000 ring entries were overwritten"));
}

#define pump_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                pump_test(test_burst),       pump_test(test_stalled_reader),
                pump_test(test_reconnect),   pump_test(test_reader_goes_away),
                pump_test(test_overwritten),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
