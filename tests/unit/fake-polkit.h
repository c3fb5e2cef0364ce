/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The bus and polkit, as far as they are asked about the senders of calls, at the other end of a
 * connection. The user of a sender is in its name: :1000.1 is the first connection of the user 1000.
 */

#include <systemd/sd-bus.h>

#define FAKE_POLKIT_PID 4242U

typedef struct FakePolkit {
        sd_bus_message_handler_t identify; /* answers instead of the bus, if not NULL */
        sd_bus_message_handler_t decide;   /* answers as polkit; NULL: holds the question */

        unsigned n_identify, n_decide; /* how often each was asked */
        char asked[256];               /* "SENDER ACTION ADDRESS FLAGS" of the last question */
        sd_bus_message *held[512];
        unsigned n_held;
} FakePolkit;

/* fake is zero. Adds itself to the end of a connection. */
void fake_polkit_setup(FakePolkit *fake, sd_bus *peer);
void fake_polkit_teardown(FakePolkit *fake);

/* Answers all questions that are held. */
void fake_polkit_answer(FakePolkit *fake, sd_bus_message_handler_t decide);

/* Answers of polkit. */
int fake_polkit_yes(sd_bus_message *m, void *userdata, sd_bus_error *ret_error);
int fake_polkit_no(sd_bus_message *m, void *userdata, sd_bus_error *ret_error);
int fake_polkit_challenge(sd_bus_message *m, void *userdata, sd_bus_error *ret_error);
