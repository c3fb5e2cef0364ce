/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each allocation fails with which a run hands over, or the next one reads it: all of it, or an error. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "faults.h"
#include "handover.h"

/* The linker's names, see --wrap in ld(1). */
#define WRAPPED_NEW(name, parameters, arguments)                                                   \
        json_object *__real_json_object_new_##name parameters;                                     \
        json_object *__wrap_json_object_new_##name parameters;                                     \
        json_object *__wrap_json_object_new_##name parameters {                                    \
                return fault("json_object_new_" #name) < 0                                         \
                               ? NULL                                                              \
                               : __real_json_object_new_##name arguments;                          \
        }

WRAPPED_NEW(array, (void), ())
WRAPPED_NEW(object, (void), ())
WRAPPED_NEW(boolean, (json_bool value), (value))
WRAPPED_NEW(string, (const char *value), (value))
WRAPPED_NEW(uint64, (uint64_t value), (value))

int __real_json_object_array_add(json_object *array, json_object *value);
int __wrap_json_object_array_add(json_object *array, json_object *value);
int __real_json_object_object_add(json_object *object, const char *key, json_object *value);
int __wrap_json_object_object_add(json_object *object, const char *key, json_object *value);
const char *__real_json_object_to_json_string_ext(json_object *object, int flags);
const char *__wrap_json_object_to_json_string_ext(json_object *object, int flags);
struct json_tokener *__real_json_tokener_new(void);
struct json_tokener *__wrap_json_tokener_new(void);
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);

ssize_t __real_pread(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset);

ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset) {
        return fault("pread") < 0 ? -1 : __real_pread(fd, data, size, offset);
}

ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset) {
        return __wrap_pread(fd, data, size, offset);
}

int __wrap_json_object_array_add(json_object *array, json_object *value) {
        return fault("json_object_array_add") < 0 ? -1 : __real_json_object_array_add(array, value);
}

int __wrap_json_object_object_add(json_object *object, const char *key, json_object *value) {
        return fault("json_object_object_add") < 0
                       ? -1
                       : __real_json_object_object_add(object, key, value);
}

const char *__wrap_json_object_to_json_string_ext(json_object *object, int flags) {
        return fault("json_object_to_json_string_ext") < 0
                       ? NULL
                       : __real_json_object_to_json_string_ext(object, flags);
}

struct json_tokener *__wrap_json_tokener_new(void) {
        return fault("json_tokener_new") < 0 ? NULL : __real_json_tokener_new();
}

int __wrap_memfd_create(const char *name, unsigned flags) {
        return fault("memfd_create") < 0 ? -1 : __real_memfd_create(name, flags);
}

/* Two functions and an inhibitor, told apart by a number. */
static Handover example(uint64_t number) {
        static char *addresses[] = { (char *) "0001:00:00.0", (char *) "0002:00:00.0" };
        Handover handover = { 0 };

        for (uint32_t i = 0; i < 2; i++) {
                HandoverFunction *f = handover_add_function(&handover);

                assert_non_null(f);
                *f = (HandoverFunction){
                        .sysfs = { .driver = "vfio-pci", .fid = 0x10 + i },
                        .released_until_usec = number,
                        .recoveries = { .total = 2, .times_usec = { 1, 2 } },
                };
                strcpy(f->sysfs.address, addresses[i]);
        }
        {
                HandoverInhibitor terms = { .id = number,
                                            .addresses = addresses,
                                            .n_addresses = 2 },
                                  *inhibitor = handover_add_inhibitor(&handover);

                assert_non_null(inhibitor);
                strcpy(terms.who, "somebody");
                assert_int_equal(handover_copy_inhibitor(inhibitor, &terms), 0);
        }
        return handover;
}

static void assert_example(const Handover *handover, uint64_t number) {
        assert_int_equal(handover->n_functions, 2);
        assert_int_equal(handover->functions[1].released_until_usec, number);
        assert_int_equal(handover->functions[1].recoveries.total, 2);
        assert_int_equal(handover->n_inhibitors, 1);
        assert_int_equal(handover->inhibitors[0].id, number);
        assert_int_equal(handover->inhibitors[0].n_addresses, 2);
}

/* What is there is all of the one, or all of the other. */
static void assert_has(int fd, uint64_t number) {
        unsigned skipped = 1;
        Handover handover;

        assert_int_equal(handover_read(fd, &handover, &skipped), 0);
        assert_int_equal(skipped, 0);
        assert_example(&handover, number);
        handover_done(&handover);
}

static void test_write(void **state) {
        Handover first = example(1), second = example(2);
        unsigned n_failed = 0;
        int fd = handover_create();

        assert_true(fd >= 0);
        assert_int_equal(handover_write(fd, &first), 0);
        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                int r;

                faults_begin(NULL, n, 1, -ENOMEM);
                r = handover_write(fd, &second);
                failed = faults_end();
                n_failed += failed;
                assert_int_equal(r, failed > 0 ? -ENOMEM : 0);
                assert_has(fd, failed > 0 ? 1 : 2);
        }
        assert_true(n_failed > 100);
        handover_done(&first);
        handover_done(&second);
        close(fd);
}

static void test_read(void **state) {
        Handover handover = example(1), read;
        unsigned n_failed = 0, skipped;
        int fd = handover_create();

        assert_int_equal(handover_write(fd, &handover), 0);
        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                int r;

                skipped = 1;
                faults_begin(NULL, n, 1, -ENOMEM);
                r = handover_read(fd, &read, &skipped);
                failed = faults_end();
                n_failed += failed;
                assert_int_equal(r, failed > 0 ? -ENOMEM : 0); /* not "makes no sense" */
                if (r < 0)
                        continue;
                assert_int_equal(skipped, 0);
                assert_example(&read, 1);
                handover_done(&read);
        }
        assert_true(n_failed >= 7);
        handover_done(&handover);
        close(fd);
}

static void test_copy(void **state) {
        Handover handover = example(1);
        unsigned n_failed = 0;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                HandoverInhibitor copy;
                int r;

                faults_begin(NULL, n, 1, -ENOMEM);
                r = handover_copy_inhibitor(&copy, &handover.inhibitors[0]);
                failed = faults_end();
                n_failed += failed;
                assert_int_equal(r, failed > 0 ? -ENOMEM : 0);
                if (r >= 0)
                        assert_string_equal(copy.addresses[1], "0002:00:00.0");
                handover_inhibitor_done(&copy);
        }
        assert_int_equal(n_failed, 3);
        handover_done(&handover);
}

static void test_create(void **state) {
        faults_begin("memfd_create", 1, 1, -EMFILE);
        assert_int_equal(handover_create(), -EMFILE);
        faults_end();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_write),
                cmocka_unit_test(test_read),
                cmocka_unit_test(test_copy),
                cmocka_unit_test(test_create),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
