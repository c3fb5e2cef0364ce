/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake-polkit.h"
#include "util.h"

static int method_credentials(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        FakePolkit *fake = userdata;
        const char *sender;

        assert_true(sd_bus_message_is_method_call(
                m, "org.freedesktop.DBus", "GetConnectionCredentials"));
        fake->n_identify++;
        if (fake->identify)
                return fake->identify(m, fake, ret_error);

        assert_true(sd_bus_message_read(m, "s", &sender) > 0);
        assert_int_equal(sender[0], ':');
        return sd_bus_reply_method_return(m,
                                          "a{sv}",
                                          4,
                                          "UnixGroupIDs",
                                          "au",
                                          2,
                                          4U,
                                          1000U,
                                          "ProcessID",
                                          "u",
                                          FAKE_POLKIT_PID,
                                          "UnixUserID",
                                          "u",
                                          (uint32_t) strtoul(sender + 1, NULL, 10),
                                          "LinuxSecurityLabel",
                                          "ay",
                                          2,
                                          'x',
                                          0);
}

static int method_check(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *kind, *key, *sender, *action, *detail, *address = "-", *cancel;
        FakePolkit *fake = userdata;
        uint32_t flags;

        assert_true(sd_bus_message_is_method_call(
                m, "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization"));
        assert_true(sd_bus_message_read(m, "(sa{sv})s", &kind, 1, &key, "s", &sender, &action) > 0);
        assert_string_equal(kind, "system-bus-name");
        assert_string_equal(key, "name");
        assert_true(sd_bus_message_enter_container(m, 'a', "{ss}") >= 0);
        while (sd_bus_message_read(m, "{ss}", &detail, &address) > 0)
                assert_string_equal(detail, "address");
        assert_true(sd_bus_message_exit_container(m) >= 0);
        assert_true(sd_bus_message_read(m, "us", &flags, &cancel) > 0);
        assert_string_equal(cancel, "");

        fake->n_decide++;
        (void) snprintf(fake->asked,
                        sizeof(fake->asked),
                        "%s %s %s %u",
                        sender,
                        action,
                        address,
                        (unsigned) flags);

        if (fake->decide)
                return fake->decide(m, fake, ret_error);

        assert_true(fake->n_held < ELEMENTSOF(fake->held));
        fake->held[fake->n_held++] = sd_bus_message_ref(m);
        return 1;
}

/* No vtables, since sd-bus would not let answers pass that are not of the right type. */
void fake_polkit_setup(FakePolkit *fake, sd_bus *peer) {
        assert_true(sd_bus_add_object(
                            peer, NULL, "/org/freedesktop/DBus", method_credentials, fake) >= 0);
        assert_true(
                sd_bus_add_object(
                        peer, NULL, "/org/freedesktop/PolicyKit1/Authority", method_check, fake) >=
                0);
}

void fake_polkit_teardown(FakePolkit *fake) {
        while (fake->n_held > 0)
                sd_bus_message_unref(fake->held[--fake->n_held]);
}

void fake_polkit_answer(FakePolkit *fake, sd_bus_message_handler_t decide) {
        for (unsigned i = 0; i < fake->n_held; i++)
                assert_true(decide(fake->held[i], fake, NULL) >= 0);
        fake_polkit_teardown(fake);
}

int fake_polkit_yes(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(
                m, "(bba{ss})", 1, 0, 1, "polkit.temporary_authorization_id", "tmpauthz0");
}

int fake_polkit_no(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "(bba{ss})", 0, 0, 0);
}

int fake_polkit_challenge(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "(bba{ss})", 0, 1, 1, "polkit.retains", "1");
}
