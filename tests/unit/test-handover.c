/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What one run hands over arrives in the next, whatever ends a run, and however writes fail. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "handover.h"

static struct {
        unsigned calls_left; /* of pwrite(2); the one after them writes half of it, the rest none */
        bool fails;
        bool torn;
        unsigned n_calls;
        int read_errno; /* what pread(2) fails with */
} disk;

ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __real_pread(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset);

ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset) {
        disk.n_calls++;
        if (!disk.fails || disk.calls_left > 0) {
                disk.calls_left--;
                return __real_pwrite(fd, data, size, offset);
        }
        /* Not of the header: that is less than a page. */
        if (disk.torn && offset > 0) {
                disk.torn = false;
                return __real_pwrite(fd, data, size / 2, offset);
        }

        errno = ENOSPC;
        return -1;
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset) {
        return __wrap_pwrite(fd, data, size, offset);
}

ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset) {
        if (disk.read_errno == 0) /* never more than a few bytes at a time */
                return __real_pread(fd, data, size < 1000 ? size : 1000, offset);

        errno = disk.read_errno;
        return -1;
}

ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset) {
        return __wrap_pread(fd, data, size, offset);
}

static int setup(void **state) {
        int *fd = malloc(sizeof(*fd));

        memset(&disk, 0, sizeof(disk));
        *fd = handover_create();
        assert_true(*fd >= 0);
        *state = fd;
        return 0;
}

static int teardown(void **state) {
        int *fd = *state;

        safe_close(*fd);
        free(fd);
        return 0;
}

static const SysfsFunction sysfs = {
        .address = "0001:00:00.0",
        .driver = "vfio-pci",
        .vfio_bound = true,
        .fid = 0x10,
        .fh = 0x80020000,
        .uid = 0x1234,
        .pchid = 0x104,
        .vfn = 1,
        .pfgid = 2,
        .pft = 0x0b,
        .group = 7,
        .cdev = "vfio0",
        .binding = 4711,
};

static void add_function(Handover *h, const char *holder) {
        HandoverFunction *f = handover_add_function(h);

        assert_non_null(f);
        *f = (HandoverFunction){
                .sysfs = sysfs,
                .claimed = true,
                .released_until_usec = 1234567,
                .permanent = true,
                .owner = ":1.42",
                .owner_uid = 107,
        };
        strcpy(f->holder, holder);
}

static void add_inhibitor(Handover *h, const char *who, const char *const *addresses) {
        HandoverInhibitor inhibitor = {
                .id = UINT64_MAX,
                .addresses = (char **) addresses, /* only read from */
                .uid = UINT32_MAX,
                .pid = INT32_MAX,
        };
        HandoverInhibitor *added = handover_add_inhibitor(h);

        while (addresses[inhibitor.n_addresses])
                inhibitor.n_addresses++;
        strcpy(inhibitor.who, who);
        strcpy(inhibitor.why, "why not");
        assert_non_null(added);
        assert_int_equal(handover_copy_inhibitor(added, &inhibitor), 0);
}

static const char *const two_addresses[] = { "0001:00:00.0", "00000002:00:00.0", NULL };

static Handover example(const char *holder) {
        Handover h = { .bus_id = "0123456789abcdef0123456789abcdef" };

        add_function(&h, holder);
        add_inhibitor(&h, "backup", two_addresses);
        return h;
}

static void assert_same_sysfs(const SysfsFunction *a, const SysfsFunction *b) {
        assert_string_equal(a->address, b->address);
        assert_string_equal(a->driver, b->driver);
        assert_string_equal(a->cdev, b->cdev);
        assert_true(a->vfio_bound);
        assert_false(a->has_policy); /* it may be another one now */
        assert_int_equal(a->fid, b->fid);
        assert_int_equal(a->fh, b->fh);
        assert_int_equal(a->uid, b->uid);
        assert_int_equal(a->pchid, b->pchid);
        assert_int_equal(a->vfn, b->vfn);
        assert_int_equal(a->pfgid, b->pfgid);
        assert_int_equal(a->pft, b->pft);
        assert_int_equal(a->group, b->group);
        assert_true(a->binding == b->binding);
}

static void assert_same_function(const HandoverFunction *a, const HandoverFunction *b) {
        assert_same_sysfs(&a->sysfs, &b->sysfs);
        assert_int_equal(a->claimed, b->claimed);
        assert_int_equal(a->released, b->released);
        assert_int_equal(a->permanent, b->permanent);
        assert_int_equal(a->recovery_limit, b->recovery_limit);
        assert_true(a->released_until_usec == b->released_until_usec);
        assert_string_equal(a->holder, b->holder);
        assert_string_equal(a->owner, b->owner);
        assert_int_equal(a->owner_uid, b->owner_uid);
}

static void assert_same_inhibitor(const HandoverInhibitor *a, const HandoverInhibitor *b) {
        assert_true(a->id == b->id);
        assert_string_equal(a->who, b->who);
        assert_string_equal(a->why, b->why);
        assert_int_equal(a->uid, b->uid);
        assert_int_equal(a->pid, b->pid);
        assert_int_equal(a->n_addresses, b->n_addresses);
        for (size_t i = 0; i < a->n_addresses; i++)
                assert_string_equal(a->addresses[i], b->addresses[i]);
}

static Handover read_back(int fd) {
        unsigned skipped = 99;
        Handover h;

        assert_int_equal(handover_read(fd, &h, &skipped), 0);
        assert_int_equal(skipped, 0);
        return h;
}

static void assert_arrives(int fd, const Handover *h) {
        Handover now = read_back(fd);

        assert_string_equal(now.bus_id, h->bus_id);
        assert_int_equal(now.n_functions, h->n_functions);
        for (size_t i = 0; i < h->n_functions; i++)
                assert_same_function(&now.functions[i], &h->functions[i]);
        assert_int_equal(now.n_inhibitors, h->n_inhibitors);
        for (size_t i = 0; i < h->n_inhibitors; i++)
                assert_same_inhibitor(&now.inhibitors[i], &h->inhibitors[i]);
        handover_done(&now);
}

static void test_nothing_yet(void **state) {
        int fd = *(int *) *state;
        unsigned skipped;
        Handover h;

        assert_int_equal(handover_read(fd, &h, &skipped), -ENODATA);
}

static void test_empty(void **state) {
        int fd = *(int *) *state;
        Handover h = { 0 };

        assert_int_equal(handover_write(fd, &h), 0);
        assert_arrives(fd, &h);
}

static void test_example(void **state) {
        int fd = *(int *) *state;
        Handover h = example("qemu \"vm\\1\" für /dev/null");

        assert_int_equal(handover_write(fd, &h), 0);
        assert_arrives(fd, &h);
        handover_done(&h);
}

/* Each flag by itself, the longest texts, and the greatest numbers. */
static void test_extremes(void **state) {
        int fd = *(int *) *state;
        HandoverFunction *f;
        Handover h = { 0 };

        for (unsigned i = 0; i < 40; i++) {
                add_function(&h, "");
                f = &h.functions[i];
                f->claimed = i == 1;
                f->released = i == 2;
                f->permanent = i == 3;
                f->recovery_limit = i == 4;
                f->owner[0] = '\0';
                add_inhibitor(&h, "", two_addresses + i % 2);
                h.inhibitors[i].id = i;
        }
        f = &h.functions[39];
        memset(f->holder, 'h', sizeof(f->holder) - 1);
        memset(f->owner, ':', sizeof(f->owner) - 1);
        strcpy(f->sysfs.address, "ffffffff:ff:1f.7");
        memset(f->sysfs.driver, 'd', sizeof(f->sysfs.driver) - 1);
        memset(f->sysfs.cdev, 'c', sizeof(f->sysfs.cdev) - 1);
        f->sysfs.fid = f->sysfs.fh = f->sysfs.uid = f->sysfs.group = UINT32_MAX;
        f->sysfs.pchid = f->sysfs.vfn = UINT16_MAX;
        f->sysfs.pfgid = f->sysfs.pft = UINT8_MAX;
        f->sysfs.binding = f->released_until_usec = UINT64_MAX;
        f->owner_uid = UINT32_MAX;
        memset(h.inhibitors[39].who, '"', sizeof(h.inhibitors[39].who) - 1);
        memset(h.inhibitors[39].why, '\\', sizeof(h.inhibitors[39].why) - 1);

        assert_int_equal(handover_write(fd, &h), 0);
        assert_arrives(fd, &h);
        handover_done(&h);
}

/* Those recoveries arrive that may count, in their order, and go on to count. */
static void test_recoveries(void **state) {
        const RecoveryLimit limit = { .count = RECOVERY_LIMIT_MAX, .interval_usec = 1000 };
        int fd = *(int *) *state;
        Handover h = { 0 }, now;
        RecoveryHistory *was;

        for (uint64_t total = 0; total <= 3 * RECOVERY_LIMIT_MAX; total++) {
                uint64_t n = total < RECOVERY_LIMIT_MAX ? total : RECOVERY_LIMIT_MAX;

                h = (Handover){ 0 };
                add_function(&h, "");
                was = &h.functions[0].recoveries;
                for (uint64_t i = 0; i < total; i++)
                        assert_true(recovery_history_add(
                                was, &(RecoveryLimit){ 0 }, UINT64_MAX - 1000 + i));
                assert_int_equal(handover_write(fd, &h), 0);
                now = read_back(fd);
                assert_int_equal(now.functions[0].recoveries.total, n);
                for (uint64_t i = 0; i < n; i++)
                        assert_true(now.functions[0].recoveries.times_usec[i] ==
                                    was->times_usec[(total - n + i) % RECOVERY_LIMIT_MAX]);
                assert_int_equal(
                        recovery_history_add(&now.functions[0].recoveries, &limit, UINT64_MAX),
                        recovery_history_add(was, &limit, UINT64_MAX));
                handover_done(&now);
                handover_done(&h);
        }
}

/* Written again and again, longer and shorter: it arrives, and the memory it takes is bounded. */
static void test_again_and_again(void **state) {
        static const unsigned sizes[] = { 0, 1, 40, 2, 100, 99, 101, 3, 60, 0, 100 };
        int fd = *(int *) *state;
        struct stat st;

        for (unsigned round = 0; round < 10; round++)
                for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                        Handover h = { 0 };

                        for (unsigned n = 0; n < sizes[i]; n++)
                                add_function(&h, "holder");
                        assert_int_equal(handover_write(fd, &h), 0);
                        assert_arrives(fd, &h);
                        handover_done(&h);
                }

        assert_int_equal(fstat(fd, &st), 0);
        assert_true(st.st_size < 4 * 101 * 600);
}

/* The daemon ends, or there is no memory, at any write: either the former text is there or the new. */
static void test_failing_writes(void **state) {
        int fd = *(int *) *state;

        for (int torn = 0; torn < 2; torn++)
                for (unsigned n = 0;; n++) {
                        Handover former = example(n % 2 == 0 ? "former" : "another"),
                                 next = example("the next one, which is longer");
                        int r;

                        disk.fails = false;
                        assert_int_equal(handover_write(fd, &former), 0);
                        disk.fails = true;
                        disk.torn = torn;
                        disk.calls_left = n;
                        disk.n_calls = 0;
                        r = handover_write(fd, &next);
                        disk.fails = false;
                        assert_true(r == 0 || r == -ENOSPC);
                        assert_arrives(fd, r == 0 ? &next : &former);
                        handover_done(&former);
                        handover_done(&next);
                        if (r == 0) {
                                assert_int_equal(disk.n_calls, 2); /* the text, and where it is */
                                break;
                        }
                }
}

/* The first of all writes fails: then there is nothing, and the second counts. */
static void test_failing_first_write(void **state) {
        int fd = *(int *) *state;
        Handover h = example("first"), now;
        unsigned skipped;

        for (unsigned n = 0; n < 2; n++) {
                disk.fails = disk.torn = true;
                disk.calls_left = n;
                assert_int_equal(handover_write(fd, &h), -ENOSPC);
                assert_int_equal(handover_read(fd, &now, &skipped), -ENODATA);
        }
        disk.fails = false;
        assert_int_equal(handover_write(fd, &h), 0);
        assert_arrives(fd, &h);
        handover_done(&h);

        disk.fails = true;
        disk.calls_left = 0;
        assert_int_equal(handover_create(), -ENOSPC);
}

static void test_failing_reads(void **state) {
        int fd = *(int *) *state;
        Handover h = example("first"), now;
        unsigned skipped;

        assert_int_equal(handover_write(fd, &h), 0);
        disk.read_errno = EIO;
        assert_int_equal(handover_read(fd, &now, &skipped), -EIO);
        assert_int_equal(handover_write(fd, &(Handover){ 0 }), -EIO);
        disk.read_errno = 0;
        assert_arrives(fd, &h);
        handover_done(&h);
}

/* More than anybody would read is not written. */
static void test_too_long(void **state) {
        int fd = *(int *) *state;
        Handover former = example("former"), h = { 0 };
        char text[HANDOVER_TEXT_SIZE];

        assert_int_equal(handover_write(fd, &former), 0);
        memset(text, '\1', sizeof(text) - 1); /* each takes six bytes */
        text[sizeof(text) - 1] = '\0';
        for (unsigned i = 0; i < 16U * 1024U * 1024U / (6U * sizeof(text)) + 1; i++)
                add_function(&h, text);
        assert_int_equal(handover_write(fd, &h), -EFBIG);
        assert_arrives(fd, &former);
        handover_done(&former);
        handover_done(&h);
}

static void test_copy(void **state) {
        Handover h = { 0 };
        HandoverInhibitor copy;

        add_inhibitor(&h, "who", two_addresses);
        assert_int_equal(handover_copy_inhibitor(&copy, &h.inhibitors[0]), 0);
        assert_same_inhibitor(&copy, &h.inhibitors[0]);
        handover_done(&h);
        assert_int_equal(h.n_inhibitors, 0);
        assert_string_equal(copy.addresses[1], two_addresses[1]); /* its own */
        handover_inhibitor_done(&copy);
        assert_int_equal(copy.n_addresses, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_nothing_yet),      TEST(test_empty),
                TEST(test_example),          TEST(test_extremes),
                TEST(test_recoveries),       TEST(test_again_and_again),
                TEST(test_failing_writes),   TEST(test_failing_first_write),
                TEST(test_failing_reads),    TEST(test_too_long),
                cmocka_unit_test(test_copy),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
