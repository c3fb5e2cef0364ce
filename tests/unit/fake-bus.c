/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "fake-bus.h"
#include "names.h"
#include "util.h"

static int method_hello(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return sd_bus_reply_method_return(m, "s", ":1.1");
}

static int method_request_name(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        FakeBus *b = userdata;
        const char *name;
        uint32_t flags;

        assert_true(sd_bus_message_read(m, "su", &name, &flags) > 0);
        assert_string_equal(name, ERRORD_BUS_NAME);
        assert_int_equal(flags, 4); /* DBUS_NAME_FLAG_DO_NOT_QUEUE */
        b->n_requests++;

        if (b->name_error)
                return sd_bus_error_set(ret_error, b->name_error, "as the test wants it");
        if (b->n_name_exists > 0) {
                b->n_name_exists--;
                return sd_bus_reply_method_return(m, "u", 3U);
        }
        return sd_bus_reply_method_return(m, "u", 1U);
}

static const sd_bus_vtable driver_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Hello", "", "s", method_hello, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("RequestName", "su", "u", method_request_name, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static void take_changed(FakeBus *b, sd_bus_message *m) {
        const char *interface, *property;

        b->n_changed++;
        b->changed[0] = 0;
        assert_true(sd_bus_message_read(m, "s", &interface) > 0);
        assert_string_equal(interface, ERRORD_FUNCTION_INTERFACE);
        assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                assert_true(sd_bus_message_read(m, "s", &property) > 0);
                assert_true(strlen(b->changed) + strlen(property) + 2 < sizeof(b->changed));
                strcat(strcat(b->changed, property), " ");
                assert_true(sd_bus_message_skip(m, "v") > 0);
                assert_true(sd_bus_message_exit_container(m) >= 0);
        }
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        FakeBus *b = userdata;

        /* Here, since sd-bus lets a method answer with nothing but what it is declared to. */
        if (b->name_nonsense && sd_bus_message_is_method_call(m, NULL, "RequestName") > 0)
                return sd_bus_reply_method_return(m, "s", "perhaps");

        if (sd_bus_message_is_signal(m, NULL, "ErrorReported")) {
                b->n_errors++;
                assert_true(sd_bus_message_skip(m, "suqss") > 0);
                assert_true(sd_bus_message_read(m, "t", &b->last_sequence) > 0);
        }
        b->n_added += sd_bus_message_is_signal(m, NULL, "InterfacesAdded") > 0;
        b->n_removed += sd_bus_message_is_signal(m, NULL, "InterfacesRemoved") > 0;
        if (sd_bus_message_is_signal(m, NULL, "PropertiesChanged"))
                take_changed(b, m);
        return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FakeBus *b = userdata;
        sd_id128_t id;
        int peer;

        peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        assert_true(peer >= 0);
        b->n_connections++;

        sd_bus_close_unref(b->peer);
        b->peer = NULL;
        assert_true(sd_id128_randomize(&id) >= 0);
        assert_true(sd_bus_new(&b->peer) >= 0);
        assert_true(sd_bus_set_fd(b->peer, peer, peer) >= 0);
        assert_true(sd_bus_set_server(b->peer, 1, id) >= 0);
        assert_true(sd_bus_add_object_vtable(b->peer,
                                             NULL,
                                             "/org/freedesktop/DBus",
                                             "org.freedesktop.DBus",
                                             driver_vtable,
                                             b) >= 0);
        assert_true(sd_bus_add_filter(b->peer, NULL, on_message, b) >= 0);
        assert_true(sd_bus_start(b->peer) >= 0);
        if (!b->mute)
                assert_true(sd_bus_attach_event(b->peer, b->event, SD_EVENT_PRIORITY_NORMAL) >= 0);
        return 0;
}

void fake_bus_appear(FakeBus *b) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        strcpy(address.sun_path, b->path);
        b->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(b->listening >= 0);
        assert_int_equal(bind(b->listening, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(listen(b->listening, 16), 0);
        assert_true(
                sd_event_add_io(
                        b->event, &b->listening_source, b->listening, EPOLLIN, on_connection, b) >=
                0);
}

void fake_bus_disappear(FakeBus *b) {
        b->listening_source = sd_event_source_disable_unref(b->listening_source);
        if (b->listening >= 0)
                assert_int_equal(unlink(b->path), 0);
        b->listening = safe_close(b->listening);
        b->peer = sd_bus_close_unref(b->peer);
}

void fake_bus_setup(FakeBus *b, sd_event *event) {
        char address[128];

        b->event = event;
        b->listening = -EBADF;
        strcpy(b->directory, "/tmp/test-bus-XXXXXX");
        assert_non_null(mkdtemp(b->directory));
        (void) snprintf(b->path, sizeof(b->path), "%s/bus", b->directory);
        (void) snprintf(address, sizeof(address), "unix:path=%s", b->path);
        assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
}

void fake_bus_teardown(FakeBus *b) {
        fake_bus_disappear(b);
        assert_int_equal(rmdir(b->directory), 0);
}
