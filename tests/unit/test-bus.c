/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The life of the connection. Its timers are let expire, rather than waited for. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus.h"
#include "fake-bus.h"
#include "fake-timers.h"
#include "faults.h"
#include "ring-fixture.h"

/* In the order in which they are made. */
typedef enum Timer {
        TIMER_SHORTAGE, /* of memory */
        TIMER_CONNECT,
        TIMER_NAME,
        TIMER_PATIENCE,
} Timer;

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

        BusContext context = {
                .event = f->base.event,
                .ring = f->base.ring,
                .inhibitors = f->base.inhibitors,
                .log = f->base.log,
                .former_bus_id = "",
        };

        assert_int_equal(bus_new(&context, &listener, &f->bus), 0);
        bus_set_registry(f->bus, &f->base.registry);
        assert_int_equal(f->n_ready, 0); /* only ever from the event loop */
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        bus_fixture_setup(&f->base, 65536);
        fake_bus_setup(&f->fake, f->base.event);
        fake_timers_reset(); /* the first one is the bus's */
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

/* Lets a timer expire, once it was started with this delay. */
static void expire(Fixture *f, Timer timer, uint64_t delay_usec) {
        char what[64];

        (void) snprintf(what,
                        sizeof(what),
                        "timer %u to be started with %llu us",
                        (unsigned) timer,
                        (unsigned long long) delay_usec);
        bus_fixture_wait(f->base.event,
                         fake_timer_is_started,
                         &(FakeTimerStart){ (unsigned) timer, delay_usec },
                         what);
        fake_timer_expire((unsigned) timer);
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

        /* The end of patience is nothing to somebody who has what he waited for. */
        expire(f, TIMER_PATIENCE, 5 * USEC_PER_SEC);
        an_error(f);
        wait_for(f, is_told_all, "the error");
        assert_true(fake_timer_has_expired(TIMER_PATIENCE));
        an_error(f);
        wait_for(f, is_told_all, "one more error");
        assert_int_equal(f->fake.n_errors, 3);
        assert_int_equal(f->n_ready, 1);
        assert_int_equal(f->base.n_warnings, 0);
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

        for (uint64_t s = 1; s < 60; s *= 2)
                expire(f, TIMER_CONNECT, s * USEC_PER_SEC);
        expire(f, TIMER_PATIENCE, 5 * USEC_PER_SEC);
        expire(f, TIMER_CONNECT, 60 * USEC_PER_SEC);
        expire(f, TIMER_CONNECT, 60 * USEC_PER_SEC);
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
        for (unsigned i = 1; i < 10; i++)
                expire(f, TIMER_NAME, 100 * USEC_PER_MSEC);
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
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        for (unsigned i = 0; i < 2; i++)
                expire(f, TIMER_NAME, 100 * USEC_PER_MSEC);
        wait_for(f, is_ready, "the name");
        assert_true(f->connected);
        assert_int_equal(f->fake.n_requests, 3);
        assert_int_equal(f->n_name_taken, 0);
}

static bool is_refused_again(void *userdata) {
        Fixture *f = userdata;

        return f->fake.n_requests == 2;
}

static void test_name_refused(void **state) {
        Fixture *f = *state;

        f->fake.name_error = SD_BUS_ERROR_ACCESS_DENIED;
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        wait_for(f, is_ready, "the news that there is no name");
        assert_false(f->connected);
        assert_non_null(strstr(f->base.last_warning, "org.zpci.Errord1.conf"));

        expire(f, TIMER_CONNECT, 1 * USEC_PER_SEC);
        wait_for(f, is_refused_again, "a second attempt");
        f->fake.name_error = NULL;
        an_error(f);
        expire(f, TIMER_CONNECT, 2 * USEC_PER_SEC);
        wait_for(f, is_told_all, "the error");
        assert_int_equal(f->base.n_warnings, 1);
}

static void run_dry(Fixture *f) {
        while (sd_event_run(f->base.event, 0) > 0)
                ;
}

static bool is_accepted(void *userdata) {
        Fixture *f = userdata;

        return f->fake.n_connections > 0;
}

/* The bus accepts the connection and says nothing. The daemon goes on after a while. */
static void test_hung(void **state) {
        Fixture *f = *state;

        f->fake.mute = true;
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        wait_for(f, is_accepted, "the connection");
        assert_int_equal(f->n_ready, 0);
        expire(f, TIMER_PATIENCE, 5 * USEC_PER_SEC);
        wait_for(f, is_ready, "patience to end");
        assert_false(f->connected);
        assert_non_null(strstr(f->base.last_warning, "does not answer"));

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
        expire(f, TIMER_CONNECT, 1 * USEC_PER_SEC);
        wait_for(f, is_told_all, "the errors meanwhile");
        assert_int_equal(f->fake.n_errors, 3);
        assert_int_equal(f->fake.n_added, 4);
        assert_int_equal(f->n_ready, 1);
        assert_int_equal(f->base.n_warnings, 1);
        assert_non_null(strstr(f->base.last_warning, "closed the connection"));

        /* The next outage is another one. */
        fake_bus_disappear(&f->fake);
        expire(f, TIMER_CONNECT, 1 * USEC_PER_SEC);
        assert_int_equal(f->base.n_warnings, 2);
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
        expire(f, TIMER_CONNECT, 1 * USEC_PER_SEC);
        wait_for(f, has_many_errors, "errors on a new connection");
        assert_int_equal(f->fake.last_sequence, 20000 - n + f->fake.n_errors);
        assert_int_equal(f->fake.n_connections, 2);
}

/* Nor does the end of the loop wait for such a bus. */
static void test_exit_while_hung(void **state) {
        Fixture *f = *state;

        start_connected(f);
        assert_true(sd_bus_detach_event(f->fake.peer) >= 0);
        for (unsigned i = 0; i < 20000; i++)
                fixture_error(f->base.ring);
        assert_true(bus_finish(f->bus) > 0);

        assert_true(sd_event_exit(f->base.event, 42) >= 0);
        assert_int_equal(sd_event_loop(f->base.event), 42);
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

/* It goes away at the very end: what it has not got is told, and nobody waits for it. */
static void test_finish_when_it_goes(void **state) {
        Fixture *f = *state;
        uint64_t begin;

        start_connected(f);
        for (unsigned i = 0; i < 100; i++)
                fixture_error(f->base.ring);
        fake_bus_disappear(&f->fake);
        begin = now_usec(CLOCK_MONOTONIC);
        assert_int_equal(bus_finish(f->bus), 100);
        assert_true(now_usec(CLOCK_MONOTONIC) - begin < 5 * USEC_PER_SEC);
        assert_int_equal(ring_cursor(f->base.ring, RING_READER_BUS), 0);
}

static void on_restart(bool restart, void *userdata) {
        unsigned *n = userdata;

        *n += restart;
}

/* Nobody can be asked whether another run follows: then one may, and nothing is thrown away. */
static void test_restart_without_bus(void **state) {
        Fixture *f = *state;
        unsigned n = 0;

        daemon_starts(f);
        bus_ask_restart(f->bus, on_restart, &n);
        assert_int_equal(n, 1);

        fake_bus_appear(&f->fake);
        wait_for(f, is_ready, "the name");
        faults_begin("sd_bus", 1, FAULTS_FOR_EVER, -ENOMEM);
        bus_ask_restart(f->bus, on_restart, &n);
        faults_end();
        assert_int_equal(n, 2);
}

/* Whatever fails on the way to the name: it is tried again, and no error is missing then. */
static void test_connecting_fails(void **state) {
        unsigned n_failed = 0;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                Fixture *f;

                assert_int_equal(setup(state), 0);
                f = *state;
                fake_bus_appear(&f->fake);
                bus_fixture_add(&f->base);
                an_error(f);
                run_dry(f);
                daemon_starts(f);
                faults_begin("sd_bus", n, 1, -ENOMEM);
                assert_true(sd_event_run(f->base.event, UINT64_MAX) > 0); /* the first attempt */
                failed = faults_end();
                n_failed += failed;
                if (failed > 0) {
                        assert_int_equal(f->n_ready, 1);
                        assert_false(f->connected);
                        expire(f, TIMER_CONNECT, 1 * USEC_PER_SEC);
                }
                wait_for(f, is_told_all, "the error");
                assert_int_equal(f->fake.n_errors, 1);
                assert_int_equal(f->fake.n_added, 1);
                assert_int_equal(f->base.n_warnings, failed);
                assert_int_equal(teardown(state), 0);
        }
        assert_true(n_failed >= 10);
        assert_int_equal(setup(state), 0);
}

/* A bus that answers with an error, or with nonsense, is none. */
static void test_name_not_answered(void **state) {
        Fixture *f = *state;

        f->fake.name_error = SD_BUS_ERROR_NO_MEMORY;
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        wait_for(f, is_ready, "the news that there is no name");
        assert_false(f->connected);
        assert_non_null(strstr(f->base.last_warning, "does not answer when asked"));

        f->fake.name_error = NULL;
        an_error(f);
        expire(f, TIMER_CONNECT, 1 * USEC_PER_SEC);
        wait_for(f, is_told_all, "the error");
}

static void test_name_nonsense(void **state) {
        Fixture *f = *state;

        f->fake.name_nonsense = true;
        fake_bus_appear(&f->fake);
        daemon_starts(f);
        wait_for(f, is_ready, "the news that there is no name");
        assert_false(f->connected);
        assert_non_null(strstr(f->base.last_warning, "speaks nonsense"));
}

/* What cannot be told of an object is said; errors are told all the same. */
static void test_objects_cannot_be_told(void **state) {
        Fixture *f = *state;
        Function *function;

        start_connected(f);
        function = bus_fixture_add(&f->base);

        faults_begin("sd_bus_emit", 1, 3, -ENOMEM);
        bus_function_added(f->bus, function);
        assert_non_null(strstr(f->base.last_warning, "that it appeared"));
        bus_function_changed(f->bus, function, FUNCTION_CHANGED_STATE);
        assert_non_null(strstr(f->base.last_warning, "that it changed"));
        bus_function_removing(f->bus, function);
        assert_non_null(strstr(f->base.last_warning, "that it disappeared"));
        assert_int_equal(faults_end(), 3);
        assert_int_equal(f->base.n_warnings, 3);

        an_error(f);
        wait_for(f, is_told_all, "the error");
}

static void test_owners_cannot_be_watched(void **state) {
        Fixture *f = *state;

        fake_bus_appear(&f->fake);
        daemon_starts(f);
        faults_begin("sd_bus_get_bus_id", 1, 1, -ENOMEM);
        wait_for(f, is_ready, "the name");
        assert_true(f->connected);
        assert_int_equal(faults_end(), 1);
        assert_int_equal(f->base.n_warnings, 1);
        assert_non_null(strstr(f->base.last_warning, "whether owners of devices leave"));
        an_error(f);
        wait_for(f, is_told_all, "the error");
}

/* Nor is memory that stays short waited for in a hurry. */
static void test_finish_while_short(void **state) {
        Fixture *f = *state;

        start_connected(f);
        for (unsigned i = 0; i < 3; i++)
                fixture_error(f->base.ring);
        faults_begin("sd_bus_send", 2, FAULTS_FOR_EVER, -ENOMEM);
        assert_int_equal(bus_finish(f->bus), 2);
        assert_in_range(faults_end(), 1, 200);

        assert_int_equal(bus_finish(f->bus), 0);
        wait_for(f, is_told_all, "what the socket has");
        assert_int_equal(f->fake.n_errors, 3);
        assert_int_equal(f->base.n_warnings, 0);
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
                bus_test(test_exit_while_hung),
                bus_test(test_finish),
                cmocka_unit_test_teardown(test_connecting_fails, teardown), /* each run has one */
                bus_test(test_finish_when_it_goes),
                bus_test(test_restart_without_bus),
                bus_test(test_name_not_answered),
                bus_test(test_name_nonsense),
                bus_test(test_objects_cannot_be_told),
                bus_test(test_owners_cannot_be_watched),
                bus_test(test_finish_while_short),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
