/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fake-udev.h"
#include "names.h"
#include "sysfs.h"
#include "util.h"

#define ADDRESS "0001:00:00.0"

static int setup(void **state) {
        fake_udev_begin();
        *state = fake_udev_add_function(1);
        return 0;
}

static int teardown(void **state) {
        fake_udev_end();
        return 0;
}

/* Reads into memory full of rubbish: what is not written shows. */
static int
read_function(struct udev_device *device, SysfsFunction *ret, SysfsProblem *ret_problem) {
        memset(ret, 0x55, sizeof(*ret));
        memset(ret_problem, 0x55, sizeof(*ret_problem));
        return sysfs_read_function(device, ret, ret_problem);
}

static void assert_good(struct udev_device *device, SysfsFunction *ret) {
        SysfsProblem problem;

        assert_int_equal(read_function(device, ret, &problem), 1);
        assert_null(problem.attribute);
        assert_string_equal(problem.value, "");
        assert_string_equal(ret->address, ADDRESS);
}

static void assert_bad(struct udev_device *device, const char *attribute, const char *value) {
        static const SysfsFunction nothing = { .address = ADDRESS };
        SysfsFunction function;
        SysfsProblem problem;

        assert_int_equal(read_function(device, &function, &problem), -EBADMSG);
        assert_string_equal(problem.attribute, attribute);
        assert_string_equal(problem.value, value);
        assert_memory_equal(&function, &nothing, sizeof(function));
}

static void test_unbound(void **state) {
        SysfsFunction function;

        assert_good(*state, &function);
        assert_int_equal(function.fid, 0x11);
        assert_int_equal(function.fh, 0x80020000);
        assert_int_equal(function.uid, 1);
        assert_int_equal(function.pchid, 0x0104);
        assert_int_equal(function.vfn, 0);
        assert_int_equal(function.pfgid, 1);
        assert_int_equal(function.pft, 0x0b);
        assert_string_equal(function.driver, "");
        assert_string_equal(function.cdev, "");
        assert_false(function.vfio_bound);
        assert_int_equal(function.binding, 0);
        assert_false(function.has_policy);
        assert_int_equal(function.group, UINT32_MAX);
}

static void test_bound(void **state) {
        struct udev_device *device = *state;
        SysfsFunction function;
        char path[PATH_MAX];
        struct stat st;

        fake_udev_set_driver(device, "mlx5_vfio_pci");
        fake_udev_set_group(device, "../../../kernel/iommu_groups/4294967294");
        fake_udev_set_vfio(device, "vfio17");
        fake_udev_set_property(device, ERRORD_UDEV_POLICY, "claim");
        assert_good(device, &function);
        assert_string_equal(function.driver, "mlx5_vfio_pci");
        assert_string_equal(function.cdev, "vfio17");
        assert_true(function.vfio_bound);
        assert_true(function.has_policy);
        assert_int_equal(function.policy, POLICY_CLAIM);
        assert_int_equal(function.group, 4294967294);

        (void) snprintf(path, sizeof(path), "%s/vfio-dev/vfio17", udev_device_get_syspath(device));
        assert_return_code(stat(path, &st), errno);
        assert_int_equal(function.binding, st.st_ino);
}

static void test_largest_numbers(void **state) {
        static const char *const names[] = {
                "function_id", "function_handle", "uid", "pchid", "vfn", "pfgid", "pft",
        };
        static const char *const texts[] = {
                "0xffffffff", "0xffffffff", "0xffffffff", "0xffff", "0xffff", "0xff", "0xff",
        };
        static const char *const too_large[] = {
                "0x100000000", "0x100000000", "0x100000000", "0x10000", "0x10000", "0x100", "0x100",
        };
        struct udev_device *device = *state;
        SysfsFunction function;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                fake_udev_set_attribute(device, names[i], too_large[i], 0);
                assert_bad(device, names[i], too_large[i]);
                fake_udev_set_attribute(device, names[i], texts[i], 0);
        }

        assert_good(device, &function);
        assert_int_equal(function.fid, UINT32_MAX);
        assert_int_equal(function.fh, UINT32_MAX);
        assert_int_equal(function.uid, UINT32_MAX);
        assert_int_equal(function.pchid, UINT16_MAX);
        assert_int_equal(function.vfn, UINT16_MAX);
        assert_int_equal(function.pfgid, UINT8_MAX);
        assert_int_equal(function.pft, UINT8_MAX);
}

/* Each attribute: missing, unreadable, empty, no number, huge, not even text. */
static void test_bad_numbers(void **state) {
        static const char *const names[] = {
                "function_id", "function_handle", "uid", "pchid", "vfn", "pfgid", "pft",
        };
        static const char *const texts[] = { "",     "0x",    "x",    "-1",  "0x1 ",
                                             " 0x1", "0x1\n", "0x1g", "1,2", "nan" };
        _cleanup_free_ char *huge = malloc(100001);
        struct udev_device *device = *state;

        assert_non_null(huge);
        memset(huge, 'f', 100000);
        huge[100000] = '\0';

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const char *name = names[i];

                for (size_t j = 0; j < ELEMENTSOF(texts); j++) {
                        fake_udev_set_attribute(device, name, texts[j], 0);
                        assert_bad(
                                device, name, strcmp(texts[j], "0x1\n") == 0 ? "0x1?" : texts[j]);
                }

                fake_udev_set_attribute(device, name, huge, 0);
                assert_bad(device, name, "fffffffffffffffffffffffffffffff");
                fake_udev_set_attribute(device, name, "\x1b[31m\xc3\xa4\x7f", 0);
                assert_bad(device, name, "?[31m???");
                fake_udev_set_attribute(device, name, NULL, EACCES);
                assert_bad(device, name, "");
                if (i > 0) { /* without function_id it is no zPCI function, and not a bad one */
                        fake_udev_set_attribute(device, name, NULL, ENOENT);
                        assert_bad(device, name, "");
                }

                fake_udev_set_attribute(device, name, "0x1", 0);
        }
}

static void test_other_function(void **state) {
        SysfsFunction function;
        SysfsProblem problem;

        fake_udev_set_attribute(*state, "function_id", NULL, ENOENT);
        assert_int_equal(read_function(*state, &function, &problem), 0);
        assert_null(problem.attribute);
        assert_string_equal(function.address, ADDRESS);
}

static void test_bad_address(void **state) {
        static const char *const paths[] = {
                "",
                "/devices/pci",
                "/devices/0001:00:00",
                "/devices/0001:00:00.8",
                "/devices/0001:00:00.0000000000000",
        };

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                SysfsFunction function;
                SysfsProblem problem;

                assert_int_equal(read_function(fake_udev_add("pci", paths[i]), &function, &problem),
                                 -EINVAL);
                assert_null(problem.attribute);
                assert_string_equal(function.address, "");
        }
}

/* It goes while it is read: that is not the fault of the attribute that was read next. */
static void test_vanishes(void **state) {
        struct udev_device *device = *state;
        SysfsFunction function;
        SysfsProblem problem;

        fake_udev_remove_folder(device);
        fake_udev_set_attribute(device, "pchid", NULL, ENOENT);
        assert_int_equal(read_function(device, &function, &problem), -ENODEV);
        assert_null(problem.attribute);

        fake_udev_set_attribute(device, "function_id", NULL, ENODEV);
        assert_int_equal(read_function(device, &function, &problem), -ENODEV);
        assert_null(problem.attribute);
        (void) fake_udev_add("vanished", "/devices/pci0001:00/0001:00:00.0"); /* its folder again */
}

static void test_bad_driver(void **state) {
        char name[80];
        SysfsFunction function;

        memset(name, 'a', sizeof(name));
        name[SYSFS_NAME_SIZE] = '\0';
        fake_udev_set_driver(*state, name);
        assert_bad(*state, "driver", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");

        name[SYSFS_NAME_SIZE - 1] = '\0';
        fake_udev_set_driver(*state, name);
        assert_good(*state, &function);
        assert_string_equal(function.driver, name);
}

/* Want of memory does not make it one without a driver, which would be let go. */
static void test_unreadable_driver(void **state) {
        fake_udev_set_driver_error(*state, ENOMEM);
        assert_bad(*state, "driver", "");
}

static void test_bad_group(void **state) {
        SysfsFunction function;

        fake_udev_set_group(*state, "../iommu_groups/4294967295");
        assert_bad(*state, "iommu_group", "4294967295");
        fake_udev_set_group(*state, "../iommu_groups/");
        assert_bad(*state, "iommu_group", "");
        fake_udev_set_group(*state, "../iommu_groups/0x1");
        assert_bad(*state, "iommu_group", "0x1");
        fake_udev_set_group(*state, "7");
        assert_good(*state, &function);
        assert_int_equal(function.group, 7);
}

static void test_vfio_children(void **state) {
        static const char *const others[] = { "vfio",  "vfio-1", "vfio1a",         "vfio 1",
                                              "Vfio1", "power",  "vfio99999999999" };
        SysfsFunction function;

        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                fake_udev_set_vfio(*state, others[i]);
                assert_good(*state, &function);
                assert_false(function.vfio_bound);
                assert_string_equal(function.cdev, "");
        }

        fake_udev_set_vfio(*state, "vfio0");
        assert_good(*state, &function);
        assert_true(function.vfio_bound);
}

static void test_policies(void **state) {
        SysfsFunction function;
        SysfsProblem problem;

        fake_udev_set_property(*state, ERRORD_UDEV_POLICY, "ignore");
        assert_good(*state, &function);
        assert_true(function.has_policy);
        assert_int_equal(function.policy, POLICY_IGNORE);

        /* A bad one is told, and does not hide the function. */
        fake_udev_set_property(*state, ERRORD_UDEV_POLICY, "CLAIM");
        assert_int_equal(read_function(*state, &function, &problem), 1);
        assert_string_equal(problem.attribute, ERRORD_UDEV_POLICY);
        assert_string_equal(problem.value, "CLAIM");
        assert_false(function.has_policy);
        assert_int_equal(function.fid, 0x11);
}

static void test_type_names(void **state) {
        static const char *const names[256] = {
                [0x00] = "UNC",  [0x02] = "ROCE", [0x05] = "ISM", [0x0a] = "ROC2",
                [0x0b] = "NVMe", [0x0c] = "NETH", [0x0d] = "CNW", [0x0f] = "NETD",
        };

        for (unsigned pft = 0; pft < ELEMENTSOF(names); pft++)
                assert_string_equal(sysfs_pft_name((uint8_t) pft), names[pft] ?: "UNKNOWN");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_unbound, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
                cmocka_unit_test_setup_teardown(test_largest_numbers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_numbers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_other_function, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_address, setup, teardown),
                cmocka_unit_test_setup_teardown(test_vanishes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_driver, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unreadable_driver, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_group, setup, teardown),
                cmocka_unit_test_setup_teardown(test_vfio_children, setup, teardown),
                cmocka_unit_test_setup_teardown(test_policies, setup, teardown),
                cmocka_unit_test(test_type_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
