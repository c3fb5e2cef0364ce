/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Nothing that somebody else wrote in place of a handover does harm, and nothing of it is believed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "handover.h"

#define PLACE     4096U
#define N_FLIPS   4000U
#define TEXT_SIZE (2U * 1024U * 1024U)

static const char *const two_addresses[] = { "0001:00:00.0", "0002:00:00.0" };

/* One with something of everything in it. */
static int example_fd(void) {
        HandoverInhibitor *inhibitor, terms = {
                .id = 7,
                .addresses = (char **) two_addresses, /* only read from */
                .n_addresses = 2,
                .who = "backup",
                .why = "why",
                .uid = 5,
                .pid = 6,
        };
        Handover h = { .bus_id = "0123456789abcdef0123456789abcdef" };
        HandoverFunction *f = handover_add_function(&h);
        int fd = handover_create();

        *f = (HandoverFunction){
                .sysfs = { .address = "0001:00:00.0", .driver = "vfio-pci", .cdev = "vfio0" },
                .claimed = true,
                .holder = "holder",
                .owner = ":1.42",
                .recoveries = { .total = 2, .times_usec = { 1, 2 } },
        };
        inhibitor = handover_add_inhibitor(&h);
        assert_int_equal(handover_copy_inhibitor(inhibitor, &terms), 0);
        assert_int_equal(handover_write(fd, &h), 0);
        handover_done(&h);
        return fd;
}

static uint64_t size_of(int fd) {
        struct stat st;

        assert_int_equal(fstat(fd, &st), 0);
        return (uint64_t) st.st_size;
}

/* An image of any text. */
static int image_of(const char *text, size_t size) {
        const uint64_t place[2] = { PLACE, size };
        int fd = memfd_create("image", MFD_CLOEXEC);

        assert_int_equal(pwrite(fd, "ZPCIHAND", 8, 0), 8);
        assert_int_equal(pwrite(fd, place, sizeof(place), 8), sizeof(place));
        assert_int_equal(pwrite(fd, text, size, PLACE), (ssize_t) size);
        return fd;
}

static bool is_plain(const char *text, size_t size) {
        const char *end = memchr(text, '\0', size);

        for (const char *c = text; end && c < end; c++)
                if ((unsigned char) *c < ' ' || *c == '\x7f')
                        return false;
        return end;
}

/* What those who use it rely on. */
static void assert_sane(const Handover *h) {
        assert_true(is_plain(h->bus_id, sizeof(h->bus_id)));
        for (size_t i = 0; i < h->n_functions; i++) {
                const HandoverFunction *f = &h->functions[i];

                assert_true(pci_address_valid(f->sysfs.address));
                assert_true(is_plain(f->sysfs.driver, sizeof(f->sysfs.driver)));
                assert_true(is_plain(f->sysfs.cdev, sizeof(f->sysfs.cdev)));
                assert_null(strchr(f->sysfs.cdev, '/'));
                assert_true(is_plain(f->holder, sizeof(f->holder)));
                assert_true(is_plain(f->owner, sizeof(f->owner)));
                assert_true(f->recoveries.total <= RECOVERY_LIMIT_MAX);
                assert_true(f->sysfs.vfio_bound);
        }
        for (size_t i = 0; i < h->n_inhibitors; i++) {
                const HandoverInhibitor *inhibitor = &h->inhibitors[i];

                assert_true(inhibitor->n_addresses > 0);
                for (size_t j = 0; j < inhibitor->n_addresses; j++)
                        assert_true(pci_address_valid(inhibitor->addresses[j]));
                assert_true(is_plain(inhibitor->who, sizeof(inhibitor->who)));
                assert_true(is_plain(inhibitor->why, sizeof(inhibitor->why)));
        }
}

/* Reads it, whatever it is. Returns what handover_read() did; closes the fd. */
static int read_any(int fd, size_t *ret_functions, size_t *ret_inhibitors, unsigned *ret_skipped) {
        Handover h;
        int r;

        r = handover_read(fd, &h, ret_skipped);
        *ret_functions = *ret_inhibitors = 0;
        if (r == 0) {
                assert_sane(&h);
                *ret_functions = h.n_functions;
                *ret_inhibitors = h.n_inhibitors;
                handover_done(&h);
        }
        close(fd);
        return r;
}

static int judge(int fd) {
        size_t functions, inhibitors;
        unsigned skipped;

        return read_any(fd, &functions, &inhibitors, &skipped);
}

static void test_truncated(void **state) {
        int fd = example_fd();

        for (uint64_t size = size_of(fd); size-- > 0;) {
                assert_int_equal(ftruncate(fd, (off_t) size), 0);
                assert_int_equal(judge(dup(fd)), -EBADMSG);
                assert_int_equal(handover_write(fd, &(Handover){ 0 }), -EBADMSG);
                /* Of the page that is empty, one byte is like the next. */
                if (size > 100 && size < PLACE)
                        size -= 50;
        }
        close(fd);
}

/* The text alone cut short, with a header that says so. */
static void test_truncated_text(void **state) {
        int fd = example_fd();
        uint64_t size = size_of(fd) - PLACE;

        while (size-- > 1) {
                assert_int_equal(pwrite(fd, &size, sizeof(size), 16), sizeof(size));
                assert_int_equal(judge(dup(fd)), -EBADMSG);
        }
        close(fd);
}

static void test_flipped(void **state) {
        unsigned n_read = 0, n_refused = 0;
        uint8_t image[16384];
        int fd = example_fd();
        size_t size = size_of(fd);

        assert_true(size <= sizeof(image));
        assert_int_equal(pread(fd, image, size, 0), (ssize_t) size);
        srandom(1);

        for (unsigned i = 0; i < N_FLIPS; i++) {
                unsigned n = 1 + (unsigned) random() % 3;
                int r;

                for (unsigned j = 0; j < n; j++) {
                        /* One in ten in the header. */
                        size_t at = random() % 10 == 0 ? (size_t) random() % 24
                                                       : PLACE + (size_t) random() % (size - PLACE);
                        uint8_t value = random() % 2 == 0
                                                ? (uint8_t) random()
                                                : image[at] ^ (uint8_t) (1U << random() % 8);

                        assert_int_equal(pwrite(fd, &value, 1, (off_t) at), 1);
                }
                r = judge(dup(fd));
                assert_true(r == 0 || r == -EBADMSG || r == -EPROTO);
                n_read += r == 0;
                n_refused += r != 0;
                assert_int_equal(pwrite(fd, image, size, 0), (ssize_t) size);
        }

        assert_true(n_read > N_FLIPS / 10 && n_refused > N_FLIPS / 10); /* both are tried */
        close(fd);
}

static void test_headers(void **state) {
        static const uint64_t places[][2] = {
                { PLACE, UINT64_MAX },
                { PLACE, 16U * 1024U * 1024U + 1 },
                { PLACE, 1U << 20 },
                { UINT64_MAX, 16 },
                { UINT64_MAX - 15, 16 },
                { 1U << 20, 1 },
                { 0, 24 },
        };
        int fd = example_fd();

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                assert_int_equal(pwrite(fd, places[i], 16, 8), 16);
                assert_int_equal(judge(dup(fd)), -EBADMSG);
        }
        close(fd);

        fd = example_fd();
        assert_int_equal(pwrite(fd, "z", 1, 0), 1);
        assert_int_equal(judge(fd), -EBADMSG);
}

/* A text of 16 MiB is read, and one byte more is not: with blanks in it that nobody wrote. */
static void test_size(void **state) {
        static const char text[] =
                "{\"version\":1,\"bus\":\"\",\"functions\":[],\"inhibitors\":[]}";
        size_t size = 16U * 1024U * 1024U;
        char *padded = malloc(size + 1);
        int r;

        memset(padded, ' ', size + 1);
        memcpy(padded + size + 1 - strlen(text), text, strlen(text));
        r = judge(image_of(padded + 1, size));
        assert_int_equal(r, 0);
        assert_int_equal(judge(image_of(padded, size + 1)), -EBADMSG);
        free(padded);
}

static void test_no_memfd(void **state) {
        int fds[2], fd;

        assert_int_equal(pipe(fds), 0);
        assert_int_equal(judge(fds[0]), -EBADMSG);
        close(fds[1]);
        assert_int_equal(judge(open("/", O_RDONLY | O_DIRECTORY)), -EBADMSG);
        assert_int_equal(judge(open("/dev/zero", O_RDWR)), -EBADMSG);
        assert_int_equal(judge(memfd_create("empty", 0)), -EBADMSG);

        fd = example_fd();
        close(fd);
        assert_int_equal(judge(fd), -EBADF);
}

#define FUNCTION_WITH(what)                                                                        \
        "{\"address\":\"0001:00:00.0\",\"driver\":\"\",\"cdev\":\"\",\"fid\":1,\"fh\":1,"          \
        "\"uid\":1,\"pchid\":1,\"vfn\":1,\"pfgid\":1,\"pft\":1,\"group\":1,\"binding\":1,"         \
        "\"claimed\":false,\"released\":false,\"permanent\":false,\"recovery_limit\":false,"       \
        "\"released_until_usec\":0,\"holder\":\"\",\"owner\":\"\",\"owner_uid\":0,"                \
        "\"recoveries\":[]" what "}"
#define INHIBITOR_WITH(what)                                                                       \
        "{\"addresses\":[\"0001:00:00.0\"],\"id\":1,\"who\":\"\",\"why\":\"\",\"uid\":1,"          \
        "\"pid\":1" what "}"
#define TEXT_OF(functions, inhibitors)                                                             \
        "{\"version\":1,\"bus\":\"\",\"functions\":[" functions "],\"inhibitors\":[" inhibitors "]}"

/* Texts that are refused as a whole. */
static void test_bad_texts(void **state) {
        static const char *const texts[] = {
                " ",
                "null",
                "[]",
                "\"text\"",
                "{}",
                "{\"version\":1}",
                "{\"version\":\"1\",\"bus\":\"\",\"functions\":[],\"inhibitors\":[]}",
                "{\"version\":-1,\"bus\":\"\",\"functions\":[],\"inhibitors\":[]}",
                "{\"version\":1.5,\"bus\":\"\",\"functions\":[],\"inhibitors\":[]}",
                "{\"version\":1,\"functions\":[],\"inhibitors\":[]}",
                "{\"version\":1,\"bus\":3,\"functions\":[],\"inhibitors\":[]}",
                "{\"version\":1,\"bus\":\"\\n\",\"functions\":[],\"inhibitors\":[]}",
                "{\"version\":1,\"bus\":\"0123456789abcdef0123456789abcdefX\",\"functions\":[],"
                "\"inhibitors\":[]}",
                "{\"version\":1,\"bus\":\"\",\"functions\":{},\"inhibitors\":[]}",
                "{\"version\":1,\"bus\":\"\",\"functions\":[]}",
                TEXT_OF("", "") "{}",
                TEXT_OF("", "") "garbage",
                TEXT_OF(FUNCTION_WITH(",\"holder\":\"\xff\""), ""), /* no UTF-8 */
                TEXT_OF(FUNCTION_WITH(",\"holder\":\"\xc3\""), ""),
        };
        static const char with_null[] = TEXT_OF("", "") "\0";
        static const char null_inside[] = "{\"version\":1,\"bus\":\"\0\",\"functions\":[],"
                                          "\"inhibitors\":[]}";

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (judge(image_of(texts[i], strlen(texts[i]))) != -EBADMSG)
                        fail_msg("not refused: %s", texts[i]);
        assert_int_equal(judge(image_of(with_null, sizeof(with_null) - 1)), -EBADMSG);
        assert_int_equal(judge(image_of(null_inside, sizeof(null_inside) - 1)), -EBADMSG);
}

static void test_newer(void **state) {
        static const char *const texts[] = {
                "{\"version\":2}",
                "{\"version\":18446744073709551615}",
                "{\"version\":99999999999999999999999,\"bus\":[]}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                assert_int_equal(judge(image_of(texts[i], strlen(texts[i]))), -EPROTO);
}

static void assert_skipped(const char *functions, const char *inhibitors, bool wanted) {
        size_t n_functions, n_inhibitors;
        char text[8192];
        unsigned skipped;
        int n;

        n = snprintf(text, sizeof(text), TEXT_OF("%s", "%s"), functions, inhibitors);
        assert_true(n < (int) sizeof(text));
        assert_int_equal(
                read_any(image_of(text, (size_t) n), &n_functions, &n_inhibitors, &skipped), 0);
        if (skipped != wanted || n_functions + n_inhibitors != !wanted)
                fail_msg("%s: %s", wanted ? "not left out" : "left out", text);
}

/* The last of two of the same name counts. */
static void test_bad_functions(void **state) {
        static const char *const functions[] = {
                "1",
                "null",
                "\"text\"",
                "[]",
                "{}",
                FUNCTION_WITH(",\"address\":\"\""),
                FUNCTION_WITH(",\"address\":\"0001:00:00.8\""),
                FUNCTION_WITH(",\"address\":\"../../../../etc\""),
                FUNCTION_WITH(",\"address\":\"0001:00:00.0\\u0000\""),
                FUNCTION_WITH(",\"address\":[\"0001:00:00.0\"]"),
                FUNCTION_WITH(",\"cdev\":\"../vfio0\""),
                FUNCTION_WITH(",\"cdev\":\"/dev/mem\""),
                FUNCTION_WITH(",\"cdev\":null"),
                FUNCTION_WITH(",\"driver\":\"a\\nb\""),
                FUNCTION_WITH(",\"driver\":\"0123456789012345678901234567890123456789012345678901"
                              "234567890123\""),
                FUNCTION_WITH(",\"fid\":4294967296"),
                FUNCTION_WITH(",\"fid\":-1"),
                FUNCTION_WITH(",\"fid\":\"1\""),
                FUNCTION_WITH(",\"fid\":1.0"),
                FUNCTION_WITH(",\"fid\":true"),
                FUNCTION_WITH(",\"pchid\":65536"),
                FUNCTION_WITH(",\"pft\":256"),
                FUNCTION_WITH(",\"claimed\":1"),
                FUNCTION_WITH(",\"released\":\"no\""),
                FUNCTION_WITH(",\"permanent\":null"),
                FUNCTION_WITH(",\"released_until_usec\":-5"),
                FUNCTION_WITH(",\"holder\":\"\\u001b[2J\""),
                FUNCTION_WITH(",\"holder\":\"\\u007f\""),
                FUNCTION_WITH(",\"owner\":{}"),
                FUNCTION_WITH(",\"owner_uid\":4294967296"),
                FUNCTION_WITH(",\"recoveries\":{}"),
                FUNCTION_WITH(",\"recoveries\":[\"1\"]"),
                FUNCTION_WITH(",\"recoveries\":[-1]"),
                FUNCTION_WITH(",\"recoveries\":[[1]]"),
                FUNCTION_WITH(",\"recoveries\":["
                              "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
                              "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"),
        };

        assert_skipped(FUNCTION_WITH(""), "", false);
        assert_skipped(FUNCTION_WITH(",\"more\":[1,{\"a\":null}]"), "", false);
        assert_skipped(FUNCTION_WITH(",\"binding\":18446744073709551615"), "", false);
        for (size_t i = 0; i < ELEMENTSOF(functions); i++)
                assert_skipped(functions[i], "", true);
}

static void test_bad_inhibitors(void **state) {
        static const char *const inhibitors[] = {
                "1",
                "null",
                "{}",
                INHIBITOR_WITH(",\"addresses\":[]"),
                INHIBITOR_WITH(",\"addresses\":\"0001:00:00.0\""),
                INHIBITOR_WITH(",\"addresses\":[\"0001:00:00.0\",\"0001:00:00.9\"]"),
                INHIBITOR_WITH(",\"addresses\":[\"0001:00:00.0\",1]"),
                INHIBITOR_WITH(",\"addresses\":[\"0001:00:00.0\",null]"),
                INHIBITOR_WITH(",\"addresses\":[\"0001:00:00.0\\u0000/..\"]"),
                INHIBITOR_WITH(",\"id\":\"1\""),
                INHIBITOR_WITH(",\"id\":-1"),
                INHIBITOR_WITH(",\"who\":\"\\t\""),
                INHIBITOR_WITH(",\"why\":7"),
                INHIBITOR_WITH(",\"pid\":2147483648"),
                INHIBITOR_WITH(",\"uid\":4294967296"),
        };

        assert_skipped("", INHIBITOR_WITH(""), false);
        for (size_t i = 0; i < ELEMENTSOF(inhibitors); i++)
                assert_skipped("", inhibitors[i], true);
}

/* A text with n times the same in the middle. */
static int image_of_many(const char *begin, const char *item, unsigned n, const char *end) {
        char *text = malloc(TEXT_SIZE), *to;
        int fd;

        assert_true(strlen(begin) + n * (strlen(item) + 1) + strlen(end) < TEXT_SIZE);
        to = stpcpy(text, begin);
        for (unsigned i = 0; i < n; i++) {
                to = stpcpy(to, item);
                if (i + 1 < n && item[0] != '[')
                        *to++ = ',';
        }
        to = stpcpy(to, end);
        fd = image_of(text, (size_t) (to - text));
        free(text);
        return fd;
}

static void test_huge_counts(void **state) {
        size_t functions, inhibitors;
        unsigned skipped;

        assert_int_equal(read_any(image_of_many("{\"version\":1,\"bus\":\"\",\"inhibitors\":[],"
                                                "\"functions\":[",
                                                FUNCTION_WITH(""),
                                                4100,
                                                "]}"),
                                  &functions,
                                  &inhibitors,
                                  &skipped),
                         0);
        assert_int_equal(functions, 4096);
        assert_int_equal(skipped, 4);

        assert_int_equal(read_any(image_of_many("{\"version\":1,\"bus\":\"\",\"functions\":[],"
                                                "\"inhibitors\":[",
                                                INHIBITOR_WITH(""),
                                                5000,
                                                "]}"),
                                  &functions,
                                  &inhibitors,
                                  &skipped),
                         0);
        assert_int_equal(inhibitors, 4096);
        assert_int_equal(skipped, 904);

        assert_int_equal(
                read_any(image_of_many("{\"version\":1,\"bus\":\"\",\"functions\":[],"
                                       "\"inhibitors\":[{\"id\":1,\"who\":\"\",\"why\":\"\","
                                       "\"uid\":1,\"pid\":1,\"addresses\":[",
                                       "\"0001:00:00.0\"",
                                       4097,
                                       "]}]}"),
                         &functions,
                         &inhibitors,
                         &skipped),
                0);
        assert_int_equal(inhibitors, 0);
        assert_int_equal(skipped, 1);
}

static void test_deep(void **state) {
        assert_int_equal(judge(image_of_many("", "[", 100000, "")), -EBADMSG);
        assert_int_equal(
                judge(image_of_many(
                        "{\"version\":1,\"bus\":\"\",\"functions\":[],\"inhibitors\":[],\"more\":",
                        "[{\"a\":",
                        20000,
                        "")),
                -EBADMSG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_truncated),     cmocka_unit_test(test_truncated_text),
                cmocka_unit_test(test_flipped),       cmocka_unit_test(test_headers),
                cmocka_unit_test(test_size),          cmocka_unit_test(test_no_memfd),
                cmocka_unit_test(test_bad_texts),     cmocka_unit_test(test_newer),
                cmocka_unit_test(test_bad_functions), cmocka_unit_test(test_bad_inhibitors),
                cmocka_unit_test(test_huge_counts),   cmocka_unit_test(test_deep),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
