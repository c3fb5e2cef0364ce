/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An inhibitor lasts as long as anybody has its fd, and longer than the daemon. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "fake-manager.h"
#include "former-fds.h"
#include "inhibitor.h"

#define WAIT_USEC (10 * USEC_PER_SEC)

#define A "0001:00:00.0"
#define B "0002:00:00.0"
#define C "0003:00:00.0"

typedef struct Bench {
        sd_event *event;
        FakeManager manager;
        FdStore *store;
        Inhibitors *inhibitors;
        unsigned n_changes;
} Bench;

static void on_changed(Inhibitors *inhibitors, void *userdata) {
        ((Bench *) userdata)->n_changes++;
}

static int setup(void **state) {
        Bench *b = calloc(1, sizeof(*b));
        const InhibitorsListener listener = { .changed = on_changed, .userdata = b };

        assert_true(sd_event_new(&b->event) >= 0);
        fake_manager_start(&b->manager, b->event);
        assert_int_equal(fdstore_new(b->event, &(FdStoreListener){ 0 }, &b->store), 0);
        assert_int_equal(inhibitors_new(b->event, b->store, &listener, &b->inhibitors), 0);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        Bench *b = *state;

        inhibitors_free(b->inhibitors);
        fdstore_free(b->store);
        fake_manager_end(&b->manager);
        sd_event_unref(b->event);
        free(b);
        return 0;
}

static void run_dry(Bench *b) {
        while (sd_event_run(b->event, 0) > 0)
                ;
}

#define run_until(bench, condition)                                                                \
        do {                                                                                       \
                uint64_t _end = now_usec(CLOCK_MONOTONIC) + WAIT_USEC;                             \
                while (!(condition)) {                                                             \
                        if (now_usec(CLOCK_MONOTONIC) > _end)                                      \
                                fail_msg("waited for %s", #condition);                             \
                        assert_true(sd_event_run((bench)->event, WAIT_USEC) >= 0);                 \
                }                                                                                  \
        } while (false)

/* Named by who, of two addresses, or of one if they are the same. */
static int add(Bench *b, const char *who, uid_t uid, const char *first, const char *second) {
        char *addresses[] = { (char *) first, (char *) second }; /* only read from */
        Inhibitor terms = {
                .addresses = addresses,
                .n_addresses = first == second ? 1 : 2,
                .uid = uid,
                .pid = 99,
        };
        int fd, r;

        (void) strcpy(terms.who, who);
        (void) strcpy(terms.why, "why");
        r = inhibitors_add(b->inhibitors, &terms, &fd);
        return r < 0 ? r : fd;
}

static void assert_found(const Bench *b, const char *address, const char *who) {
        const Inhibitor *inhibitor = inhibitors_find(b->inhibitors, address);

        if (!who) {
                assert_null(inhibitor);
                return;
        }
        assert_non_null(inhibitor);
        assert_string_equal(inhibitor->who, who);
}

static size_t n_inhibitors(const Bench *b) {
        size_t n = 0;

        for (const Inhibitor *i = inhibitors_next(b->inhibitors, NULL); i;
             i = inhibitors_next(b->inhibitors, i))
                n++;
        return n;
}

static void test_find(void **state) {
        Bench *b = *state;
        const Inhibitor *inhibitor;
        int first, second;

        assert_null(inhibitors_next(b->inhibitors, NULL));
        first = add(b, "first", 5, A, B);
        second = add(b, "second", 6, B, C);
        assert_int_equal(b->n_changes, 2);
        assert_found(b, A, "first");
        assert_found(b, B, "first"); /* the oldest */
        assert_found(b, C, "second");
        assert_found(b, "0004:00:00.0", NULL);
        assert_true(fcntl(first, F_GETFD) & FD_CLOEXEC);

        inhibitor = inhibitors_next(b->inhibitors, NULL);
        assert_string_equal(inhibitor->who, "first");
        assert_string_equal(inhibitor->why, "why");
        assert_int_equal(inhibitor->uid, 5);
        assert_int_equal(inhibitor->pid, 99);
        assert_int_equal(inhibitor->n_addresses, 2);
        inhibitor = inhibitors_next(b->inhibitors, inhibitor);
        assert_string_equal(inhibitor->who, "second");
        assert_null(inhibitors_next(b->inhibitors, inhibitor));

        close(first);
        run_until(b, b->n_changes == 3);
        assert_found(b, A, NULL);
        assert_found(b, B, "second");
        close(second);
        run_until(b, b->n_changes == 4);
        assert_int_equal(n_inhibitors(b), 0);
}

/* Whatever is done with it, it lasts until the last of its duplicates is closed. */
static void test_hangup(void **state) {
        Bench *b = *state;
        int fd, copy;

        fd = add(b, "who", 5, A, A);
        copy = dup(fd);
        run_dry(b);
        assert_int_equal(b->manager.n_kept, 1);
        assert_true(fake_manager_kept(&b->manager, "inhibitor-1") >= 0);

        assert_int_equal(write(fd, "text", 4), 4); /* nobody reads it, and nobody minds */
        close(fd);
        run_dry(b);
        assert_found(b, A, "who");
        assert_int_equal(b->n_changes, 1);

        close(copy);
        run_until(b, b->n_changes == 2);
        assert_found(b, A, NULL);
        run_until(b, b->manager.n_kept == 0);
}

static void test_limit(void **state) {
        int fds[INHIBITORS_PER_USER], other;
        Bench *b = *state;

        for (unsigned i = 0; i < INHIBITORS_PER_USER; i++) {
                fds[i] = add(b, "who", 5, A, A);
                assert_true(fds[i] >= 0);
                run_dry(b);
        }
        assert_int_equal(add(b, "who", 5, A, A), -EDQUOT);
        other = add(b, "other", 6, A, A); /* a limit for each */
        assert_true(other >= 0);
        assert_int_equal(n_inhibitors(b), INHIBITORS_PER_USER + 1);

        close(fds[10]);
        run_until(b, n_inhibitors(b) == INHIBITORS_PER_USER);
        fds[10] = add(b, "again", 5, B, B);
        assert_true(fds[10] >= 0);
        assert_int_equal(add(b, "who", 5, A, A), -EDQUOT);
        for (unsigned i = 0; i < INHIBITORS_PER_USER; i++)
                close(fds[i]);
        close(other);
}

/* No fd is left: nothing is begun, and nothing is left of it. */
static void test_no_fds(void **state) {
        Bench *b = *state;
        struct rlimit limit, low;
        int fds[64], n = 0;

        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        low = (struct rlimit){ .rlim_cur = ELEMENTSOF(fds), .rlim_max = limit.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        while ((fds[n] = dup(b->manager.fd)) >= 0)
                n++;
        assert_int_equal(errno, EMFILE);
        for (unsigned i = 0; i < 3; i++) { /* one more fd each time */
                assert_int_equal(add(b, "who", 5, A, A), -EMFILE);
                close(fds[--n]);
        }
        while (n > 0)
                close(fds[--n]);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(n_inhibitors(b), 0);
        assert_int_equal(b->n_changes, 0);
        assert_false(fdstore_has(b->store, "inhibitor-1"));
}

static void test_hand_over(void **state) {
        Handover handover = { 0 };
        Bench *b = *state;
        int first = add(b, "first", 5, A, B), second = add(b, "second", 6, C, C);

        assert_int_equal(inhibitors_hand_over(b->inhibitors, &handover), 0);
        assert_int_equal(handover.n_inhibitors, 2);
        assert_string_equal(handover.inhibitors[0].who, "first");
        assert_string_equal(handover.inhibitors[0].addresses[1], B);
        assert_int_equal(handover.inhibitors[0].id, 1);
        assert_string_equal(handover.inhibitors[1].who, "second");
        assert_int_equal(handover.inhibitors[1].id, 2);

        /* Those that are not over go on without us. */
        b->inhibitors = inhibitors_free(b->inhibitors);
        run_dry(b);
        assert_int_equal(b->manager.n_kept, 2);
        assert_string_equal(handover.inhibitors[0].addresses[0], A);
        handover_done(&handover);
        close(first);
        close(second);
}

static int former_writing; /* the end that its holder has */

/* Numbers 3, 4 and 9: the second is over, the third is no pipe. */
static int setup_former(void **state) {
        int first[2], second[2], file = memfd_create("file", 0);

        assert_int_equal(pipe(first), 0);
        assert_int_equal(pipe(second), 0);
        former_writing = fcntl(first[1], F_DUPFD_CLOEXEC, 50);
        close(first[1]);
        close(second[1]);
        former_fds("inhibitor-3:inhibitor-4:inhibitor-9",
                   (const int[]){ first[0], second[0], file, -1 });
        return setup(state);
}

static void add_former(Handover *handover, uint64_t id, const char *who) {
        char *addresses[] = { (char *) A }; /* only read from */
        Inhibitor terms = { .id = id, .addresses = addresses, .n_addresses = 1 };
        HandoverInhibitor *added = handover_add_inhibitor(handover);

        (void) strcpy(terms.who, who);
        assert_int_equal(handover_copy_inhibitor(added, &terms), 0);
}

static void test_restore(void **state) {
        Handover handover = { 0 };
        Bench *b = *state;
        int fd;

        add_former(&handover, 3, "goes on");
        add_former(&handover, 3, "the same again");
        add_former(&handover, 4, "over");
        add_former(&handover, 7, "forgotten");
        add_former(&handover, 9, "no pipe");
        assert_int_equal(inhibitors_restore(b->inhibitors, &handover), 0);
        handover_done(&handover);
        assert_int_equal(b->n_changes, 0); /* tells nobody */
        assert_int_equal(n_inhibitors(b), 2);
        assert_false(fdstore_has(b->store, "inhibitor-9"));
        run_until(b, n_inhibitors(b) == 1); /* the one that hung up meanwhile */
        assert_found(b, A, "goes on");
        assert_true(fdstore_has(b->store, "inhibitor-3"));
        assert_false(fdstore_has(b->store, "inhibitor-4"));

        /* No number comes twice. */
        fd = add(b, "new", 5, B, B);
        assert_int_equal(inhibitors_find(b->inhibitors, B)->id, 10);
        close(fd);
        close(former_writing);
        run_until(b, n_inhibitors(b) == 0);
        assert_false(fdstore_has(b->store, "inhibitor-3"));
}

int main(void) {
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_find, setup),      TEST(test_hangup, setup),
                TEST(test_limit, setup),     TEST(test_no_fds, setup),
                TEST(test_hand_over, setup), TEST(test_restore, setup_former),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
