/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Answers that make no sense, ends in the middle, and more questions than there may be. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "polkit-fixture.h"

#define DENIED SD_BUS_ERROR_ACCESS_DENIED ": No permission for org.zpci.Errord1.claim: "
#define LIMIT  SD_BUS_ERROR_LIMITS_EXCEEDED ": "

static void assert_begins(const char *text, const char *beginning) {
        if (strncmp(text, beginning, strlen(beginning)) != 0)
                fail_msg("\"%s\" does not begin with \"%s\"", text, beginning);
}

static int answer_nothing(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, NULL);
}

static int answer_number(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "u", 0U);
}

static int answer_other_struct(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "(bb)", 1, 1);
}

static int identify_nobody(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "a{sv}", 1, "ProcessID", "u", 1U);
}

static int identify_invalid(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "a{sv}", 1, "UnixUserID", "u", UINT32_MAX);
}

static int identify_by_name(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "a{sv}", 1, "UnixUserID", "s", "root");
}

static int identify_gone(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_NAME_HAS_NO_OWNER, "Who is this?");
}

static int identify_without_pid(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "a{sv}", 1, "UnixUserID", "u", 0U);
}

static int identify_great_pid(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(
                m, "a{sv}", 2, "ProcessID", "u", UINT32_MAX, "UnixUserID", "u", 0U);
}

static void test_nonsense_of_polkit(void **state) {
        static const sd_bus_message_handler_t answers[] = {
                answer_nothing,
                answer_number,
                answer_other_struct,
        };
        PolkitFixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                f->fake.decide = answers[i];
                assert_string_equal(polkit_fixture_ask(f, SOMEONE, false),
                                    DENIED "the answer of polkit makes no sense");
        }
        assert_int_equal(f->n_allowed, 0);
        assert_int_equal(f->base.n_warnings, 1);
}

/* Whoever is not known is nobody, and never root. */
static void test_nonsense_of_the_bus(void **state) {
        static const sd_bus_message_handler_t answers[] = {
                answer_nothing,   answer_number,    identify_nobody,
                identify_invalid, identify_by_name, identify_gone,
        };
        PolkitFixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                f->fake.identify = answers[i];
                assert_string_equal(polkit_fixture_ask(f, ROOT, false),
                                    DENIED "the bus does not say whose call it is");
        }
        assert_int_equal(f->fake.n_decide, 0);
        assert_int_equal(f->n_allowed, 0);
}

static void test_no_pid(void **state) {
        static const sd_bus_message_handler_t answers[] = { identify_without_pid,
                                                            identify_great_pid };
        PolkitFixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                f->fake.identify = answers[i];
                assert_string_equal(polkit_fixture_ask(f, ROOT, false), "");
                assert_int_equal(f->caller.pid, 0);
        }
}

/* A connection without a bus has nobody who could say whose call it is. */
static void test_no_sender(void **state) {
        PolkitFixture *f = *state;

        assert_begins(polkit_fixture_ask(f, NULL, false), SD_BUS_ERROR_ACCESS_DENIED ": ");
        assert_int_equal(f->fake.n_identify, 0);
        assert_int_equal(f->n_allowed, 0);
}

static int identify_never(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return 1;
}

static bool is_identified_twice(void *userdata) {
        PolkitFixture *f = userdata;

        return f->fake.n_identify == 2;
}

static bool is_closed(void *userdata) {
        sd_bus *bus = userdata;

        return sd_bus_is_open(bus) <= 0;
}

/*
 * The connection ends, or the daemon does, while polkit ponders: nobody is allowed anything, nobody
 * is told anything, and it is nobody's fault.
 */
static void test_connection_ends(void **state) {
        sd_bus_message *answers[2] = { NULL, NULL };
        PolkitFixture *f = *state;

        f->fake.decide = NULL;
        polkit_fixture_call(f, SOMEONE, false, &answers[0]);
        polkit_fixture_call(f, SOMEONE, true, &answers[1]);
        polkit_fixture_wait_asked(f, 2);

        sd_bus_close(f->base.server);
        bus_fixture_wait(f->base.event, is_closed, f->base.client, "the end of the connection");
        while (sd_event_run(f->base.event, 0) > 0)
                ;
        polkit_forget(f->polkit);
        assert_int_equal(f->n_allowed, 0);
        assert_int_equal(f->base.n_warnings, 0);

        for (size_t i = 0; i < ELEMENTSOF(answers); i++)
                sd_bus_message_unref(answers[i]);
}

/* Questions of both kinds are open; nothing of them keeps the connection. */
static void test_forgotten(void **state) {
        sd_bus_message *answers[2] = { NULL, NULL };
        PolkitFixture *f = *state;

        f->fake.decide = NULL;
        polkit_fixture_call(f, SOMEONE, false, &answers[0]);
        polkit_fixture_wait_asked(f, 1);
        f->fake.identify = identify_never;
        polkit_fixture_call(f, SOMEONE, false, &answers[1]);
        bus_fixture_wait(f->base.event, is_identified_twice, f, "the bus to be asked");

        polkit_forget(f->polkit);
        f->base.client = sd_bus_unref(f->base.client); /* closes it, being the last reference */
        bus_fixture_wait(f->base.event, is_closed, f->base.server, "the end of the connection");
        assert_int_equal(f->n_allowed, 0);

        for (size_t i = 0; i < ELEMENTSOF(answers); i++)
                sd_bus_message_unref(answers[i]);
}

static int effect_forget(PolkitFixture *f, sd_bus_message *m, sd_bus_error *ret_error) {
        polkit_forget(f->polkit);
        return sd_bus_reply_method_return(m, NULL);
}

static void test_forgotten_from_within(void **state) {
        sd_bus_message *answers[2] = { NULL, NULL };
        PolkitFixture *f = *state;

        f->fake.decide = NULL;
        f->effect = effect_forget;
        polkit_fixture_call(f, SOMEONE, false, &answers[0]);
        polkit_fixture_call(f, SOMEONE, false, &answers[1]);
        polkit_fixture_wait_asked(f, 2);

        fake_polkit_answer(&f->fake, fake_polkit_yes);
        assert_string_equal(polkit_fixture_answer(f, &answers[0]), "");
        f->effect = NULL;
        assert_string_equal(polkit_fixture_ask(f, ROOT, false), ""); /* which overtakes nothing */
        assert_null(answers[1]);
        assert_int_equal(f->n_allowed, 2);
}

/* Fills a share of the open questions; what is too much is refused at once. */
static void ask_many(PolkitFixture *f, const char *sender, sd_bus_message **answers, unsigned n) {
        unsigned before = f->fake.n_decide;

        for (unsigned i = 0; i < n; i++) {
                answers[i] = NULL;
                polkit_fixture_call(f, sender, false, &answers[i]);
        }
        polkit_fixture_wait_asked(f, before + n);
}

static void test_limits(void **state) {
        sd_bus_message *answers[POLKIT_QUESTIONS_MAX];
        PolkitFixture *f = *state;
        char sender[32];

        f->fake.decide = NULL;
        ask_many(f, SOMEONE, answers, POLKIT_SENDER_QUESTIONS_MAX);
        assert_begins(polkit_fixture_ask(f, SOMEONE, false), LIMIT);   /* of the sender */
        assert_begins(polkit_fixture_ask(f, ":1000.2", false), LIMIT); /* of the user */
        assert_string_equal(polkit_fixture_ask(f, ROOT, false), "");

        for (unsigned n = POLKIT_SENDER_QUESTIONS_MAX; n < POLKIT_QUESTIONS_MAX;
             n += POLKIT_SENDER_QUESTIONS_MAX) {
                (void) snprintf(sender, sizeof(sender), ":%u.1", 1000 + n);
                ask_many(f, sender, answers + n, POLKIT_SENDER_QUESTIONS_MAX);
        }
        assert_begins(polkit_fixture_ask(f, ":5000.1", false), LIMIT); /* of all */

        fake_polkit_answer(&f->fake, fake_polkit_yes);
        for (unsigned i = 0; i < POLKIT_QUESTIONS_MAX; i++)
                assert_string_equal(polkit_fixture_answer(f, &answers[i]), "");
        assert_int_equal(f->n_allowed, POLKIT_QUESTIONS_MAX + 1);

        f->fake.decide = fake_polkit_yes;
        assert_string_equal(polkit_fixture_ask(f, SOMEONE, false), "");
        assert_int_equal(f->base.n_warnings, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, polkit_fixture_setup, polkit_fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_nonsense_of_polkit),
                TEST(test_nonsense_of_the_bus),
                TEST(test_no_pid),
                TEST(test_no_sender),
                TEST(test_connection_ends),
                TEST(test_forgotten),
                TEST(test_forgotten_from_within),
                TEST(test_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
