/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Images that no run of ours has left: each is refused as a whole, or harmless. */

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "ring-fixture.h"

/* The layout, in numbers: another version of the daemon may have written it. */
#define AT_MAGIC         0U
#define AT_VERSION       8U
#define AT_HEADER_SIZE   12U
#define AT_FUNCTION_SIZE 16U
#define AT_RECORD_SIZE   20U
#define AT_N_FUNCTIONS   24U
#define AT_N_SLOTS       28U
#define AT_STREAM_ID     32U
#define AT_HEAD          48U
#define AT_CURSORS       56U
#define AT_BOOT_ID       184U
#define AT_KMSG_SEQUENCE 200U
#define AT_FUNCTIONS     4096U
#define AT_SLOTS         (4096U + 1024U * 64U)
#define AT_FUNCTION(n)   (AT_FUNCTIONS + 64U * (n))
#define AT_SLOT(n)       (AT_SLOTS + 256U * (n))
#define N_SLOTS          16U
#define N_ENTRIES        20U /* entries 5 … 20 can be read, entry 17 is in slot 0 */
#define NEWEST           ((N_ENTRIES - 1U) % N_SLOTS)

static Ring *former_run(void) {
        RingOrigin origin;
        Ring *ring = NULL;

        assert_int_equal(ring_open(-EBADF, N_SLOTS, &ring, &origin), 0);
        for (unsigned i = 0; i < N_ENTRIES; i++)
                if (i % 5 == 4)
                        fixture_lost(ring, 2);
                else
                        fixture_error(ring);
        ring_set_cursor(ring, RING_READER_BUS, N_ENTRIES);
        assert_non_null(ring_function(ring, 0x10));
        assert_non_null(ring_function(ring, 0x11));
        return ring;
}

/* Opens it, which must fail so, and consume it. */
static void assert_refused(int fd, int expected, const char *what) {
        RingOrigin origin;
        Ring *ring = NULL;
        int r;

        r = ring_open(fd, N_SLOTS, &ring, &origin);
        if (r != expected)
                fail_msg("%s: %i instead of %i", what, r, expected);
        assert_null(ring);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        assert_int_equal(errno, EBADF);
}

static void patch(int fd, size_t offset, uint64_t value, size_t size) {
        uint8_t byte = (uint8_t) value;
        uint32_t word = (uint32_t) value;
        const void *p = size == 8   ? (const void *) &value
                        : size == 4 ? (const void *) &word
                                    : &byte;

        assert_int_equal(pwrite(fd, p, size, (off_t) offset), size);
}

static uint64_t peek(int fd, size_t offset) {
        uint64_t value;

        assert_int_equal(pread(fd, &value, sizeof(value), (off_t) offset), sizeof(value));
        return value;
}

static void test_layout(void **state) {
        _cleanup_(ring_freep) Ring *ring = former_run();
        int fd = ring_fd(ring);
        uint8_t stream[RING_STREAM_SIZE];

        assert_int_equal(fixture_size(ring), AT_SLOT(N_SLOTS));
        assert_true(peek(fd, AT_MAGIC) == UINT64_C(0x7a70636952696e67));
        assert_int_equal(peek(fd, AT_HEAD), N_ENTRIES);
        assert_int_equal(peek(fd, AT_CURSORS + 8U * RING_READER_BUS), N_ENTRIES);
        assert_true(peek(fd, AT_KMSG_SEQUENCE) == UINT64_MAX);
        assert_int_equal(peek(fd, AT_SLOT(NEWEST)), N_ENTRIES);
        assert_int_equal(peek(fd, AT_SLOT(NEWEST) + 112), 16); /* last sequence */
        assert_int_equal(peek(fd, AT_SLOT(NEWEST) + 120), 8);  /* sum of the losses */
        assert_int_equal(pread(fd, stream, sizeof(stream), AT_STREAM_ID), sizeof(stream));
        assert_memory_equal(stream, ring_stream_id(ring), sizeof(stream));
}

static void test_patched(void **state) {
        static const struct {
                const char *what;
                size_t offset;
                uint64_t value;
                size_t size;
                int expected;
        } cases[] = {
                { "other magic", AT_MAGIC, 0x7a70636952696e66, 8, -EBADMSG },
                { "no magic", AT_MAGIC, 0, 8, -EBADMSG },
                { "magic of another byte order", AT_MAGIC, 0x676e69526963707a, 8, -EBADMSG },
                { "no version", AT_VERSION, 0, 4, -EBADMSG },
                { "newer version", AT_VERSION, RING_VERSION + 1, 4, -EPROTO },
                { "much newer version", AT_VERSION, UINT32_MAX, 4, -EPROTO },
                { "other header size", AT_HEADER_SIZE, 8192, 4, -EBADMSG },
                { "other counter size", AT_FUNCTION_SIZE, 128, 4, -EBADMSG },
                { "other record size", AT_RECORD_SIZE, 128, 4, -EBADMSG },
                { "other number of functions", AT_N_FUNCTIONS, 512, 4, -EBADMSG },
                { "fewer slots than there are", AT_N_SLOTS, N_SLOTS - 1, 4, -EBADMSG },
                { "more slots than there are", AT_N_SLOTS, N_SLOTS + 1, 4, -EBADMSG },
                { "slots whose size overflows", AT_N_SLOTS, UINT32_MAX, 4, -EBADMSG },
                { "no slots", AT_N_SLOTS, 0, 4, -EBADMSG },
                { "head behind the newest entry", AT_HEAD, N_ENTRIES - 2, 8, -EBADMSG },
                { "head beyond the newest entry", AT_HEAD, N_ENTRIES + 1, 8, -EBADMSG },
                { "head before the first round", AT_HEAD, 3, 8, -EBADMSG },
                { "head at its end", AT_HEAD, UINT64_MAX, 8, -EBADMSG },
                { "head near its end", AT_HEAD, UINT64_MAX - N_SLOTS, 8, -EBADMSG },
                { "cursor beyond the head", AT_CURSORS, N_ENTRIES + 1, 8, -EBADMSG },
                { "cursor at its end", AT_CURSORS + 8, UINT64_MAX, 8, -EBADMSG },
                { "unknown cursor beyond the head", AT_CURSORS + 120, N_ENTRIES + 1, 8, -EBADMSG },
                { "same FID twice", AT_FUNCTION(1), 0x10, 4, -EBADMSG },
                { "place half taken", AT_FUNCTION(1) + 4, 2, 1, -EBADMSG },
                { "late twice", AT_FUNCTION(1) + 5, 2, 1, -EBADMSG },
                { "more drained than committed", AT_FUNCTION(1) + 40, 1, 8, -EBADMSG },
                { "more settled than drained", AT_FUNCTION(0) + 48, 1, 8, -EBADMSG },
                { "opened in the future", AT_FUNCTION(0) + 56, N_ENTRIES + 1, 8, -EBADMSG },
                { "position out of order", AT_SLOT(1), 3, 8, -EBADMSG },
                { "position of its neighbour", AT_SLOT(2), 18, 8, -EBADMSG },
                { "no position", AT_SLOT(NEWEST), 0, 8, -EBADMSG },
                { "hole in the sequence", AT_SLOT(1) + 8, 99, 8, -EBADMSG },
                { "error without a sequence", AT_SLOT(1) + 8, 0, 8, -EBADMSG },
                { "loss with a sequence", AT_SLOT(NEWEST) + 8, 17, 8, -EBADMSG },
                { "loss not in the sum", AT_SLOT(NEWEST) + 32, 3, 8, -EBADMSG },
                { "other sum of losses", AT_SLOT(1) + 120, 1, 8, -EBADMSG },
                { "other last sequence", AT_SLOT(NEWEST) + 112, 17, 8, -EBADMSG },
                { "more errors than entries", AT_SLOT(4) + 112, 99, 8, -EBADMSG },
                { "newest not committed", AT_SLOT(NEWEST) + 48, 1, 4, -EBADMSG },
                { "no such state", AT_SLOT(NEWEST) + 48, 77, 4, -EBADMSG },
                { "no such state of the next", AT_SLOT(NEWEST + 1) + 48, 77, 4, -EBADMSG },
                { "no kind", AT_SLOT(1) + 52, 0, 1, -EBADMSG },
                { "no such kind", AT_SLOT(1) + 52, _RECORD_KIND_MAX, 1, -EBADMSG },
                { "no source", AT_SLOT(1) + 53, 0, 1, -EBADMSG },
                { "no such source", AT_SLOT(1) + 53, _RECORD_SOURCE_MAX, 1, -EBADMSG },
                { "no such interface", AT_SLOT(1) + 54, _RECORD_INTERFACE_MAX, 1, -EBADMSG },
                { "no such recovery", AT_SLOT(1) + 55, _RECORD_RECOVERY_MAX, 1, -EBADMSG },
                { "no address", AT_SLOT(1) + 56, 0, 1, -EBADMSG },
                { "line feed in the address", AT_SLOT(1) + 58, '\n', 1, -EBADMSG },
                { "raw bytes beyond the slot", AT_SLOT(1) + 104, RECORD_RAW_SIZE + 1, 4, -EBADMSG },
                { "raw bytes beyond memory", AT_SLOT(1) + 104, UINT32_MAX, 4, -EBADMSG },
        };
        _cleanup_(ring_freep) Ring *ring = former_run();

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                int fd = fixture_clone(ring);

                patch(fd, cases[i].offset, cases[i].value, cases[i].size);
                assert_refused(fd, cases[i].expected, cases[i].what);
        }

        /* And with none of these it is one of ours. */
        ring = fixture_rerun(TAKE_PTR(ring));
        assert_int_equal(ring_head(ring), N_ENTRIES);
}

/* Adds to a field of all entries, but where it is zero for good. */
static int shifted(const Ring *ring, size_t field, uint64_t by) {
        int fd = fixture_clone(ring);

        for (unsigned i = 0; i < N_SLOTS; i++) {
                uint64_t value = peek(fd, AT_SLOT(i) + field);

                if (value != 0)
                        patch(fd, AT_SLOT(i) + field, value + by, 8);
        }

        return fd;
}

/* Entries that agree with each other, and yet cannot be. */
static void test_shifted(void **state) {
        _cleanup_(ring_freep) Ring *ring = former_run();
        uint64_t rounds = UINT64_MAX / N_SLOTS * N_SLOTS - N_SLOTS;
        int fd;

        assert_refused(shifted(ring, 120, UINT64_MAX), -EBADMSG, "less lost in all than once");

        fd = shifted(ring, 112, 1000);
        for (unsigned i = 0; i < N_SLOTS; i++)
                if (peek(fd, AT_SLOT(i) + 8) != 0)
                        patch(fd, AT_SLOT(i) + 8, peek(fd, AT_SLOT(i) + 112), 8);
        assert_refused(fd, -EBADMSG, "more errors than entries");

        fd = shifted(ring, 0, rounds);
        patch(fd, AT_HEAD, N_ENTRIES + rounds, 8);
        assert_refused(fd, -EBADMSG, "positions that are about to wrap");

        /* Many rounds are fine. */
        rounds = N_SLOTS * UINT64_C(1000000007);
        fd = shifted(ring, 0, rounds);
        patch(fd, AT_HEAD, N_ENTRIES + rounds, 8);
        ring_freep(&ring);
        assert_int_equal(ring_open(fd, 0, &ring, &(RingOrigin){ 0 }), 0);
        assert_true(ring_head(ring) == N_ENTRIES + rounds);
}

static void test_address_without_end(void **state) {
        _cleanup_(ring_freep) Ring *ring = former_run();
        int fd = fixture_clone(ring);

        for (size_t i = 0; i < PCI_ADDRESS_SIZE; i++)
                patch(fd, AT_SLOT(1) + 56 + i, '0', 1);
        assert_refused(fd, -EBADMSG, "address without an end");
}

static void test_sizes(void **state) {
        static const size_t sizes[] = {
                0,
                1,
                12,
                4095,
                4096,
                AT_SLOTS,
                AT_SLOT(N_SLOTS - 1),
                AT_SLOT(N_SLOTS) - 1,
                AT_SLOT(N_SLOTS) + 1,
                AT_SLOT(N_SLOTS + 1),
                AT_SLOT((size_t) RING_SLOTS_MAX + 1),
        };
        _cleanup_(ring_freep) Ring *ring = former_run();

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                int fd = fixture_clone(ring);

                assert_int_equal(ftruncate(fd, (off_t) sizes[i]), 0);
                assert_refused(fd, -EBADMSG, "other size");
        }
}

static void test_foreign_files(void **state) {
        char path[] = "/tmp/test-ring-XXXXXX";
        int fds[2], fd;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_refused(fds[0], -EBADMSG, "pipe");
        assert_refused(fds[1], -EBADMSG, "writing end of a pipe");
        assert_refused(eventfd(0, EFD_CLOEXEC), -EBADMSG, "eventfd");
        assert_refused(open("/dev/zero", O_RDWR | O_CLOEXEC), -EBADMSG, "device");
        assert_refused(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), -EBADMSG, "directory");
        assert_refused(open("/", O_PATH | O_CLOEXEC), -EBADMSG, "path");
        assert_refused(memfd_create("empty", MFD_CLOEXEC), -EBADMSG, "empty memfd");

        fd = mkostemp(path, O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(ftruncate(fd, AT_SLOT(N_SLOTS)), 0);
        assert_refused(fd, -EBADMSG, "regular file");
}

/* All is right with it but what kind of file it is. */
static void test_image_in_another_file(void **state) {
        _cleanup_(ring_freep) Ring *ring = former_run();
        static uint8_t image[AT_SLOT(N_SLOTS)];
        char path[] = "/tmp/test-ring-XXXXXX";
        int fd, readable;

        assert_int_equal(pread(ring_fd(ring), image, sizeof(image), 0), sizeof(image));

        fd = mkostemp(path, O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(pwrite(fd, image, sizeof(image), 0), sizeof(image));
        assert_refused(fd, -EBADMSG, "image in a regular file");

        fd = memfd_create("image", MFD_CLOEXEC);
        assert_int_equal(pwrite(fd, image, sizeof(image), 0), sizeof(image));
        assert_refused(fd, -EBADMSG, "image that cannot be sealed");

        fd = fixture_memfd(image, sizeof(image));
        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
        assert_refused(fd, -EBADMSG, "image sealed against writing");

        fd = fixture_memfd(image, sizeof(image));
        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
        assert_refused(fd, -EBADMSG, "image sealed against later writing");

        fd = fixture_memfd(image, sizeof(image));
        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL), 0);
        assert_refused(fd, -EBADMSG, "image that can be cut off");

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%i", ring_fd(ring));
        readable = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(readable >= 0);
        assert_refused(readable, -EBADMSG, "image opened for reading");

        /* And the same bytes in a file of the right kind are a ring. */
        ring = fixture_rerun(TAKE_PTR(ring));
        assert_int_equal(ring_head(ring), N_ENTRIES);
}

/* Reads all there is, as every reader does. */
static void read_all(const Ring *ring) {
        uint64_t cursor = 0, missed, sum = 0;
        const Record *record;
        CcdfError error;
        uint8_t pending;

        while ((record = ring_next(ring, &cursor, &missed))) {
                sum += record_pec(record) + strlen(record->identity.address);
                if (record_ccdf(record, &error) == 0)
                        sum += error.failing_address;
                if (record_pending(record, &pending) == 0)
                        sum += pending;
                for (uint32_t i = 0; i < record->raw_size; i++)
                        sum += record->raw[i];
        }

        assert_true(cursor == ring_head(ring));
        assert_true(ring_cursor_after(ring, sum) <= ring_head(ring));
        assert_true(ring_oldest_sequence(ring) <= ring_last_sequence(ring) + 1);
}

/* Some bytes of the image change at random: it is refused, or can be read and written all the same. */
static void test_random_damage(void **state) {
        _cleanup_(ring_freep) Ring *former = former_run();
        unsigned refused = 0, opened = 0;
        uint64_t random = 1;

        fixture_answer(fixture_reserve(former, RECORD_CCDF));
        for (unsigned i = 0; i < 3000; i++) {
                _cleanup_(ring_freep) Ring *ring = NULL;
                int fd = fixture_clone(former), r;
                RingOrigin origin;

                for (unsigned n = 0; n < 1 + i % 3; n++) {
                        uint32_t at;

                        random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
                        at = (uint32_t) (random >> 32);
                        /* the places where something lies */
                        switch (at % 3) {
                        case 0:
                                at = at / 3 % 208;
                                break;
                        case 1:
                                at = AT_FUNCTIONS + at / 3 % 192;
                                break;
                        default:
                                at = AT_SLOTS + at / 3 % (N_SLOTS * RECORD_SIZE);
                        }
                        patch(fd, at, random >> 24, 1);
                }

                r = ring_open(fd, 0, &ring, &origin);
                if (r < 0) {
                        assert_true(r == -EBADMSG || r == -EPROTO);
                        refused++;
                        continue;
                }

                opened++;
                read_all(ring);
                for (unsigned n = 0; n < N_SLOTS + 3; n++)
                        fixture_error(ring);
                read_all(ring);
                ring = fixture_rerun(TAKE_PTR(ring));
        }

        assert_true(refused > 300 && opened > 300);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_layout),
                cmocka_unit_test(test_patched),
                cmocka_unit_test(test_shifted),
                cmocka_unit_test(test_address_without_end),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_foreign_files),
                cmocka_unit_test(test_image_in_another_file),
                cmocka_unit_test(test_random_damage),
        };

        return cmocka_run_group_tests_name("ring-hostile", tests, NULL, NULL);
}
