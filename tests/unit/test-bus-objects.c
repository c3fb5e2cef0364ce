/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "bus-function.h"
#include "bus-record.h"
#include "names.h"
#include "ring-fixture.h"

#define PROPERTIES     "org.freedesktop.DBus.Properties"
#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"
#define FUNCTION_PATH  ERRORD_FUNCTION_PREFIX "/00000010"
#define LOG_CONTROL    "org.freedesktop.LogControl1"

static void assert_error(sd_bus_message *m, const char *name, const char *part) {
        const sd_bus_error *error = sd_bus_message_get_error(m);

        assert_non_null(error);
        assert_string_equal(error->name, name);
        if (!strstr(error->message, part))
                fail_msg("no \"%s\" in: %s", part, error->message);
        sd_bus_message_unref(m);
}

static void assert_path(sd_bus_message *m, const char *expected) {
        const char *path = NULL;

        assert_true(sd_bus_message_read(m, "o", &path) > 0);
        assert_string_equal(path, expected);
        sd_bus_message_unref(m);
}

static sd_bus_message *
manager_call(BusFixture *f, const char *member, const char *types, const char *text) {
        return bus_fixture_call(
                f, ERRORD_MANAGER_PATH, ERRORD_MANAGER_INTERFACE, member, types, text);
}

static void test_by_address(void **state) {
        BusFixture *f = *state;

        assert_path(manager_call(f, "GetFunctionByAddress", "s", "0001:00:00.0"), FUNCTION_PATH);
        assert_error(manager_call(f, "GetFunctionByAddress", "s", "0002:00:00.0"),
                     ERRORD_ERROR_NO_FUNCTION,
                     "address 0002:00:00.0. There are: 0001:00:00.0 (FID 0x00000010).");
        assert_error(manager_call(f, "GetFunctionByAddress", "s", "fid:10"),
                     SD_BUS_ERROR_INVALID_ARGS,
                     "like 0001:00:00.0");
        assert_error(
                manager_call(f, "GetFunctionByAddress", "s", ""), SD_BUS_ERROR_INVALID_ARGS, "");
}

static void test_by_fid(void **state) {
        BusFixture *f = *state;

        assert_path(bus_fixture_call(f,
                                     ERRORD_MANAGER_PATH,
                                     ERRORD_MANAGER_INTERFACE,
                                     "GetFunctionByFid",
                                     "u",
                                     0x10U),
                    FUNCTION_PATH);
        assert_error(bus_fixture_call(f,
                                      ERRORD_MANAGER_PATH,
                                      ERRORD_MANAGER_INTERFACE,
                                      "GetFunctionByFid",
                                      "u",
                                      0xabU),
                     ERRORD_ERROR_NO_FUNCTION,
                     "FID 0x000000ab. There are: 0001:00:00.0");
}

static void test_list_is_bounded(void **state) {
        BusFixture *f = *state;

        while (f->registry.n < 512)
                bus_fixture_add(f);
        assert_error(manager_call(f, "GetFunctionByAddress", "s", "ffff:00:00.0"),
                     ERRORD_ERROR_NO_FUNCTION,
                     "0010:00:00.0 (FID 0x0000001f) and 496 more.");
}

static void test_no_functions(void **state) {
        BusFixture *f = *state;

        f->registry.n = 0;
        assert_error(manager_call(f, "GetFunctionByAddress", "s", "0001:00:00.0"),
                     ERRORD_ERROR_NO_FUNCTION,
                     "There are none.");
        f->model.registry = NULL;
        assert_error(manager_call(f, "GetFunctionByAddress", "s", "0001:00:00.0"),
                     ERRORD_ERROR_NO_FUNCTION,
                     "There are none.");
        assert_error(
                bus_fixture_call(
                        f, FUNCTION_PATH, PROPERTIES, "GetAll", "s", ERRORD_FUNCTION_INTERFACE),
                SD_BUS_ERROR_UNKNOWN_OBJECT,
                "");
}

/* The value of a property, whatever its type, as busctl would write it. */
static void assert_property(BusFixture *f,
                            const char *path,
                            const char *interface,
                            const char *name,
                            const char *expected) {
        sd_bus_message *m = bus_fixture_call(f, path, PROPERTIES, "Get", "ss", interface, name);
        char text[128] = "an error";
        const char *type = "", *s;
        uint64_t t;
        uint32_t u;
        uint16_t q;
        uint8_t y;
        char kind;

        if (sd_bus_message_peek_type(m, &kind, &type) > 0 && kind == 'v')
                switch (type[0]) {
                case 's':
                        assert_true(sd_bus_message_read(m, "v", "s", &s) > 0);
                        (void) snprintf(text, sizeof(text), "s %s", s);
                        break;
                case 't':
                        assert_true(sd_bus_message_read(m, "v", "t", &t) > 0);
                        (void) snprintf(text, sizeof(text), "t %llu", (unsigned long long) t);
                        break;
                case 'u':
                        assert_true(sd_bus_message_read(m, "v", "u", &u) > 0);
                        (void) snprintf(text, sizeof(text), "u %u", u);
                        break;
                case 'q':
                        assert_true(sd_bus_message_read(m, "v", "q", &q) > 0);
                        (void) snprintf(text, sizeof(text), "q %u", q);
                        break;
                case 'y':
                        assert_true(sd_bus_message_read(m, "v", "y", &y) > 0);
                        (void) snprintf(text, sizeof(text), "y %u", y);
                        break;
                }
        assert_string_equal(text, expected);
        sd_bus_message_unref(m);
}

static void test_function_properties(void **state) {
        static const char *const expected[][2] = {
                { "Address", "s 0001:00:00.0" },
                { "Fid", "u 16" },
                { "Uid", "u 1" },
                { "Pchid", "q 260" },
                { "Pfgid", "y 2" },
                { "Vfn", "q 3" },
                { "Pft", "y 11" },
                { "PftName", "s NVMe" },
                { "State", "s failed" },
                { "StateReason", "s recovery-limit" },
                { "ErrorInterface", "s packed" },
                { "Recovery", "s left-to-holder" },
                { "Driver", "s vfio-pci" },
                { "FunctionHandle", "u 2147614720" },
                { "Records", "t 5" },
                { "Lost", "t 18446744073709551615" },
                { "LastPec", "q 2" },
                { "LastErrorUSec", "t 1700000000000000" },
                { "Holder", "s " },
        };
        BusFixture *f = *state;
        Function *function = &f->registry.functions[0];

        function->state = FUNCTION_FAILED;
        function->reason = "recovery-limit";
        function->interface = RECORD_PACKED;
        function->recovery = RECOVERY_LEFT_TO_HOLDER;
        function->records = 5;
        function->lost = UINT64_MAX;
        function->last_pec = 2;
        function->last_error_usec = UINT64_C(1700000000000000);

        for (size_t i = 0; i < ELEMENTSOF(expected); i++)
                assert_property(f,
                                FUNCTION_PATH,
                                ERRORD_FUNCTION_INTERFACE,
                                expected[i][0],
                                expected[i][1]);
}

static void test_one_path_an_object(void **state) {
        static const char *const strangers[] = {
                ERRORD_FUNCTION_PREFIX "/10",
                ERRORD_FUNCTION_PREFIX "/0x000010",
                ERRORD_FUNCTION_PREFIX "/000000010",
                ERRORD_FUNCTION_PREFIX "/00000011",
                ERRORD_FUNCTION_PREFIX "/00000010/x",
                ERRORD_FUNCTION_PREFIX "/zzzzzzzz",
                ERRORD_FUNCTION_PREFIX,
        };
        BusFixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(strangers); i++)
                assert_property(f, strangers[i], ERRORD_FUNCTION_INTERFACE, "Address", "an error");
}

static void test_manager_properties(void **state) {
        char expected[BUS_STREAM_SIZE + 2] = "s ";
        BusFixture *f = *state;

        for (unsigned i = 0; i < 7; i++)
                fixture_error(f->ring);
        fixture_lost(f->ring, 3);

        bus_stream_id(f->ring, expected + 2);
        assert_property(f, ERRORD_MANAGER_PATH, ERRORD_MANAGER_INTERFACE, "StreamId", expected);
        assert_int_equal(strlen(expected), 34);
        assert_property(f, ERRORD_MANAGER_PATH, ERRORD_MANAGER_INTERFACE, "LastSequence", "t 7");
        assert_property(f, ERRORD_MANAGER_PATH, ERRORD_MANAGER_INTERFACE, "Lost", "t 3");
        assert_property(
                f, ERRORD_MANAGER_PATH, ERRORD_MANAGER_INTERFACE, "Witness", "s not-started");
}

static void test_managed_objects(void **state) {
        BusFixture *f = *state;
        sd_bus_message *m;
        const char *path;
        size_t n = 0;

        while (f->registry.n < 512)
                bus_fixture_add(f);

        m = bus_fixture_call(f, ERRORD_MANAGER_PATH, OBJECT_MANAGER, "GetManagedObjects", "");
        assert_true(sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}") > 0);
        while (sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}") > 0) {
                assert_true(sd_bus_message_read(m, "o", &path) > 0);
                assert_true(sd_bus_message_skip(m, "a{sa{sv}}") > 0);
                assert_true(sd_bus_message_exit_container(m) >= 0);
                assert_memory_equal(
                        path, ERRORD_FUNCTION_PREFIX "/", sizeof(ERRORD_FUNCTION_PREFIX "/") - 1);
                n++;
        }
        assert_int_equal(n, 512);
        sd_bus_message_unref(m);
}

static void set_log(BusFixture *f, const char *property, const char *value, const char *error) {
        sd_bus_message *m = bus_fixture_call(f,
                                             "/org/freedesktop/LogControl1",
                                             PROPERTIES,
                                             "Set",
                                             "ssv",
                                             LOG_CONTROL,
                                             property,
                                             "s",
                                             value);

        if (error)
                assert_error(m, error, property);
        else {
                assert_false(sd_bus_message_is_method_error(m, NULL));
                sd_bus_message_unref(m);
        }
}

static void test_log_control(void **state) {
        static const char path[] = "/org/freedesktop/LogControl1";
        BusFixture *f = *state;

        assert_property(f, path, LOG_CONTROL, "SyslogIdentifier", "s zpci-errord");
        assert_property(f, path, LOG_CONTROL, "LogLevel", "s info");
        assert_property(f, path, LOG_CONTROL, "LogTarget", "s journal");

        set_log(f, "LogLevel", "debug", NULL);
        assert_int_equal(log_get_level(f->log), LOG_DEBUG);
        set_log(f, "LogLevel", "loud", SD_BUS_ERROR_INVALID_ARGS);
        assert_property(f, path, LOG_CONTROL, "LogLevel", "s debug");

        set_log(f, "LogTarget", "null", NULL);
        assert_int_equal(log_get_target(f->log), LOG_TARGET_NULL);
        set_log(f, "LogTarget", "printer", SD_BUS_ERROR_INVALID_ARGS);
        assert_property(f, path, LOG_CONTROL, "LogTarget", "s null");
}

#define objects_test(name)                                                                         \
        cmocka_unit_test_setup_teardown(                                                           \
                name, bus_fixture_setup_objects, bus_fixture_teardown_objects)

int main(void) {
        static const struct CMUnitTest tests[] = {
                objects_test(test_by_address),          objects_test(test_by_fid),
                objects_test(test_list_is_bounded),     objects_test(test_no_functions),
                objects_test(test_function_properties), objects_test(test_one_path_an_object),
                objects_test(test_manager_properties),  objects_test(test_managed_objects),
                objects_test(test_log_control),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
