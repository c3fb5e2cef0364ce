/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each call with which a ring is made or taken back fails: nothing stays open, and an image is not harmed. */

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "faults.h"
#include "ring-fixture.h"

#define SLOTS 16U

/* The linker's names, see --wrap in ld(1). */
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_fallocate(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t size);
void *__real_mmap(void *p, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *p, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *p, size_t size, int protection, int flags, int fd, off_t offset);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, long argument);
ssize_t __real_getrandom(void *p, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *p, size_t size, unsigned flags);
int __real_fstat(int fd, struct stat *ret);
int __wrap_fstat(int fd, struct stat *ret);
int __wrap_fstat64(int fd, struct stat *ret);
ssize_t __real_pread(int fd, void *p, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *p, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *p, size_t size, off_t offset);

static bool few_random_bytes;

int __wrap_memfd_create(const char *name, unsigned flags) {
        return fault("memfd_create") < 0 ? -1 : __real_memfd_create(name, flags);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t size) {
        return fault("fallocate") < 0 ? -1 : __real_fallocate(fd, mode, offset, size);
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t size) {
        return __wrap_fallocate(fd, mode, offset, size);
}

void *__wrap_mmap(void *p, size_t size, int protection, int flags, int fd, off_t offset) {
        return fault("mmap") < 0 ? MAP_FAILED : __real_mmap(p, size, protection, flags, fd, offset);
}

void *__wrap_mmap64(void *p, size_t size, int protection, int flags, int fd, off_t offset) {
        return __wrap_mmap(p, size, protection, flags, fd, offset);
}

int __wrap_fcntl(int fd, int command, ...) {
        va_list args;
        long argument;

        va_start(args, command);
        argument = va_arg(args, long);
        va_end(args);
        return __wrap_fcntl64(fd, command, argument);
}

int __wrap_fcntl64(int fd, int command, long argument) {
        return fault("fcntl") < 0 ? -1 : __real_fcntl(fd, command, argument);
}

ssize_t __wrap_getrandom(void *p, size_t size, unsigned flags) {
        if (fault("getrandom") < 0)
                return -1;
        return __real_getrandom(p, size, flags) - (few_random_bytes ? 1 : 0);
}

int __wrap_fstat(int fd, struct stat *ret) {
        return fault("fstat") < 0 ? -1 : __real_fstat(fd, ret);
}

int __wrap_fstat64(int fd, struct stat *ret) {
        return __wrap_fstat(fd, ret);
}

ssize_t __wrap_pread(int fd, void *p, size_t size, off_t offset) {
        return fault("pread") < 0 ? -1 : __real_pread(fd, p, size, offset);
}

ssize_t __wrap_pread64(int fd, void *p, size_t size, off_t offset) {
        return __wrap_pread(fd, p, size, offset);
}

static int next_fd(void) {
        int fd = dup(STDERR_FILENO);

        close(fd);
        return fd;
}

static void test_fresh(void **state) {
        static const int errors[] = { -ENOMEM, -EMFILE, -ENOSPC };
        int before = next_fd();

        for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
                unsigned n_failed = 0;

                for (unsigned n = 1, failed = 1; failed > 0; n++) {
                        Ring *ring = NULL;
                        RingOrigin origin;
                        int r;

                        faults_begin(NULL, n, 1, errors[i]);
                        r = ring_open(-EBADF, SLOTS, &ring, &origin);
                        failed = faults_end();
                        n_failed += failed;
                        assert_true(failed > 0 ? r < 0 && !ring : r == 0 && ring);
                        ring_free(ring);
                        assert_int_equal(next_fd(), before);
                }
                assert_true(n_failed >= 6); /* memory, memfd, allocate, map, seal, random bytes */
        }
        assert_null(ring_free(NULL));
}

static void test_few_random_bytes(void **state) {
        int before = next_fd();
        Ring *ring = NULL;
        RingOrigin origin;

        few_random_bytes = true;
        assert_int_equal(ring_open(-EBADF, SLOTS, &ring, &origin), -EIO);
        few_random_bytes = false;
        assert_null(ring);
        assert_int_equal(next_fd(), before);
}

static void test_interrupted(void **state) {
        Ring *ring = NULL;
        RingOrigin origin;

        faults_begin("fallocate", 1, 3, -EINTR);
        assert_int_equal(ring_open(-EBADF, SLOTS, &ring, &origin), 0);
        assert_int_equal(faults_end(), 3);
        ring_free(ring);
}

/* What the service manager keeps can be taken back by the next run, which finds all that there was. */
static void test_taken_back(void **state) {
        static const int errors[] = { -ENOMEM, -EMFILE, -ENOSPC };
        Ring *former = fixture_fresh(SLOTS), *ring;
        unsigned n_failed = 0;
        RingOrigin origin;
        int kept, before;

        for (unsigned i = 0; i < 20; i++)
                fixture_error(former);
        fixture_answer(fixture_reserve(former, RECORD_CCDF)); /* it ended here */
        kept = fixture_clone(former);
        ring_free(former);
        before = next_fd();

        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                for (unsigned n = 1, failed = 1; failed > 0; n++) {
                        uint64_t cursor = 0, missed;
                        const Record *record;
                        int r, fd = dup(kept);

                        ring = NULL;
                        faults_begin(NULL, n, 1, errors[i]);
                        r = ring_open(fd, SLOTS, &ring, &origin);
                        failed = faults_end();
                        n_failed += failed;
                        if (failed > 0) {
                                assert_true(r < 0);
                                assert_null(ring);
                                assert_int_equal(next_fd(), before);
                                if (errors[i] == -ENOMEM && strcmp(faults_last(), "fcntl") != 0 &&
                                    strcmp(faults_last(), "fstat") != 0)
                                        assert_int_equal(r, -ENOMEM); /* not damaged */
                        }

                        /* The one that worked, or the next run. */
                        if (failed > 0)
                                assert_int_equal(ring_open(dup(kept), 0, &ring, &origin), 0);
                        assert_int_equal(origin, RING_CONTINUED);
                        assert_int_equal(ring_last_sequence(ring), 21);
                        record = ring_next(ring, &cursor, &missed);
                        for (uint64_t sequence = 6; record; sequence++) {
                                assert_int_equal(record->sequence, sequence);
                                record = ring_next(ring, &cursor, &missed);
                        }
                        assert_int_equal(cursor, 21);
                        ring_free(ring);
                }
        assert_true(n_failed >= 7 * ELEMENTSOF(errors));
        close(kept);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fresh),
                cmocka_unit_test(test_few_random_bytes),
                cmocka_unit_test(test_interrupted),
                cmocka_unit_test(test_taken_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
