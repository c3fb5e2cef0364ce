/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the daemon makes when it starts: if it cannot be made, nothing of it is left. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <systemd/sd-id128.h>

#include "bus-fixture.h"
#include "bus.h"
#include "fake-timers.h"
#include "faults.h"
#include "journal-check.h"
#include "observer.h"

/* The linker's names, see --wrap in ld(1). */
int __real_sd_id128_get_boot(sd_id128_t *ret);
int __wrap_sd_id128_get_boot(sd_id128_t *ret);

int __wrap_sd_id128_get_boot(sd_id128_t *ret) {
        int r = fault("sd_id128_get_boot");

        return r < 0 ? r : __real_sd_id128_get_boot(ret);
}

static int setup(void **state) {
        BusFixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        bus_fixture_setup(f, 16);
        f->context = (FunctionContext){ .event = f->event, .ring = f->ring, .log = f->log };
        *state = f;
        return 0;
}

static int teardown(void **state) {
        BusFixture *f = *state;

        faults_end();
        bus_fixture_teardown(f);
        free(f);
        return 0;
}

/* Makes it and frees it, with the n-th call failing. Returns whether one failed. */
static bool make(BusFixture *f, int (*make_and_free)(BusFixture *f), unsigned n) {
        unsigned failed;
        int r;

        fake_timers_reset();
        faults_begin(NULL, n, 1, -ENOMEM);
        r = make_and_free(f);
        failed = faults_end();
        assert_int_equal(r, failed > 0 ? -ENOMEM : 0);
        return failed > 0;
}

static void assert_made(BusFixture *f, int (*make_and_free)(BusFixture *f), unsigned n_calls) {
        unsigned n = 1;

        while (make(f, make_and_free, n))
                n++;
        assert_true(n > n_calls);
}

static int make_observer(BusFixture *f) {
        Observer *observer = NULL;
        int r;

        r = observer_new(&f->context, &f->registry, &observer);
        assert_true(r < 0 ? !observer : !!observer);
        assert_null(observer_free(observer));
        return r;
}

static void test_observer(void **state) {
        assert_made(*state, make_observer, 7);
}

static int make_journal_check(BusFixture *f) {
        const JournalCheckContext context = { .event = f->event, .ring = f->ring, .log = f->log };
        JournalCheck *check = NULL;
        int r;

        r = journal_check_new(&context, &check);
        assert_true(r < 0 ? !check : !!check);
        assert_null(journal_check_free(check));
        return r;
}

static void test_journal_check(void **state) {
        assert_made(*state, make_journal_check, 4);
}

static int make_bus(BusFixture *f) {
        const BusContext context = {
                .event = f->event,
                .ring = f->ring,
                .inhibitors = f->inhibitors,
                .log = f->log,
                .former_bus_id = "",
        };
        const BusListener listener = { .userdata = f };
        Bus *bus = NULL;
        int r;

        r = bus_new(&context, &listener, &bus);
        assert_true(r < 0 ? !bus : !!bus);
        assert_null(bus_free(bus));
        return r;
}

static void test_bus(void **state) {
        assert_made(*state, make_bus, 12);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST(test_observer),
                TEST(test_journal_check),
                TEST(test_bus),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
