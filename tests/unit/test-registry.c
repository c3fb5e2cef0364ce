/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "registry.h"

/* Functions are fakes: a name, and whether the worker is at work on one. */
static bool out_of_memory;
static unsigned n_functions;

typedef struct Fixture {
        Config config;
        FunctionContext context;
        RegistryListener listener;
        Registry *registry;
        char told
                [8192]; /* "+10 " added, "?10 " leaving, "!10 " gone, "-10 " removing, "=10 " corrected */
} Fixture;

static Fixture *fixture; /* of the test that runs */

int __wrap_function_new(const FunctionContext *context,
                        const SysfsFunction *sysfs,
                        const HandoverFunction *former,
                        Function **ret);
Function *__wrap_function_unref(Function *function);
void __wrap_function_gone(Function *function);
void __wrap_function_correct(Function *function, const SysfsFunction *sysfs);
void __wrap_function_update(Function *function);
FunctionConfig __wrap_function_config(const FunctionContext *context, const SysfsFunction *sysfs);

static void tell(const char *sign, const Function *function) {
        size_t used = strlen(fixture->told);

        (void) snprintf(fixture->told + used,
                        sizeof(fixture->told) - used,
                        "%s%x ",
                        sign,
                        (unsigned) function->sysfs.fid);
}

int __wrap_function_new(const FunctionContext *context,
                        const SysfsFunction *sysfs,
                        const HandoverFunction *former,
                        Function **ret) {
        assert_ptr_equal(context, &fixture->context);
        if (out_of_memory)
                return -ENOMEM;

        *ret = calloc(1, sizeof(**ret));
        assert_non_null(*ret);
        (*ret)->sysfs = *sysfs;
        (*ret)->former.device = -EBADF;
        n_functions++;
        return 0;
}

Function *__wrap_function_unref(Function *function) {
        if (function)
                n_functions--;
        free(function);
        return NULL;
}

void __wrap_function_gone(Function *function) {
        tell("!", function);
}

void __wrap_function_correct(Function *function, const SysfsFunction *sysfs) {
        function->sysfs = *sysfs;
        tell("=", function);
}

void __wrap_function_update(Function *function) {
}

FunctionConfig __wrap_function_config(const FunctionContext *context, const SysfsFunction *sysfs) {
        return (FunctionConfig){ .policy = sysfs->pchid == 0xffff ? POLICY_IGNORE : POLICY_CLAIM };
}

static void on_added(Function *function, void *userdata) {
        tell("+", function);
}

static void on_leaving(Function *function, const SysfsFunction *now, void *userdata) {
        tell("?", function);
}

static void on_removing(Function *function, void *userdata) {
        tell("-", function);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        fixture = f;
        out_of_memory = false;
        f->listener = (RegistryListener){
                .added = on_added,
                .leaving = on_leaving,
                .removing = on_removing,
        };
        assert_int_equal(registry_new(&f->context, &f->listener, &f->registry), 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        registry_free(f->registry);
        assert_int_equal(n_functions, 0);
        free(f);
        return 0;
}

static SysfsFunction at(unsigned domain, uint32_t fid) {
        SysfsFunction sysfs = { .driver = "vfio-pci", .vfio_bound = true, .fid = fid };

        (void) snprintf(sysfs.address, sizeof(sysfs.address), "%04x:00:00.0", domain);
        return sysfs;
}

static void see(Fixture *f, unsigned domain, uint32_t fid) {
        SysfsFunction sysfs = at(domain, fid);

        assert_int_equal(registry_correct(f->registry, &sysfs), 0);
}

static void assert_told(Fixture *f, const char *expected) {
        assert_string_equal(f->told, expected);
        f->told[0] = '\0';
}

static void test_order(void **state) {
        static const uint32_t fids[] = { 7, 3, 0xffffffff, 0, 5, 4, 6 };
        Fixture *f = *state;

        for (unsigned i = 0; i < ELEMENTSOF(fids); i++)
                see(f, 1 + i, fids[i]);
        assert_told(f, "+7 +3 +ffffffff +0 +5 +4 +6 ");

        assert_int_equal(registry_size(f->registry), ELEMENTSOF(fids));
        for (size_t i = 1; i < ELEMENTSOF(fids); i++)
                assert_true(registry_get(f->registry, i - 1)->sysfs.fid <
                            registry_get(f->registry, i)->sysfs.fid);
        for (unsigned i = 0; i < ELEMENTSOF(fids); i++) {
                Function *function = registry_by_fid(f->registry, fids[i]);

                assert_non_null(function);
                assert_ptr_equal(registry_by_address(f->registry, function->sysfs.address),
                                 function);
        }
        assert_null(registry_by_fid(f->registry, 1));
        assert_null(registry_by_address(f->registry, "0099:00:00.0"));
}

static void test_many(void **state) {
        Fixture *f = *state;

        for (unsigned i = 0; i < 600; i++)
                see(f, 1 + i, (i * 7919) % 600);
        assert_int_equal(registry_size(f->registry), 600);
        for (uint32_t fid = 0; fid < 600; fid++)
                assert_int_equal(registry_get(f->registry, fid)->sysfs.fid, fid);
}

static void test_comes_and_goes(void **state) {
        Fixture *f = *state;

        see(f, 1, 0x10);
        see(f, 1, 0x10);
        assert_told(f, "+10 =10 ");
        registry_remove(f->registry, "0002:00:00.0");
        assert_told(f, "");
        registry_remove(f->registry, "0001:00:00.0");
        assert_told(f, "?10 !10 -10 ");
        assert_int_equal(registry_size(f->registry), 0);
}

/* Neither unbound nor ignored functions have an object. */
static void test_not_wanted(void **state) {
        SysfsFunction unbound = at(1, 0x10), ignored = at(2, 0x20);
        Fixture *f = *state;

        unbound.vfio_bound = false;
        ignored.pchid = 0xffff;
        assert_int_equal(registry_correct(f->registry, &unbound), 0);
        assert_int_equal(registry_correct(f->registry, &ignored), 0);
        assert_told(f, "");

        see(f, 1, 0x10);
        see(f, 2, 0x20);
        f->told[0] = '\0';
        assert_int_equal(registry_correct(f->registry, &unbound), 0);
        assert_int_equal(registry_correct(f->registry, &ignored), 0);
        assert_told(f, "?10 !10 -10 ?20 !20 -20 ");
}

/* As long as its device is open it stays, told once to let go. */
static void test_leaves_when_closed(void **state) {
        Fixture *f = *state;
        Function *function;

        see(f, 1, 0x10);
        function = registry_by_fid(f->registry, 0x10);
        function->activity = FUNCTION_CLOSING;
        f->told[0] = '\0';

        registry_remove(f->registry, "0001:00:00.0");
        registry_remove(f->registry, "0001:00:00.0");
        assert_told(f, "?10 !10 ");
        registry_became_idle(f->registry, function);
        assert_told(f, "");

        function->activity = FUNCTION_IDLE;
        registry_became_idle(f->registry, function);
        assert_told(f, "-10 ");
        assert_null(registry_by_fid(f->registry, 0x10));
}

/* One that is idle and not leaving stays, and one that is in no registry is nobody's business. */
static void test_became_idle(void **state) {
        Function stranger = { .sysfs = at(9, 0x10), .former.device = -EBADF };
        Fixture *f = *state;

        see(f, 1, 0x10);
        registry_became_idle(f->registry, registry_by_fid(f->registry, 0x10));
        registry_became_idle(f->registry, &stranger);
        assert_told(f, "+10 ");
}

/* Back before its device is closed: another object, and the old one goes first. */
static void test_back_while_leaving(void **state) {
        Fixture *f = *state;

        see(f, 1, 0x10);
        registry_by_fid(f->registry, 0x10)->activity = FUNCTION_CLOSING;
        registry_remove(f->registry, "0001:00:00.0");
        f->told[0] = '\0';
        see(f, 1, 0x10);
        assert_told(f, "-10 +10 ");
        assert_int_equal(registry_size(f->registry), 1);
}

static void test_moved(void **state) {
        Fixture *f = *state;

        see(f, 1, 0x10);
        see(f, 2, 0x20);
        f->told[0] = '\0';

        /* Another function at this address. */
        see(f, 1, 0x30);
        assert_told(f, "?10 !10 -10 +30 ");
        /* This function at another address. */
        see(f, 3, 0x30);
        assert_told(f, "?30 !30 -30 +30 ");
        /* Both at once: two go. */
        see(f, 2, 0x30);
        assert_told(f, "?20 !20 -20 ?30 !30 -30 +30 ");
        assert_int_equal(registry_size(f->registry), 1);
}

/* What a scan does not come upon is gone; what it finds wrong stays as it was. */
static void test_scan(void **state) {
        Fixture *f = *state;

        for (unsigned i = 1; i <= 4; i++)
                see(f, i, i);
        f->told[0] = '\0';

        registry_scan_begin(f->registry);
        see(f, 2, 2);
        see(f, 5, 5);
        assert_true(registry_keep(f->registry, "0004:00:00.0"));
        assert_false(registry_keep(f->registry, "0009:00:00.0"));
        registry_scan_end(f->registry);
        assert_told(f, "=2 +5 ?3 !3 -3 ?1 !1 -1 ");
        assert_int_equal(registry_size(f->registry), 3);
}

/* What a former run knew is there again, each once, until a scan tells what has become of it. */
static void test_restore(void **state) {
        HandoverFunction former[] = {
                { .sysfs = at(1, 0x10) },
                { .sysfs = at(2, 0x20) },
                { .sysfs = at(3, 0x10) },
                { .sysfs = at(2, 0x30) },
        };
        Handover handover = { .functions = former, .n_functions = ELEMENTSOF(former) };
        Fixture *f = *state;

        assert_int_equal(registry_restore(f->registry, &handover), 0);
        assert_told(f, "+10 +20 ");

        registry_scan_begin(f->registry);
        see(f, 2, 0x20);
        registry_scan_end(f->registry);
        assert_told(f, "=20 ?10 !10 -10 ");
}

static void test_no_memory(void **state) {
        SysfsFunction sysfs = at(1, 0x10);
        Fixture *f = *state;

        out_of_memory = true;
        assert_int_equal(registry_correct(f->registry, &sysfs), -ENOMEM);
        assert_told(f, "");
        assert_int_equal(registry_size(f->registry), 0);

        out_of_memory = false;
        assert_int_equal(registry_correct(f->registry, &sysfs), 0);
        assert_told(f, "+10 ");
}

/* What sysfs says of the handles just now; 0 for one that is gone. By the domains of the addresses. */
static uint32_t handles[4];
static unsigned n_handles_read;

int __wrap_sysfs_read_handle(const char *address, uint32_t *ret);

int __wrap_sysfs_read_handle(const char *address, uint32_t *ret) {
        unsigned domain;

        assert_int_equal(sscanf(address, "%x", &domain), 1);
        assert_true(domain < ELEMENTSOF(handles));
        n_handles_read++;
        *ret = handles[domain];
        return handles[domain] == 0 ? -ENOENT : 0;
}

/* The handle changes, and no uevent tells of that: what counts is what it is now. */
static void test_by_handle(void **state) {
        Fixture *f = *state;

        for (unsigned i = 1; i < 4; i++) {
                SysfsFunction sysfs = at(i, i);

                sysfs.fh = handles[i] = 0x100 + i;
                assert_int_equal(registry_correct(f->registry, &sysfs), 0);
        }

        n_handles_read = 0;
        assert_ptr_equal(registry_by_handle(f->registry, 0x102), registry_by_fid(f->registry, 2));
        assert_int_equal(n_handles_read, 1); /* the likely one */

        handles[2] = 0x200;
        assert_null(registry_by_handle(f->registry, 0x102));
        assert_ptr_equal(registry_by_handle(f->registry, 0x200), registry_by_fid(f->registry, 2));

        handles[3] = 0x102; /* what another one had before */
        assert_ptr_equal(registry_by_handle(f->registry, 0x102), registry_by_fid(f->registry, 3));

        handles[1] = 0;
        assert_null(registry_by_handle(f->registry, 0x101));
        assert_null(registry_by_handle(f->registry, 0));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_order),       TEST(test_by_handle),
                TEST(test_many),        TEST(test_comes_and_goes),
                TEST(test_not_wanted),  TEST(test_leaves_when_closed),
                TEST(test_became_idle), TEST(test_back_while_leaving),
                TEST(test_moved),       TEST(test_scan),
                TEST(test_restore),     TEST(test_no_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
