/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "names.h"
#include "polkit-fixture.h"

#define OBJECT "/object"
#define FACE   "org.example.Face"

static int on_allowed(sd_bus_message *call,
                      const PolkitCaller *caller,
                      void *userdata,
                      sd_bus_error *ret_error) {
        PolkitFixture *f = userdata;

        f->n_allowed++;
        f->caller = *caller;
        return f->effect ? f->effect(f, call, ret_error) : sd_bus_reply_method_return(call, NULL);
}

static int method_do(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        PolkitFixture *f = userdata;
        char address[] = ADDRESS; /* gone when the answer comes */
        int r;

        r = polkit_ask(f->polkit,
                       m,
                       &(PolkitQuestion){
                               .action = ERRORD_ACTION_CLAIM,
                               .address = f->address ? address : NULL,
                               .allowed = on_allowed,
                               .userdata = f,
                       });
        memset(address, 'x', sizeof(address) - 1);
        return r;
}

static const sd_bus_vtable daemon_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Do", "", "", method_do, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static bool is_connected(void *userdata) {
        PolkitFixture *f = userdata;

        return sd_bus_is_ready(f->base.client) > 0;
}

int polkit_fixture_setup(void **state) {
        PolkitFixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        bus_fixture_setup(&f->base, 64);
        bus_fixture_connect(&f->base);
        fake_polkit_setup(&f->fake, f->base.server);
        f->fake.decide = fake_polkit_yes;
        f->address = ADDRESS;
        assert_int_equal(polkit_new(f->base.log, &f->polkit), 0);
        assert_true(sd_bus_add_object_vtable(
                            f->base.client, NULL, OBJECT, FACE, daemon_vtable, f) >= 0);
        /* A message right behind the handshake, which no bus sends, would wait for the next one. */
        bus_fixture_wait(f->base.event, is_connected, f, "the connection");
        *state = f;
        return 0;
}

int polkit_fixture_teardown(void **state) {
        PolkitFixture *f = *state;

        fake_polkit_teardown(&f->fake);
        f->polkit = polkit_free(f->polkit);
        bus_fixture_teardown(&f->base);
        free(f);
        return 0;
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        sd_bus_message **answer = userdata;

        *answer = sd_bus_message_ref(m);
        return 0;
}

void polkit_fixture_call(PolkitFixture *f,
                         const char *sender,
                         bool interactive,
                         sd_bus_message **answer) {
        sd_bus_message *m = NULL;

        assert_true(sd_bus_message_new_method_call(f->base.server, &m, NULL, OBJECT, FACE, "Do") >=
                    0);
        if (sender)
                assert_true(sd_bus_message_set_sender(m, sender) >= 0);
        assert_true(sd_bus_message_set_allow_interactive_authorization(m, interactive) >= 0);
        assert_true(sd_bus_call_async(f->base.server, NULL, m, on_answer, answer, UINT64_MAX) >= 0);
        sd_bus_message_unref(m);
}

static bool is_answered(void *userdata) {
        sd_bus_message **answer = userdata;

        return *answer;
}

const char *polkit_fixture_answer(PolkitFixture *f, sd_bus_message **answer) {
        static char text[512];
        const sd_bus_error *error;

        bus_fixture_wait(f->base.event, is_answered, answer, "the reply");
        error = sd_bus_message_get_error(*answer);
        text[0] = 0;
        if (error)
                (void) snprintf(text, sizeof(text), "%s: %s", error->name, error->message);
        sd_bus_message_unref(TAKE_PTR(*answer));
        return text;
}

const char *polkit_fixture_ask(PolkitFixture *f, const char *sender, bool interactive) {
        sd_bus_message *answer = NULL;

        polkit_fixture_call(f, sender, interactive, &answer);
        return polkit_fixture_answer(f, &answer);
}

typedef struct Asked {
        PolkitFixture *f;
        unsigned n;
} Asked;

static bool is_asked(void *userdata) {
        Asked *asked = userdata;

        return asked->f->fake.n_decide >= asked->n;
}

void polkit_fixture_wait_asked(PolkitFixture *f, unsigned n) {
        bus_fixture_wait(f->base.event, is_asked, &(Asked){ f, n }, "polkit to be asked");
}
