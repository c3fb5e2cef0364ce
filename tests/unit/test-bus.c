/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The life of the connection. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus.h"
#include "fake-bus.h"
#include "ring-fixture.h"

typedef struct Fixture {
        BusFixture base;
        Bus *bus;
        FakeBus fake;

        /* What the daemon was told. */
        unsigned n_ready, n_name_taken;
        bool connected;
} Fixture;

static void on_ready(bool connected, void *userdata) {
        Fixture *f = userdata;

        f->n_ready++;
        f->connected = connected;
}

static void on_name_taken(void *userdata) {
        Fixture *f = userdata;

        f->n_name_taken++;
}

static void daemon_starts(Fixture *f) {
        const BusListener listener = { .ready = on_ready,
                                       .name_taken = on_name_taken,
                                       .userdata = f };

        assert_int_equal(bus_new(f->base.event, f->base.ring, f->base.log, &listener, &f->bus), 0);
        bus_set_registry(f->bus, &f->base.registry);
        assert_int_equal(f->n_ready, 0); /* only ever from the event loop */
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        bus_fixture_setup(&f->base, 65536);
        fake_bus_setup(&f->fake, f->base.event);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        f->bus = bus_free(f->bus);
        fake_bus_teardown(&f->fake);
        bus_fixture_teardown(&f->base);
        free(f);
        return 0;
}

static bool is_ready(void *userdata) {
        Fixture *f = userdata;

        return f->n_ready > 0;
}

static bool is_told_all(void *userdata) {
        Fixture *f = userdata;

        return f->fake.last_sequence == ring_last_sequence(f->base.ring) &&
               ring_cursor(f->base.ring, RING_READER_BUS) == ring_head(f->base.ring);
}

/* An error, and a turn of the loop that has nothing to do with the bus. */
static void an_error(Fixture *f) {
        sd_event_source *s = NULL;

        fixture_error(f->base.ring);
        assert_true(sd_event_add_defer(f->base.event, &s, NULL, NULL) >= 0);
        sd_event_source_unref(s);
}

static void wait_for(Fixture *f, bool (*condition)(void *userdata), const char *what) {
        bus_fixture_wait(f->base.event, condition, f, what);
}

static void start_connected(Fixture *f) {
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        wait_for(f, is_ready, "the name");
        assert_true(f->connected);
        assert_int_equal(f->base.n_warnings, 0);
}

static void test_connects(void **state) {
        Fixture *f = *state;

        fixture_error(f->base.ring); /* of a former run */
        start_connected(f);
        assert_int_equal(f->fake.n_requests, 1);
        wait_for(f, is_told_all, "the error of the former run");

        an_error(f);
        wait_for(f, is_told_all, "the error");
        assert_int_equal(f->fake.n_errors, 2);
        assert_int_equal(f->n_ready, 1);
}

static bool has_three_signals(void *userdata) {
        Fixture *f = userdata;

        return f->fake.n_added + f->fake.n_changed + f->fake.n_removed >= 3;
}

static void test_functions(void **state) {
        Fixture *f = *state;
        Function stranger, *function;

        start_connected(f);
        function = bus_fixture_add(&f->base);
        stranger = *function;
        bus_function_added(f->bus, function);
        bus_function_changed(
                f->bus, function, FUNCTION_BECAME_BUSY); /* nothing that the bus shows */
        bus_function_changed(f->bus, &stranger, FUNCTION_CHANGED_STATE); /* has left the registry */
        bus_function_changed(f->bus, function, FUNCTION_CHANGED_STATE | FUNCTION_CHANGED_SYSFS);
        bus_function_removing(f->bus, function);
        wait_for(f, has_three_signals, "three signals about a function");
        assert_int_equal(f->fake.n_added, 1);
        assert_int_equal(f->fake.n_changed, 1);
        assert_int_equal(f->fake.n_removed, 1);
        assert_string_equal(f->fake.changed, "State StateReason Driver FunctionHandle ");
        assert_int_equal(f->base.n_warnings, 0);
}

/* Everything goes on without a bus, and the bus is found when it comes. */
static void test_absent(void **state) {
        Fixture *f = *state;

        daemon_starts(f);
        wait_for(f, is_ready, "the news that there is no bus");
        assert_false(f->connected);
        assert_int_equal(f->base.n_warnings, 1);
        assert_non_null(strstr(f->base.last_warning, "is dbus.service running?"));

        bus_function_added(f->bus, bus_fixture_add(&f->base));
        an_error(f);
        an_error(f);
        assert_int_equal(bus_finish(f->bus), 2);

        fake_bus_appear(&f->fake);
        wait_for(f, is_told_all, "the errors");
        assert_int_equal(f->fake.n_errors, 2);
        assert_int_equal(f->fake.n_added, 1);
        assert_int_equal(f->n_ready, 1);
        assert_int_equal(f->base.n_warnings, 1);
}

static bool is_taken(void *userdata) {
        Fixture *f = userdata;

        return f->n_name_taken > 0;
}

static void test_name_taken(void **state) {
        Fixture *f = *state;

        f->fake.n_name_exists = 1000;
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        wait_for(f, is_taken, "the news that another daemon runs");
        assert_int_equal(f->n_ready, 0);
        assert_int_equal(f->n_name_taken, 1);
        assert_true(f->fake.n_requests > 1);
        assert_int_equal(f->fake.n_connections, 1);
}

/* The bus has not noticed yet that the former run ended. */
static void test_name_taken_for_a_moment(void **state) {
        Fixture *f = *state;

        f->fake.n_name_exists = 2;
        start_connected(f);
        assert_int_equal(f->fake.n_requests, 3);
        assert_int_equal(f->n_name_taken, 0);
}

static void test_name_refused(void **state) {
        Fixture *f = *state;

        f->fake.name_error = SD_BUS_ERROR_ACCESS_DENIED;
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        wait_for(f, is_ready, "the news that there is no name");
        assert_false(f->connected);
        assert_non_null(strstr(f->base.last_warning, "org.zpci.Errord1.conf"));

        f->fake.name_error = NULL;
        an_error(f);
        wait_for(f, is_told_all, "the error");
        assert_int_equal(f->fake.n_connections, 2);
        assert_int_equal(f->base.n_warnings, 1);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        uint64_t *longest = userdata, now = now_usec(CLOCK_MONOTONIC);

        if (now - usec > *longest)
                *longest = now - usec;
        assert_true(sd_event_source_set_time(source, now + 10 * USEC_PER_MSEC) >= 0);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/*
 * The bus accepts the connection and says nothing. The loop goes on, and so does the daemon after
 * a while.
 */
static void test_hung(void **state) {
        uint64_t longest = 0, begin = now_usec(CLOCK_MONOTONIC);
        sd_event_source *ticks = NULL;
        Fixture *f = *state;

        f->fake.mute = true;
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        assert_true(sd_event_add_time(
                            f->base.event, &ticks, CLOCK_MONOTONIC, begin, 1, on_tick, &longest) >=
                    0);
        wait_for(f, is_ready, "patience to end");
        assert_false(f->connected);
        assert_true(now_usec(CLOCK_MONOTONIC) - begin >= 5 * USEC_PER_SEC);
        assert_true(longest < 2 * USEC_PER_SEC);
        assert_non_null(strstr(f->base.last_warning, "does not answer"));
        sd_event_source_disable_unref(ticks);

        /* It wakes up: the same connection goes on. */
        an_error(f);
        assert_true(sd_bus_attach_event(f->fake.peer, f->base.event, SD_EVENT_PRIORITY_NORMAL) >=
                    0);
        wait_for(f, is_told_all, "the error");
        assert_int_equal(f->fake.n_connections, 1);
        assert_int_equal(f->base.n_warnings, 1);
}

/* It goes away and comes back: objects are announced again, and no error is missing. */
static void test_goes_away(void **state) {
        Fixture *f = *state;

        bus_fixture_add(&f->base);
        bus_fixture_add(&f->base);
        start_connected(f);
        an_error(f);
        wait_for(f, is_told_all, "the first error");
        assert_int_equal(f->fake.n_added, 2);

        fake_bus_disappear(&f->fake);
        an_error(f);
        an_error(f);
        fake_bus_appear(&f->fake);
        wait_for(f, is_told_all, "the errors meanwhile");
        assert_int_equal(f->fake.n_errors, 3);
        assert_int_equal(f->fake.n_added, 4);
        assert_int_equal(f->n_ready, 1);
        assert_int_equal(f->base.n_warnings, 1);
        assert_non_null(strstr(f->base.last_warning, "closed the connection"));
}

static bool has_many_errors(void *userdata) {
        Fixture *f = userdata;

        return f->fake.n_errors >= 500;
}

/* A bus that takes nothing costs a bounded amount of memory, and of time at the end. */
static void test_takes_nothing(void **state) {
        uint64_t begin, n;
        Fixture *f = *state;
        Function *function;

        function = bus_fixture_add(&f->base);
        start_connected(f);
        assert_true(sd_bus_detach_event(f->fake.peer) >= 0);

        /* More than any socket holds: sd-bus asks for 8 MiB. */
        for (unsigned i = 0; i < 20000; i++)
                fixture_error(f->base.ring);
        begin = now_usec(CLOCK_MONOTONIC);
        n = bus_finish(f->bus);
        assert_true(n > 0);
        assert_int_equal(n, 20000 - ring_cursor(f->base.ring, RING_READER_BUS));
        assert_true(now_usec(CLOCK_MONOTONIC) - begin < 5 * USEC_PER_SEC);

        for (unsigned i = 0; i < 100000 && f->base.n_warnings == 0; i++)
                bus_function_changed(f->bus, function, FUNCTION_CHANGED_STATE);
        assert_int_equal(f->base.n_warnings, 1);
        assert_non_null(strstr(f->base.last_warning, "takes no messages"));

        /* A new connection goes on where the socket of the old one was full. */
        wait_for(f, has_many_errors, "errors on a new connection");
        assert_int_equal(f->fake.last_sequence, 20000 - n + f->fake.n_errors);
        assert_int_equal(f->fake.n_connections, 2);
}

static void test_finish(void **state) {
        Fixture *f = *state;

        start_connected(f);
        for (unsigned i = 0; i < 100; i++)
                fixture_error(f->base.ring);
        assert_int_equal(bus_finish(f->bus), 0);
        wait_for(f, is_told_all, "what the socket has");
        assert_int_equal(f->fake.n_errors, 100);
}

#define bus_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                bus_test(test_connects),
                bus_test(test_functions),
                bus_test(test_absent),
                bus_test(test_name_taken),
                bus_test(test_name_taken_for_a_moment),
                bus_test(test_name_refused),
                bus_test(test_hung),
                bus_test(test_goes_away),
                bus_test(test_takes_nothing),
                bus_test(test_finish),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
