/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whom polkit lets, and what the others are told. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "names.h"
#include "polkit-fixture.h"

static void assert_begins(const char *text, const char *beginning) {
        if (strncmp(text, beginning, strlen(beginning)) != 0)
                fail_msg("\"%s\" does not begin with \"%s\"", text, beginning);
}

#define DENIED SD_BUS_ERROR_ACCESS_DENIED ": No permission for org.zpci.Errord1.claim: "

static void test_root(void **state) {
        PolkitFixture *f = *state;

        assert_string_equal(polkit_fixture_ask(f, ROOT, false), "");
        assert_int_equal(f->n_allowed, 1);
        assert_int_equal(f->caller.uid, 0);
        assert_int_equal(f->caller.pid, FAKE_POLKIT_PID);
        assert_int_equal(f->fake.n_identify, 1);
        assert_int_equal(f->fake.n_decide, 0);
}

static void test_yes(void **state) {
        PolkitFixture *f = *state;

        assert_string_equal(polkit_fixture_ask(f, SOMEONE, false), "");
        assert_int_equal(f->n_allowed, 1);
        assert_int_equal(f->caller.uid, 1000);
        assert_int_equal(f->caller.pid, FAKE_POLKIT_PID);
        assert_string_equal(f->fake.asked, SOMEONE " org.zpci.Errord1.claim " ADDRESS " 0");

        f->address = NULL;
        assert_string_equal(polkit_fixture_ask(f, SOMEONE, true), "");
        assert_string_equal(f->fake.asked, SOMEONE " org.zpci.Errord1.claim - 1");
}

static void test_no(void **state) {
        PolkitFixture *f = *state;

        f->fake.decide = fake_polkit_no;
        assert_string_equal(polkit_fixture_ask(f, SOMEONE, true), DENIED "polkit says no");
        assert_int_equal(f->n_allowed, 0);
        assert_int_equal(f->base.n_warnings, 0);
}

static void test_challenge(void **state) {
        PolkitFixture *f = *state;

        f->fake.decide = fake_polkit_challenge;
        assert_begins(polkit_fixture_ask(f, SOMEONE, false),
                      SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED
                      ": polkit wants authentication for org.zpci.Errord1.claim, which the call");
        assert_begins(polkit_fixture_ask(f, SOMEONE, true),
                      SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED
                      ": polkit wants authentication for org.zpci.Errord1.claim, and found no");
        assert_int_equal(f->n_allowed, 0);
        assert_int_equal(f->base.n_warnings, 0);
}

static const char *error_name, *error_text;

static int decide_error(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_errorf(m, error_name, "%s", error_text);
}

static void test_absent(void **state) {
        static const char *const names[] = {
                SD_BUS_ERROR_SERVICE_UNKNOWN,
                SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                "org.freedesktop.DBus.Error.Spawn.ChildExited",
                "org.freedesktop.systemd1.NoSuchUnit",
                "org.freedesktop.systemd1.UnitMasked",
        };
        PolkitFixture *f = *state;

        f->fake.decide = decide_error;
        error_text = "as the test wants it";
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                error_name = names[i];
                assert_begins(polkit_fixture_ask(f, SOMEONE, true),
                              DENIED "only root may, as there is no polkit");
        }
        assert_string_equal(polkit_fixture_ask(f, ROOT, false), "");
        assert_int_equal(f->n_allowed, 1);
        assert_int_equal(f->base.n_warnings, 0); /* as somebody wants it */
}

/* A polkit that does not do its duty is told of once, until it did. */
static void test_failing(void **state) {
        PolkitFixture *f = *state;

        f->fake.decide = decide_error;
        error_name = "org.freedesktop.PolicyKit1.Error.NotAuthorized";
        error_text = "Only trusted callers";
        for (unsigned i = 0; i < 3; i++)
                assert_begins(polkit_fixture_ask(f, SOMEONE, false),
                              DENIED "polkit cannot be asked");
        assert_int_equal(f->base.n_warnings, 1);
        assert_string_equal(f->base.last_warning,
                            "MESSAGE=polkit does not say who may do org.zpci.Errord1.claim, "
                            "so only root may: Only trusted callers "
                            "(is org.zpci.Errord1.policy installed as it came?)");

        f->fake.decide = fake_polkit_yes;
        assert_string_equal(polkit_fixture_ask(f, SOMEONE, false), "");

        f->fake.decide = decide_error;
        error_name = SD_BUS_ERROR_NO_REPLY;
        error_text = "Method call timed out";
        assert_begins(polkit_fixture_ask(f, SOMEONE, true), DENIED "nobody authenticated in time");
        assert_int_equal(f->base.n_warnings, 1);
        assert_begins(polkit_fixture_ask(f, SOMEONE, false), DENIED "polkit cannot be asked");
        assert_int_equal(f->base.n_warnings, 2);
        assert_string_equal(f->base.last_warning,
                            "MESSAGE=polkit does not say who may do org.zpci.Errord1.claim, "
                            "so only root may: Method call timed out");
        assert_int_equal(f->n_allowed, 1);
}

static int effect_late(PolkitFixture *f, sd_bus_message *m, sd_bus_error *ret_error) {
        return sd_bus_error_set(ret_error, ERRORD_ERROR_NO_FUNCTION, "It is gone.");
}

static int effect_errno(PolkitFixture *f, sd_bus_message *m, sd_bus_error *ret_error) {
        return -EINVAL;
}

static int effect_set_only(PolkitFixture *f, sd_bus_message *m, sd_bus_error *ret_error) {
        (void) effect_late(f, m, ret_error);
        return 0;
}

/* What was there when the call came may be gone when the answer does. */
static void test_late(void **state) {
        sd_bus_message *answer = NULL;
        PolkitFixture *f = *state;

        f->fake.decide = NULL;
        polkit_fixture_call(f, SOMEONE, true, &answer);
        polkit_fixture_wait_asked(f, 1);
        assert_null(answer);
        assert_int_equal(f->n_allowed, 0);

        f->effect = effect_late;
        fake_polkit_answer(&f->fake, fake_polkit_yes);
        assert_string_equal(polkit_fixture_answer(f, &answer),
                            ERRORD_ERROR_NO_FUNCTION ": It is gone.");

        f->effect = effect_errno;
        assert_begins(polkit_fixture_ask(f, ROOT, false), SD_BUS_ERROR_INVALID_ARGS ": ");
        f->effect = effect_set_only;
        assert_string_equal(polkit_fixture_ask(f, ROOT, false),
                            ERRORD_ERROR_NO_FUNCTION ": It is gone.");
        assert_int_equal(f->n_allowed, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, polkit_fixture_setup, polkit_fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_root),   TEST(test_yes),     TEST(test_no),   TEST(test_challenge),
                TEST(test_absent), TEST(test_failing), TEST(test_late),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
