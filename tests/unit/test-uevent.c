/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fake-udev.h"
#include "names.h"
#include "uevent.h"

#define ADDRESS "0001:00:00.0"
#define DEVPATH "/devices/pci0001:00/0001:00:00.0"

typedef struct Fixture {
        sd_event *event;
        Uevent *uevent;
        struct udev_device *device; /* at ADDRESS, FID 0x11 */
        UeventListener listener;
        unsigned n_seen;
        char told[4096]; /* what the listener heard, in order */
} Fixture;

static void tell(Fixture *fixture, const char *format, ...) _printf_(2, 3);
static void tell(Fixture *fixture, const char *format, ...) {
        size_t used = strlen(fixture->told);
        va_list args;

        va_start(args, format);
        (void) vsnprintf(fixture->told + used, sizeof(fixture->told) - used, format, args);
        va_end(args);
}

static void on_seen(const SysfsFunction *function, void *userdata) {
        Fixture *fixture = userdata;

        fixture->n_seen++;
        tell(fixture,
             "seen %s %x %s; ",
             function->address,
             function->fid,
             function->vfio_bound ? "bound" : "free");
}

static void on_bad(const char *address, const SysfsProblem *problem, void *userdata) {
        tell(userdata, "bad %s %s=%s; ", address, problem->attribute, problem->value);
}

static void on_gone(const char *address, void *userdata) {
        tell(userdata, "gone %s; ", address);
}

static void on_scan_begin(void *userdata) {
        tell(userdata, "begin; ");
}

static void on_scan_end(void *userdata) {
        tell(userdata, "end; ");
}

static void on_error(const char *address, UeventError error, void *userdata) {
        tell(userdata, "error %s %d; ", address, error);
}

static void on_overrun(void *userdata) {
        tell(userdata, "overrun; ");
}

static void on_failed(int error, void *userdata) {
        tell(userdata, "failed %s; ", strerrorname_np(-error));
}

static int setup(void **state) {
        Fixture *fixture = calloc(1, sizeof(*fixture));

        assert_non_null(fixture);
        fake_udev_begin();
        fixture->device = fake_udev_add_function(1);
        fixture->listener = (UeventListener){
                .seen = on_seen,
                .bad = on_bad,
                .gone = on_gone,
                .scan_begin = on_scan_begin,
                .scan_end = on_scan_end,
                .error = on_error,
                .overrun = on_overrun,
                .failed = on_failed,
                .userdata = fixture,
        };
        assert_return_code(sd_event_new(&fixture->event), errno);
        assert_int_equal(uevent_open(fixture->event, &fixture->listener, &fixture->uevent), 0);

        *state = fixture;
        return 0;
}

static int teardown(void **state) {
        Fixture *fixture = *state;

        assert_null(uevent_close(fixture->uevent));
        assert_null(sd_event_unref(fixture->event));
        free(fixture);
        fake_udev_end();
        return 0;
}

/* What is told until nothing is left to do. */
static void assert_told(Fixture *fixture, const char *expected) {
        int r;

        do {
                r = sd_event_run(fixture->event, 0);
                assert_return_code(r, -r);
        } while (r > 0);

        assert_string_equal(fixture->told, expected);
        fixture->told[0] = '\0';
}

static void assert_scan(Fixture *fixture, int result, const char *expected) {
        assert_int_equal(uevent_scan(fixture->uevent), result);
        assert_string_equal(fixture->told, expected);
        fixture->told[0] = '\0';
}

static int setup_scanned(void **state) {
        (void) setup(state);
        assert_scan(*state, 0, "begin; seen 0001:00:00.0 11 free; end; ");
        return 0;
}

/* What happens before the first scan is told after it. */
static void test_first_scan(void **state) {
        Fixture *fixture = *state;

        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture, "");
        assert_scan(fixture, 0, "begin; seen 0001:00:00.0 11 free; end; ");
        assert_told(fixture, "seen 0001:00:00.0 11 free; ");
}

/* A mix of functions, of which a scan tells this, in whatever order. */
static const char *const mix[] = {
        "seen 0001:00:00.0 11 free; ",
        "bad 0002:00:00.0 pchid=none; ",
        "seen 0004:00:00.0 14 bound; ",
};

static void make_mix(void) {
        fake_udev_set_attribute(fake_udev_add_function(2), "pchid", "none", 0);
        fake_udev_vanish(fake_udev_add_function(3), ENODEV);
        fake_udev_set_vfio(fake_udev_add_function(4), "vfio0");
        (void) fake_udev_add("pci", "/devices/pci0000:00/0000:00:01.0"); /* no zPCI function */
        (void) fake_udev_add("pci", "/devices/pci0000:00/pcie");         /* no function */
        (void) fake_udev_add("usb", "/devices/pci0000:00/0000:00:02.0");
}

static void assert_told_mix(Fixture *fixture) {
        size_t size = strlen("begin; end; ");

        for (size_t i = 0; i < ELEMENTSOF(mix); i++) {
                assert_non_null(strstr(fixture->told, mix[i]));
                size += strlen(mix[i]);
        }

        assert_int_equal(strlen(fixture->told), size);
        assert_memory_equal(fixture->told, "begin; ", strlen("begin; "));
        assert_string_equal(fixture->told + size - strlen("end; "), "end; ");
}

static void test_scan(void **state) {
        Fixture *fixture = *state;

        make_mix();
        assert_int_equal(uevent_scan(fixture->uevent), 0);
        assert_told_mix(fixture);
}

static void test_rescan(void **state) {
        Fixture *fixture = *state;
        int r;

        make_mix();
        assert_int_equal(uevent_rescan(fixture->uevent), 0);
        assert_string_equal(fixture->told, "begin; ");
        do
                r = sd_event_run(fixture->event, 0);
        while (r > 0);
        assert_return_code(r, -r);
        assert_told_mix(fixture);
}

/* One that begins anew, one that is overtaken, one that is not over at the end. */
static void test_rescan_interrupted(void **state) {
        Fixture *fixture = *state;

        assert_int_equal(uevent_rescan(fixture->uevent), 0);
        assert_int_equal(uevent_rescan(fixture->uevent), 0);
        assert_told(fixture, "begin; begin; seen 0001:00:00.0 11 free; end; ");

        assert_int_equal(uevent_rescan(fixture->uevent), 0);
        assert_scan(fixture, 0, "begin; begin; seen 0001:00:00.0 11 free; end; ");
        assert_told(fixture, "");

        assert_int_equal(uevent_rescan(fixture->uevent), 0);
}

/* Others in the event loop have their turn meanwhile. */
static void test_rescan_long(void **state) {
        Fixture *fixture = *state;
        unsigned before, turns = 0;

        for (unsigned n = 2; n <= 100; n++)
                (void) fake_udev_add_function(n);

        fixture->n_seen = 0;
        assert_int_equal(uevent_rescan(fixture->uevent), 0);
        do {
                before = fixture->n_seen;
                assert_return_code(sd_event_run(fixture->event, 0), 0);
                assert_in_range(fixture->n_seen - before, 0, 16);
                turns++;
        } while (!strstr(fixture->told, "end; "));
        assert_int_equal(fixture->n_seen, 100);
        assert_in_range(turns, 100 / 16, 20);
}

/* A scan that did not see everything must not end: what it has not seen would be taken for gone. */
static void test_scan_fails(void **state) {
        Fixture *fixture = *state;

        fake_udev_fail(1, ENOMEM);
        assert_scan(fixture, -ENOMEM, "");
        fake_udev_fail(1, EACCES);
        assert_int_equal(uevent_rescan(fixture->uevent), -EACCES);
        assert_told(fixture, "");

        fake_udev_fail(2, ENOMEM);
        assert_scan(fixture, -ENOMEM, "begin; ");
        fake_udev_fail(2, ENOMEM);
        assert_int_equal(uevent_rescan(fixture->uevent), 0);
        assert_told(fixture, "begin; failed ENOMEM; ");

        assert_scan(fixture, 0, "begin; seen 0001:00:00.0 11 free; end; ");
}

/* That is no failure: this machine has no functions. */
static void test_no_pci(void **state) {
        Fixture *fixture = *state;

        fake_udev_fail(1, ENODEV);
        assert_scan(fixture, 0, "begin; end; ");
        fake_udev_fail(1, ENODEV);
        assert_int_equal(uevent_rescan(fixture->uevent), 0);
        assert_told(fixture, "begin; end; ");
}

static void test_bind_and_unbind(void **state) {
        Fixture *fixture = *state;

        fake_udev_set_vfio(fixture->device, "vfio0");
        fake_udev_event("vfio-dev", DEVPATH "/vfio-dev/vfio0", NULL, NULL);
        assert_told(fixture, "seen 0001:00:00.0 11 bound; ");

        fake_udev_set_vfio(fixture->device, NULL);
        fake_udev_event("vfio-dev", DEVPATH "/vfio-dev/vfio0", NULL, NULL);
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture, "seen 0001:00:00.0 11 free; seen 0001:00:00.0 11 free; ");
}

static void test_plug_and_unplug(void **state) {
        Fixture *fixture = *state;

        fake_udev_remove(fixture->device);
        fake_udev_event("vfio-dev", DEVPATH "/vfio-dev/vfio0", NULL, NULL);
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture, "gone 0001:00:00.0; gone 0001:00:00.0; ");

        (void) fake_udev_add_function(5);
        fake_udev_event("pci", "/devices/pci0005:00/0005:00:00.0", NULL, NULL);
        assert_told(fixture, "seen 0005:00:00.0 15 free; ");
}

/* An event says when to look, not what there is: a removal that is told late finds the next function. */
static void test_late_event(void **state) {
        Fixture *fixture = *state;

        fake_udev_set_attribute(fixture->device, "function_id", "0x99", 0);
        fake_udev_event("pci", DEVPATH, "ACTION", "remove");
        assert_told(fixture, "seen 0001:00:00.0 99 free; ");
}

static void test_not_ours(void **state) {
        Fixture *fixture = *state;

        fake_udev_set_attribute(fixture->device, "function_id", NULL, ENOENT);
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture, "gone 0001:00:00.0; ");
}

/* It is there, and nothing good can be said of it: bad, but not gone. */
static void test_bad(void **state) {
        Fixture *fixture = *state;

        fake_udev_set_attribute(fixture->device, "function_id", "", 0);
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture, "bad 0001:00:00.0 function_id=; ");

        fake_udev_set_attribute(fixture->device, "function_id", "0x11", 0);
        fake_udev_set_property(fixture->device, ERRORD_UDEV_POLICY, "cliam");
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture,
                    "bad 0001:00:00.0 " ERRORD_UDEV_POLICY "=cliam; seen 0001:00:00.0 11 free; ");
}

static void test_vanishes(void **state) {
        Fixture *fixture = *state;

        fake_udev_set_attribute(fixture->device, "function_id", NULL, ENODEV);
        fake_udev_remove_folder(fixture->device);
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture, "gone 0001:00:00.0; ");

        /* We could not look: that says nothing of the function. */
        fake_udev_vanish(fixture->device, ENOMEM);
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture, "failed ENOMEM; ");
        (void) fake_udev_add("vanished", DEVPATH); /* its folder again */
}

static void test_malformed(void **state) {
        static const struct {
                const char *subsystem, *devpath;
        } events[] = {
                { NULL, NULL },
                { "pci", NULL },
                { NULL, DEVPATH },
                { "pci", "/devices/pci0001:00" },
                { "pci", "/devices/0001:00:00.0 " },
                { "vfio-dev", NULL },
                { "vfio-dev", DEVPATH },
                { "vfio-dev", "/vfio-dev/vfio0" },
                { "vfio-dev", "/devices/virtual/vfio-dev/vfio0" },
                { "vfio-dev", "/devices/0001:00:00.00000000000000000000000000/vfio-dev/vfio0" },
        };

        for (size_t i = 0; i < ELEMENTSOF(events); i++) {
                fake_udev_event(
                        events[i].subsystem, events[i].devpath, "ERROR_EVENT", "BEGIN_RECOVERY");
                assert_told(*state, "");
        }
}

static void test_errors(void **state) {
        Fixture *fixture = *state;

        fake_udev_event("pci", DEVPATH, "ERROR_EVENT", "BEGIN_RECOVERY");
        assert_told(fixture, "error 0001:00:00.0 0; seen 0001:00:00.0 11 free; ");
        fake_udev_event("pci", DEVPATH, "ERROR_EVENT", "SUCCESSFUL_RECOVERY");
        assert_told(fixture, "error 0001:00:00.0 1; seen 0001:00:00.0 11 free; ");
        fake_udev_event("pci", DEVPATH, "ERROR_EVENT", "FAILED_RECOVERY");
        assert_told(fixture, "error 0001:00:00.0 2; seen 0001:00:00.0 11 free; ");
        fake_udev_event("pci", DEVPATH, "ERROR_EVENT", "SOMETHING_ELSE");
        assert_told(fixture, "seen 0001:00:00.0 11 free; ");

        /* The error of a function that is gone by now comes before that news. */
        fake_udev_remove(fixture->device);
        fake_udev_event("pci", DEVPATH, "ERROR_EVENT", "BEGIN_RECOVERY");
        assert_told(fixture, "error 0001:00:00.0 0; gone 0001:00:00.0; ");
}

/* Others in the event loop have their turn in a storm, and nothing is left behind after it. */
static void test_storm(void **state) {
        Fixture *fixture = *state;
        unsigned before;

        for (unsigned i = 0; i < 500; i++)
                fake_udev_event("pci", DEVPATH, NULL, NULL);

        fixture->n_seen = 0;
        do {
                before = fixture->n_seen;
                assert_return_code(sd_event_run(fixture->event, 0), 0);
                assert_in_range(fixture->n_seen - before, 0, 16);
        } while (fixture->n_seen > before);
        assert_int_equal(fixture->n_seen, 500);
}

static void test_overrun(void **state) {
        Fixture *fixture = *state;

        fake_udev_event("pci", DEVPATH, "ERROR_EVENT", "BEGIN_RECOVERY");
        fake_udev_event_error(ENOBUFS);
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture,
                    "error 0001:00:00.0 0; seen 0001:00:00.0 11 free; "
                    "overrun; begin; seen 0001:00:00.0 11 free; end; "
                    "seen 0001:00:00.0 11 free; ");
}

static void test_receive_fails(void **state) {
        Fixture *fixture = *state;

        fake_udev_event_error(EINVAL);
        assert_told(fixture, "failed EINVAL; begin; seen 0001:00:00.0 11 free; end; ");

        /* A library that returns nothing, and does not say why. */
        fake_udev_event_error(0);
        assert_told(fixture, "failed EIO; begin; seen 0001:00:00.0 11 free; end; ");

        fake_udev_event_error(ENOBUFS);
        fake_udev_fail(1, ENOMEM);
        assert_told(fixture, "overrun; failed ENOMEM; ");

        /* Nothing of that stopped it. */
        fake_udev_event_error(EINTR);
        fake_udev_event("pci", DEVPATH, NULL, NULL);
        assert_told(fixture, "seen 0001:00:00.0 11 free; ");
}

static void test_open_fails(void **state) {
        Fixture *fixture = *state;
        unsigned call = 0;
        int r;

        do {
                Uevent *uevent = NULL;

                fake_udev_fail(++call, EPERM);
                r = uevent_open(fixture->event, &fixture->listener, &uevent);
                if (r < 0) {
                        /* udev_new() tells of nothing but memory */
                        assert_int_equal(r, call == 1 ? -ENOMEM : -EPERM);
                        assert_null(uevent);
                }
                assert_null(uevent_close(uevent));
        } while (r < 0);

        assert_int_equal(call, 6); /* library, monitor, two filters, start; and then none */
        fake_udev_fail(0, 0);
        assert_told(fixture, "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_first_scan, setup, teardown),
                cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
                cmocka_unit_test_setup_teardown(test_rescan, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_rescan_interrupted, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_rescan_long, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_scan_fails, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_pci, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bind_and_unbind, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_plug_and_unplug, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_late_event, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_not_ours, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_bad, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_vanishes, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_malformed, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_errors, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_storm, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_overrun, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_receive_fails, setup_scanned, teardown),
                cmocka_unit_test_setup_teardown(test_open_fails, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
