/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A method that only some may call, at one end of a connection; the bus and polkit at the other. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "bus-fixture.h"
#include "fake-polkit.h"
#include "polkit.h"

#define ROOT    ":0.1"
#define SOMEONE ":1000.1"
#define ADDRESS "0001:00:00.0"

typedef struct PolkitFixture {
        BusFixture base; /* the client is the daemon, the server the bus */
        FakePolkit fake; /* polkit says yes at first */
        Polkit *polkit;

        /* What a caller is allowed to do; if NULL, it replies. */
        int (*effect)(struct PolkitFixture *f, sd_bus_message *call, sd_bus_error *ret_error);
        const char *address; /* of the question */
        unsigned n_allowed;
        PolkitCaller caller; /* of the last call that was allowed */
} PolkitFixture;

/* For cmocka: *state is a PolkitFixture. */
int polkit_fixture_setup(void **state);
int polkit_fixture_teardown(void **state);

/* Somebody calls the method. *answer, which is NULL, is set when the reply comes. */
void polkit_fixture_call(PolkitFixture *f,
                         const char *sender,
                         bool interactive,
                         sd_bus_message **answer);
/* Waits for the reply. Returns "ERROR: TEXT", or "" if it is no error. */
const char *polkit_fixture_answer(PolkitFixture *f, sd_bus_message **answer);
/* Both. */
const char *polkit_fixture_ask(PolkitFixture *f, const char *sender, bool interactive);

/* Waits until polkit was asked so many questions. */
void polkit_fixture_wait_asked(PolkitFixture *f, unsigned n);
