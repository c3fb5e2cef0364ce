/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>

#include "bus-connection.h"
#include "bus-function.h"
#include "bus-job.h"
#include "bus-log-control.h"
#include "bus-manager.h"
#include "bus-owner.h"
#include "bus-pump.h"
#include "bus.h"

#define QUEUE_MAX   4096U /* messages in our own memory; a bus that lets it come to this hangs */
#define FINISH_USEC (1 * USEC_PER_SEC)
#define PAUSE_USEC  (10 * USEC_PER_MSEC)

struct Bus {
        Log *log;
        BusModel model;
        BusListener listener;
        BusConnection *connection;
        BusPump *pump;
        BusJob *job;
        sd_bus *bus; /* the connection's, while the name is ours */
        bool ready;  /* the listener was told */
};

static void bus_say_ready(Bus *bus, bool connected) {
        if (bus->ready)
                return;

        bus->ready = true;
        bus->listener.ready(connected, bus->listener.userdata);
}

static int on_connecting(sd_bus *connection, void *userdata) {
        Bus *bus = userdata;
        int r;

        assert(bus);

        r = bus_manager_add(connection, &bus->model);
        if (r < 0)
                return r;

        r = bus_function_add(connection, &bus->model);
        if (r < 0)
                return r;

        return bus_log_control_add(connection, bus->log);
}

static void on_owned(sd_bus *connection, void *userdata) {
        Bus *bus = userdata;
        int r;

        assert(bus);

        bus->bus = connection;

        for (size_t i = 0; bus->model.registry && i < registry_size(bus->model.registry); i++)
                bus_function_added(bus, registry_get(bus->model.registry, i));
        if (!bus->bus)
                return; /* too slow a reader */

        bus_pump_set_connection(bus->pump, connection);
        bus_say_ready(bus, true);

        r = bus_owner_watch(connection, &bus->model);
        if (r < 0)
                (void) log_warning(
                        bus->log, r, "Cannot learn whether owners of devices leave the bus");
}

static void on_away(void *userdata) {
        Bus *bus = userdata;

        assert(bus);

        bus->bus = NULL;
        bus_pump_set_connection(bus->pump, NULL);
        polkit_forget(bus->model.polkit);
        bus_say_ready(bus, false);
        bus_owner_all_left(&bus->model);
}

static void on_name_taken(void *userdata) {
        Bus *bus = userdata;

        assert(bus);

        bus->listener.name_taken(bus->listener.userdata);
}

/*
 * Whether signals about objects can be sent. What subscribers miss they learn when the name comes
 * back.
 */
static bool bus_can_emit(Bus *bus) {
        uint64_t n;

        if (!bus->bus || !bus->model.registry)
                return false;
        if (sd_bus_get_n_queued_write(bus->bus, &n) >= 0 && n < QUEUE_MAX)
                return true;

        bus_connection_drop(bus->connection, "The system bus takes no messages");
        return false;
}

static void bus_check(Bus *bus, int error, const Function *function, const char *what) {
        if (error < 0 && sd_bus_is_open(bus->bus) > 0)
                (void) log_warning(bus->log,
                                   error,
                                   "%s: cannot tell the bus that it %s",
                                   function->sysfs.address,
                                   what);
}

void bus_set_registry(Bus *bus, Registry *registry) {
        assert(bus);

        bus->model.registry = registry;
}

void bus_set_observer(Bus *bus, const Observer *observer) {
        assert(bus);

        bus->model.observer = observer;
}

void bus_function_added(Bus *bus, Function *function) {
        assert(bus);
        assert(function);

        if (bus_can_emit(bus))
                bus_check(bus, bus_function_emit_added(bus->bus, function), function, "appeared");
}

void bus_function_removing(Bus *bus, Function *function) {
        assert(bus);
        assert(function);

        if (bus_can_emit(bus))
                bus_check(bus,
                          bus_function_emit_removed(bus->bus, function),
                          function,
                          "disappeared");
}

void bus_function_changed(Bus *bus, Function *function, FunctionChange what) {
        assert(bus);
        assert(function);

        /*
         * A function that has left the registry lives on until its device is closed, without an
         * object.
         */
        if (bus_can_emit(bus) &&
            registry_by_fid(bus->model.registry, function->sysfs.fid) == function)
                bus_check(bus,
                          bus_function_emit_changed(bus->bus, function, what),
                          function,
                          "changed");
}

void bus_ask_restart(Bus *bus, void (*answer)(bool restart, void *userdata), void *userdata) {
        const BusJobListener listener = { .answer = answer, .userdata = userdata };

        assert(bus);
        assert(answer);
        assert(!bus->job);

        if (!bus->bus || bus_job_ask(bus->bus, &listener, &bus->job) < 0)
                answer(true, userdata);
}

uint64_t bus_finish(Bus *bus) {
        uint64_t deadline, n_before, n_entries = UINT64_MAX, n_messages;
        int r;

        assert(bus);

        deadline = now_usec(CLOCK_MONOTONIC) + FINISH_USEC;
        for (;;) {
                n_before = n_entries;
                n_entries = bus_pump_run(bus->pump);
                if (!bus->bus || sd_bus_get_n_queued_write(bus->bus, &n_messages) < 0)
                        break;

                if ((n_entries == 0 && n_messages == 0) || now_usec(CLOCK_MONOTONIC) >= deadline)
                        break;

                r = sd_bus_process(bus->bus, NULL);
                /* The socket is full, or memory is short. */
                if (r == 0 && (n_messages > 0 || n_entries == n_before))
                        r = sd_bus_wait(bus->bus, PAUSE_USEC);
                if (r < 0)
                        break;
        }

        return n_entries;
}

const char *bus_id(const Bus *bus) {
        assert(bus);

        return bus->model.bus_id;
}

int bus_new(const BusContext *context, const BusListener *listener, Bus **ret) {
        _cleanup_(bus_freep) Bus *bus = NULL;
        int r;

        assert(context);
        assert(listener);
        assert(ret);

        bus = calloc(1, sizeof(*bus));
        if (!bus)
                return -ENOMEM;

        bus->log = context->log;
        bus->listener = *listener;
        bus->model = (BusModel){
                .ring = context->ring,
                .inhibitors = context->inhibitors,
                .worker = context->worker,
                .log = context->log,
        };
        (void) snprintf(bus->model.bus_id, sizeof(bus->model.bus_id), "%s", context->former_bus_id);

        r = polkit_new(context->log, &bus->model.polkit);
        if (r < 0)
                return r;
        r = bus_pump_new(context->event, context->ring, context->log, &bus->pump);
        if (r < 0)
                return r;

        r = bus_connection_new(context->event,
                               context->log,
                               &(BusConnectionListener){
                                       .connecting = on_connecting,
                                       .owned = on_owned,
                                       .away = on_away,
                                       .name_taken = on_name_taken,
                                       .userdata = bus,
                               },
                               &bus->connection);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(bus);
        return 0;
}

Bus *bus_free(Bus *bus) {
        if (!bus)
                return NULL;

        bus->pump = bus_pump_free(bus->pump);
        bus->job = bus_job_free(bus->job);
        bus->model.polkit = polkit_free(bus->model.polkit);
        bus->connection = bus_connection_free(bus->connection);
        free(bus);
        return NULL;
}
