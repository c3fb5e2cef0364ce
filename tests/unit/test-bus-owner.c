/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whether owners of attached devices are there. The client is the bus, and answers as it is told. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus-owner.h"
#include "faults.h"

typedef enum Answer {
        ANSWER_THERE,
        ANSWER_GONE,
        ANSWER_ERROR,
        ANSWER_NONSENSE,
} Answer;

typedef struct Fixture {
        BusFixture base;
        Answer answer;
        unsigned n_asked;
} Fixture;

static unsigned n_detached;

void __wrap_function_detach(Function *f, FunctionRequest *request);

void __wrap_function_detach(Function *f, FunctionRequest *request) {
        assert_true(f->facts.attached);
        assert_null(request);
        f->facts.attached = false;
        n_detached++;
}

static int method_has_owner(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Fixture *f = userdata;
        const char *name;

        assert_true(sd_bus_message_read(m, "s", &name) > 0);
        assert_memory_equal(name, ":1.", 3);
        f->n_asked++;
        switch (f->answer) {
        case ANSWER_ERROR:
                return sd_bus_error_set(ret_error, SD_BUS_ERROR_NO_MEMORY, "as the test wants it");
        case ANSWER_NONSENSE:
                return sd_bus_reply_method_return(m, "s", "perhaps");
        default:
                return sd_bus_reply_method_return(m, "b", f->answer == ANSWER_THERE);
        }
}

static const sd_bus_vtable driver_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("NameHasOwner", "s", "b", method_has_owner, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static bool ready(void *userdata) {
        Fixture *f = userdata;

        return sd_bus_is_ready(f->base.server) > 0 && sd_bus_is_ready(f->base.client) > 0;
}

/* Two functions, which ":1.1" and ":1.2" attached. */
static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        n_detached = 0;
        bus_fixture_setup(&f->base, 16);
        bus_fixture_connect(&f->base);
        f->base.context.log = f->base.log;
        f->base.model = (BusModel){ .registry = &f->base.registry };
        for (unsigned i = 0; i < 3; i++) {
                Function *function = bus_fixture_add(&f->base);

                function->facts.attached = i < 2;
                strcpy(function->owner.name, i == 0 ? ":1.1" : ":1.2");
        }
        assert_true(sd_bus_add_object_vtable(f->base.client,
                                             NULL,
                                             "/org/freedesktop/DBus",
                                             "org.freedesktop.DBus",
                                             driver_vtable,
                                             f) >= 0);
        bus_fixture_wait(f->base.event, ready, f, "both ends to authenticate");
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        faults_end();
        bus_fixture_teardown(&f->base);
        free(f);
        return 0;
}

static void run_dry(Fixture *f) {
        while (sd_event_run(f->base.event, 0) > 0)
                ;
}

static bool is_attached(const Fixture *f, size_t i) {
        return f->base.registry.functions[i].facts.attached;
}

static int ask(Fixture *f, size_t i) {
        return bus_owner_ask(&f->base.model, f->base.server, &f->base.registry.functions[i]);
}

/* The bus says that a name has no owner any more. */
static void leave(Fixture *f, const char *types, const char *name) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        assert_true(sd_bus_message_new_signal(f->base.client,
                                              &m,
                                              "/org/freedesktop/DBus",
                                              "org.freedesktop.DBus",
                                              "NameOwnerChanged") >= 0);
        assert_true(sd_bus_message_set_sender(m, "org.freedesktop.DBus") >= 0);
        if (types[0] == 's')
                assert_true(sd_bus_message_append(m, "sss", name, name, "") >= 0);
        else
                assert_true(sd_bus_message_append(m, "uss", 1U, name, "") >= 0);
        assert_true(sd_bus_send(f->base.client, m, NULL) >= 0);
        run_dry(f);
}

static void test_there(void **state) {
        Fixture *f = *state;

        assert_true(ask(f, 0) >= 0);
        run_dry(f);
        assert_int_equal(f->n_asked, 1);
        assert_int_equal(n_detached, 0);

        leave(f, "sss", ":1.3");
        assert_int_equal(n_detached, 0);
        leave(f, "uss", ":1.1");
        assert_int_equal(n_detached, 0);
        leave(f, "sss", ":1.1");
        assert_int_equal(n_detached, 1);
        assert_false(is_attached(f, 0));
}

static void test_gone(void **state) {
        Fixture *f = *state;

        f->answer = ANSWER_GONE;
        assert_true(ask(f, 1) >= 0);
        run_dry(f);
        assert_int_equal(n_detached, 1);
        assert_true(is_attached(f, 0));
        assert_false(is_attached(f, 1));
}

/* An owner is not given up because the bus has no answer. */
static void test_no_answer(void **state) {
        Fixture *f = *state;

        f->answer = ANSWER_ERROR;
        assert_true(ask(f, 0) >= 0);
        run_dry(f);
        f->answer = ANSWER_NONSENSE;
        assert_true(ask(f, 0) >= 0);
        run_dry(f);
        assert_int_equal(f->n_asked, 2);
        assert_int_equal(n_detached, 0);

        /* Nor is anything leaked that was asked and never answered. */
        assert_true(ask(f, 0) >= 0);
}

/* A connection to the same bus as before, and to another one. */
static void test_watch(void **state) {
        Fixture *f = *state;
        char bus_id[sizeof(f->base.model.bus_id)];
        sd_id128_t id;

        assert_true(sd_bus_get_bus_id(f->base.server, &id) >= 0);
        sd_id128_to_string(id, bus_id);
        strcpy(f->base.model.bus_id, bus_id);
        assert_true(bus_owner_watch(f->base.server, &f->base.model) >= 0);
        run_dry(f);
        assert_int_equal(f->n_asked, 2);
        assert_int_equal(n_detached, 0);

        f->base.model.bus_id[0] ^= 1;
        assert_true(bus_owner_watch(f->base.server, &f->base.model) >= 0);
        assert_int_equal(n_detached, 2);
        assert_string_equal(f->base.model.bus_id, bus_id);
        run_dry(f);
        assert_int_equal(f->n_asked, 2);

        f->base.model.registry = NULL;
        assert_true(bus_owner_watch(f->base.server, &f->base.model) >= 0);
        bus_owner_all_left(&f->base.model);
}

static void test_all_left(void **state) {
        Fixture *f = *state;

        bus_owner_all_left(&f->base.model);
        assert_int_equal(n_detached, 2);
}

/* What cannot be asked is told to whoever asked, and the next one is heard all the same. */
static void test_ask_fails(void **state) {
        unsigned n_failed = 0;
        Fixture *f = *state;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                f->base.model.listening = false;
                faults_begin(NULL, n, 1, -ENOMEM);
                assert_int_equal(ask(f, 0) < 0 ? -ENOMEM : 0, n_failed == 3 ? 0 : -ENOMEM);
                failed = faults_end();
                n_failed += failed;
        }
        assert_int_equal(n_failed, 3); /* a match, memory, a call */
        leave(f, "sss", ":1.1");
        assert_int_equal(n_detached, 1);
}

static void test_watch_fails(void **state) {
        Fixture *f = *state;

        faults_begin("sd_bus_get_bus_id", 1, 1, -ENOMEM);
        assert_int_equal(bus_owner_watch(f->base.server, &f->base.model), -ENOMEM);
        assert_int_equal(faults_end(), 1);
        assert_int_equal(n_detached, 0); /* which bus it is nobody knows */

        strcpy(f->base.model.bus_id, "");
        assert_true(bus_owner_watch(f->base.server, &f->base.model) >= 0);
        assert_int_equal(n_detached, 2);

        /* One of two. */
        f->base.registry.functions[0].facts.attached = true;
        f->base.registry.functions[1].facts.attached = true;
        faults_begin("malloc", 1, 1, -ENOMEM);
        assert_int_equal(bus_owner_watch(f->base.server, &f->base.model), -ENOMEM);
        assert_int_equal(faults_end(), 1);
        f->answer = ANSWER_GONE;
        run_dry(f);
        assert_int_equal(f->n_asked, 1);
        assert_true(is_attached(f, 0));
        assert_false(is_attached(f, 1));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST(test_there),    TEST(test_gone),      TEST(test_no_answer),   TEST(test_watch),
                TEST(test_all_left), TEST(test_ask_fails), TEST(test_watch_fails),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
