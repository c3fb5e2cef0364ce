/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the bus shows, in place of the floors below it: functions that are plain structs, a ring,
 * and a log that remembers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "bus-model.h"
#include "log.h"
#include "registry.h"
#include "ring.h"

struct Registry {
        Function functions[600];
        size_t n; /* in the order of FIDs */
};

typedef struct BusFixture {
        sd_event *event;
        Ring *ring;
        FdStore *store;
        Inhibitors *inhibitors;
        FunctionContext context;
        Log *log;
        Registry registry;
        BusModel model;
        sd_bus *server, *client;
        unsigned n_warnings; /* and worse */
        char last_warning[512];
} BusFixture;

void bus_fixture_setup(BusFixture *fixture, uint32_t slots);
/* Nothing else may refer to the event loop any more. */
void bus_fixture_teardown(BusFixture *fixture);

/* Adds "0001:00:00.0" with FID 0x10, then "0002:00:00.0" with FID 0x11, … */
Function *bus_fixture_add(BusFixture *fixture);

/* Runs the event loop until condition(userdata) holds; fails with what it waited for after 50 s. */
void bus_fixture_wait(sd_event *event,
                      bool (*condition)(void *userdata),
                      void *userdata,
                      const char *what);

/* Makes server and client: the ends of a connection without a bus between them. */
void bus_fixture_connect(BusFixture *fixture);
/* Adds all objects to the server's end. */
void bus_fixture_export(BusFixture *fixture);

/* Calls a method of the server's. Returns the answer, which may be an error. */
sd_bus_message *bus_fixture_call(BusFixture *fixture,
                                 const char *path,
                                 const char *interface,
                                 const char *member,
                                 const char *types,
                                 ...);

/* For the two functions of cmocka: a fixture with one function, connected and exported. */
int bus_fixture_setup_objects(void **state);
int bus_fixture_teardown_objects(void **state);
