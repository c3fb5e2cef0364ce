/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The messages that polkit.c sends and gets. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "polkit.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"

typedef struct PolkitCheck {
        const char *sender;  /* who: a unique name on the bus */
        const char *action;  /* what */
        const char *address; /* of which function; NULL if it is about none, or about many */
        bool interactive;    /* somebody may be asked to authenticate */
} PolkitCheck;

typedef enum PolkitVerdict {
        POLKIT_NO,
        POLKIT_YES,
        POLKIT_CHALLENGE, /* if somebody authenticated */
} PolkitVerdict;

/*
 * Asks the bus for the credentials of a sender. As with sd_bus_call_async(), *ret_slot is what the
 * answer is waited for with. Returns 0 or an error of sd-bus.
 */
int polkit_wire_ask_caller(sd_bus *bus,
                           sd_bus_slot **ret_slot,
                           const char *sender,
                           sd_bus_message_handler_t callback,
                           void *userdata);
/*
 * Reads the answer. Returns 0, an error of sd-bus, or -ENODATA if the bus knows no user of the
 * sender.
 */
int polkit_wire_read_caller(sd_bus_message *answer, PolkitCaller *ret);

/* Asks polkit. Returns 0 or an error of sd-bus. */
int polkit_wire_ask_verdict(sd_bus *bus,
                            sd_bus_slot **ret_slot,
                            const PolkitCheck *check,
                            sd_bus_message_handler_t callback,
                            void *userdata);
/* Reads the answer. Returns 0 or an error of sd-bus. */
int polkit_wire_read_verdict(sd_bus_message *answer, PolkitVerdict *ret);

/*
 * Whether this error of a call says that there is no polkit on this host, rather than one that does
 * not work: nobody has its name, or it cannot be started. (polkit says the same of a sender that has
 * left the bus meanwhile; then nobody is there to be told anything.)
 */
bool polkit_wire_is_absent(const sd_bus_error *error);
