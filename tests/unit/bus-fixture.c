/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus-function.h"
#include "bus-log-control.h"
#include "bus-manager.h"

#define PATIENCE_USEC (50 * USEC_PER_SEC)

Function *registry_by_fid(const Registry *registry, uint32_t fid) {
        for (size_t i = 0; i < registry->n; i++)
                if (registry->functions[i].sysfs.fid == fid)
                        return (Function *) &registry->functions[i];
        return NULL;
}

Function *registry_by_address(const Registry *registry, const char *address) {
        for (size_t i = 0; i < registry->n; i++)
                if (strcmp(registry->functions[i].sysfs.address, address) == 0)
                        return (Function *) &registry->functions[i];
        return NULL;
}

Function *registry_by_handle(const Registry *registry, uint32_t fh) {
        for (size_t i = 0; i < registry->n; i++)
                if (registry->functions[i].sysfs.fh == fh)
                        return (Function *) &registry->functions[i];
        return NULL;
}

size_t registry_size(const Registry *registry) {
        return registry->n;
}

Function *registry_get(const Registry *registry, size_t index) {
        assert_true(index < registry->n);
        return (Function *) &registry->functions[index];
}

static bool has(const struct iovec *field, const char *prefix) {
        return field->iov_len >= strlen(prefix) &&
               memcmp(field->iov_base, prefix, strlen(prefix)) == 0;
}

static void remember(const struct iovec *fields, size_t n_fields, void *userdata) {
        BusFixture *fixture = userdata;
        bool bad = false;

        for (size_t i = 0; i < n_fields; i++)
                bad |= has(&fields[i], "PRIORITY=4") || has(&fields[i], "PRIORITY=3");
        if (!bad)
                return;

        fixture->n_warnings++;
        for (size_t i = 0; i < n_fields; i++)
                if (has(&fields[i], "MESSAGE="))
                        (void) snprintf(fixture->last_warning,
                                        sizeof(fixture->last_warning),
                                        "%.*s",
                                        (int) fields[i].iov_len,
                                        (const char *) fields[i].iov_base);
}

static void on_inhibitors_changed(Inhibitors *inhibitors, void *userdata) {
}

void bus_fixture_setup(BusFixture *fixture, uint32_t slots) {
        RingOrigin origin;

        memset(fixture, 0, sizeof(*fixture));
        assert_true(sd_event_new(&fixture->event) >= 0);
        assert_int_equal(ring_open(-EBADF, slots, &fixture->ring, &origin), 0);
        assert_int_equal(log_new(&fixture->log), 0);
        assert_int_equal(fdstore_new(fixture->event, &(FdStoreListener){ 0 }, &fixture->store), 0);
        assert_int_equal(inhibitors_new(fixture->event,
                                        fixture->store,
                                        &(InhibitorsListener){ .changed = on_inhibitors_changed },
                                        &fixture->inhibitors),
                         0);
        fixture->context = (FunctionContext){ .inhibitors = fixture->inhibitors };
        log_set_sink(fixture->log, remember, fixture);
        log_set_target(fixture->log, LOG_TARGET_JOURNAL);
}

void bus_fixture_teardown(BusFixture *fixture) {
        sd_bus_close_unref(fixture->client);
        sd_bus_close_unref(fixture->server);
        inhibitors_free(fixture->inhibitors);
        fdstore_free(fixture->store);
        ring_free(fixture->ring);
        log_free(fixture->log);
        assert_null(sd_event_unref(fixture->event));
}

Function *bus_fixture_add(BusFixture *fixture) {
        Function *f = &fixture->registry.functions[fixture->registry.n];
        unsigned n = (unsigned) fixture->registry.n;

        assert_true(n < ELEMENTSOF(fixture->registry.functions));

        *f = (Function){
                .context = &fixture->context,
                .sysfs = {
                        .driver = "vfio-pci",
                        .vfio_bound = true,
                        .fid = 0x10U + n,
                        .fh = 0x80020000U + n,
                        .uid = 1U + n,
                        .pchid = 0x104,
                        .vfn = 3,
                        .pfgid = 2,
                        .pft = 0x0b,
                },
                .state = FUNCTION_OBSERVED,
                .reason = "policy",
        };
        (void) snprintf(f->sysfs.address, sizeof(f->sysfs.address), "%04x:00:00.0", n + 1);
        fixture->registry.n++;
        return f;
}

void bus_fixture_wait(sd_event *event,
                      bool (*condition)(void *userdata),
                      void *userdata,
                      const char *what) {
        uint64_t now, end = now_usec(CLOCK_MONOTONIC) + PATIENCE_USEC;

        while (!condition(userdata)) {
                now = now_usec(CLOCK_MONOTONIC);
                if (now >= end)
                        fail_msg("waited %u s for %s",
                                 (unsigned) (PATIENCE_USEC / USEC_PER_SEC),
                                 what);
                assert_true(sd_event_run(event, end - now) >= 0);
        }
}

void bus_fixture_connect(BusFixture *fixture) {
        sd_id128_t id;
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
                         0);
        assert_true(sd_id128_randomize(&id) >= 0);

        assert_true(sd_bus_new(&fixture->server) >= 0);
        assert_true(sd_bus_set_fd(fixture->server, fds[0], fds[0]) >= 0);
        assert_true(sd_bus_set_server(fixture->server, 1, id) >= 0);
        assert_true(sd_bus_attach_event(
                            fixture->server, fixture->event, SD_EVENT_PRIORITY_NORMAL) >= 0);

        assert_true(sd_bus_new(&fixture->client) >= 0);
        assert_true(sd_bus_set_fd(fixture->client, fds[1], fds[1]) >= 0);
        assert_true(sd_bus_attach_event(
                            fixture->client, fixture->event, SD_EVENT_PRIORITY_NORMAL) >= 0);

        assert_true(sd_bus_start(fixture->server) >= 0);
        assert_true(sd_bus_start(fixture->client) >= 0);
}

void bus_fixture_export(BusFixture *fixture) {
        fixture->model = (BusModel){ .registry = &fixture->registry, .ring = fixture->ring };
        assert_true(bus_manager_add(fixture->server, &fixture->model) >= 0);
        assert_true(bus_function_add(fixture->server, &fixture->model) >= 0);
        assert_true(bus_log_control_add(fixture->server, fixture->log) >= 0);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        sd_bus_message **answer = userdata;

        *answer = sd_bus_message_ref(m);
        return 1;
}

static bool answered(void *userdata) {
        sd_bus_message **answer = userdata;

        return *answer;
}

sd_bus_message *bus_fixture_call(BusFixture *fixture,
                                 const char *path,
                                 const char *interface,
                                 const char *member,
                                 const char *types,
                                 ...) {
        sd_bus_message *call = NULL, *answer = NULL;
        va_list ap;

        assert_true(sd_bus_message_new_method_call(
                            fixture->client, &call, NULL, path, interface, member) >= 0);
        va_start(ap, types);
        assert_true(sd_bus_message_appendv(call, types, ap) >= 0);
        va_end(ap);

        assert_true(sd_bus_call_async(
                            fixture->client, NULL, call, on_answer, &answer, UINT64_MAX) >= 0);
        bus_fixture_wait(fixture->event, answered, &answer, member);
        sd_bus_message_unref(call);
        return answer;
}

int bus_fixture_setup_objects(void **state) {
        BusFixture *fixture = malloc(sizeof(*fixture));

        assert_non_null(fixture);
        bus_fixture_setup(fixture, 2048);
        bus_fixture_add(fixture);
        bus_fixture_connect(fixture);
        bus_fixture_export(fixture);
        *state = fixture;
        return 0;
}

int bus_fixture_teardown_objects(void **state) {
        BusFixture *fixture = *state;

        bus_fixture_teardown(fixture);
        free(fixture);
        return 0;
}
