/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the service manager is told to keep and to forget, be it slow, deaf or gone. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "fake-timers.h"
#include "fdstore.h"

#define WAIT_USEC (10 * USEC_PER_SEC)
#define FIRST_FD  3 /* SD_LISTEN_FDS_START */
#define FLOOD     "X_FLOOD=1"

typedef struct Bench {
        sd_event *event;
        FdStore *store;
        int fd; /* the service manager's */
        int error;
        unsigned n_failed;
        int files[3]; /* to be kept */
        char text[512];
} Bench;

typedef struct Waiter {
        FdStoreSync sync;
        Bench *bench;
        unsigned n_done;
        struct Waiter *next; /* begins to wait when this one is done */
} Waiter;

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static socklen_t address_size;

static void on_failed(int error, void *userdata) {
        Bench *b = userdata;

        b->error = error;
        b->n_failed++;
}

static void on_done(FdStoreSync *sync) {
        Waiter *w = (Waiter *) sync;

        w->n_done++;
        if (w->next)
                fdstore_sync(w->bench->store, &w->next->sync);
}

static Waiter waiter(Bench *b) {
        return (Waiter){ .sync.done = on_done, .bench = b };
}

static void listen_as_manager(Bench *b) {
        b->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(b->fd >= 0);
        assert_int_equal(bind(b->fd, (struct sockaddr *) &address, address_size), 0);
}

static void new_store(Bench *b) {
        const FdStoreListener listener = { .failed = on_failed, .userdata = b };

        assert_int_equal(fdstore_new(b->event, &listener, &b->store), 0);
}

static int setup_without_store(void **state) {
        Bench *b = calloc(1, sizeof(*b));
        char name[64];

        fake_timers_reset();
        (void) snprintf(name, sizeof(name), "@zpci-errord-fdstore-%d", (int) getpid());
        memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
        address_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name));
        listen_as_manager(b);

        for (size_t i = 0; i < ELEMENTSOF(b->files); i++)
                b->files[i] = memfd_create("file", MFD_CLOEXEC);
        assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
        assert_true(sd_event_new(&b->event) >= 0);
        *state = b;
        return 0;
}

static int setup(void **state) {
        assert_int_equal(setup_without_store(state), 0);
        new_store(*state);
        return 0;
}

static int teardown(void **state) {
        Bench *b = *state;

        fdstore_free(b->store);
        sd_event_unref(b->event);
        for (size_t i = 0; i < ELEMENTSOF(b->files); i++)
                safe_close(b->files[i]);
        safe_close(b->fd);
        free(b);
        return 0;
}

/* Until nothing is left to do at once. */
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

/* The next message that is no flood, into b->text, and its fd. Empty if there is none. */
static int hear(Bench *b) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec data = { .iov_base = b->text, .iov_len = sizeof(b->text) - 1 };
        int fd = -EBADF;
        ssize_t n;

        do {
                struct msghdr message = {
                        .msg_iov = &data,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control),
                };

                n = recvmsg(b->fd, &message, MSG_CMSG_CLOEXEC);
                if (n < 0)
                        assert_int_equal(errno, EAGAIN);
                b->text[n < 0 ? 0 : n] = '\0';
                if (n >= 0 && CMSG_FIRSTHDR(&message))
                        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
        } while (strcmp(b->text, FLOOD) == 0);
        return fd;
}

static void assert_silent(Bench *b) {
        assert_int_equal(hear(b), -EBADF);
        assert_string_equal(b->text, "");
}

static bool is_same_file(int a, int b) {
        struct stat st_a, st_b;

        assert_int_equal(fstat(a, &st_a), 0);
        assert_int_equal(fstat(b, &st_b), 0);
        return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

static void assert_put(Bench *b, const char *name, int fd) {
        char wanted[64];
        int kept = hear(b);

        (void) snprintf(wanted, sizeof(wanted), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
        assert_string_equal(b->text, wanted);
        assert_true(kept >= 0);
        assert_true(is_same_file(kept, fd));
        close(kept);
}

static void assert_removed(Bench *b, const char *name) {
        char wanted[64];

        (void) snprintf(wanted, sizeof(wanted), "FDSTOREREMOVE=1\nFDNAME=%s", name);
        assert_int_equal(hear(b), -EBADF);
        assert_string_equal(b->text, wanted);
}

/* Returns what the service manager has to close. */
static int assert_barrier(Bench *b) {
        int fd = hear(b);

        assert_string_equal(b->text, "BARRIER=1");
        assert_true(fd >= 0);
        return fd;
}

/* No message more goes into the service manager's socket. */
static void flood(void) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_int_equal(connect(fd, (struct sockaddr *) &address, address_size), 0);
        while (send(fd, FLOOD, strlen(FLOOD), 0) >= 0)
                ;
        assert_int_equal(errno, EAGAIN);
        close(fd);
}

static void put(Bench *b, const char *name, int file) {
        assert_int_equal(fdstore_put(b->store, name, b->files[file], false), 0);
}

static void test_order(void **state) {
        Bench *b = *state;

        put(b, "a", 0);
        put(b, "b", 1);
        fdstore_remove(b->store, "a");
        assert_false(fdstore_has(b->store, "a"));
        assert_true(fdstore_has(b->store, "b"));
        put(b, "a", 2);
        assert_true(fdstore_has(b->store, "a"));
        fdstore_remove(b->store, "never");

        assert_put(b, "a", b->files[0]);
        assert_put(b, "b", b->files[1]);
        assert_removed(b, "a");
        assert_put(b, "a", b->files[2]);
        assert_silent(b);
        assert_int_equal(b->n_failed, 0);
}

static void test_replaced(void **state) {
        Bench *b = *state;

        put(b, "a", 0);
        put(b, "a", 1);
        assert_put(b, "a", b->files[0]);
        assert_removed(b, "a");
        assert_put(b, "a", b->files[1]);
        assert_int_equal(fdstore_take(b->store, "a"), -ENOENT); /* it is not ours to take */
        assert_silent(b);
}

static void test_hangup(void **state) {
        Bench *b = *state;

        assert_int_equal(fdstore_put(b->store, "a", b->files[0], true), 0);
        close(hear(b));
        assert_string_equal(b->text, "FDSTORE=1\nFDNAME=a");
}

static void test_bad_fd(void **state) {
        Bench *b = *state;
        int fd = dup(b->files[0]);

        close(fd);
        assert_int_equal(fdstore_put(b->store, "a", fd, false), -EBADF);
        assert_false(fdstore_has(b->store, "a"));
        assert_silent(b);
}

static void test_full(void **state) {
        Bench *b = *state;
        int passing = memfd_create("passing", MFD_CLOEXEC), same = dup(passing);

        put(b, "kept", 0);
        assert_put(b, "kept", b->files[0]);

        flood();
        put(b, "a", 0);
        put(b, "b", 0);
        put(b, "c", 0);
        put(b, "a", 1);                /* in the place of the one before */
        fdstore_remove(b->store, "b"); /* never given */
        put(b, "kept", 2);             /* in the place of what is there */
        assert_int_equal(fdstore_put(b->store, "d", passing, false), 0);
        close(passing); /* the store has its own */
        assert_true(fdstore_has(b->store, "a"));
        assert_false(fdstore_has(b->store, "b"));
        assert_true(fdstore_has(b->store, "kept"));
        run_dry(b);

        assert_silent(b); /* there is room now */
        run_dry(b);
        assert_removed(b, "kept");
        assert_put(b, "kept", b->files[2]);
        assert_put(b, "a", b->files[1]);
        assert_put(b, "c", b->files[0]);
        assert_put(b, "d", same);
        assert_silent(b);
        assert_int_equal(b->n_failed, 0);
        close(same);
}

/* Removed while it is full: neither what was there is kept, nor what was to be. */
static void test_full_and_removed(void **state) {
        Bench *b = *state;

        put(b, "kept", 0);
        flood();
        put(b, "kept", 1);
        fdstore_remove(b->store, "kept");
        assert_false(fdstore_has(b->store, "kept"));

        assert_put(b, "kept", b->files[0]);
        assert_silent(b);
        run_dry(b);
        assert_removed(b, "kept");
        assert_silent(b);
}

static void test_barrier(void **state) {
        Bench *b = *state;
        Waiter first = waiter(b), second = waiter(b), third = waiter(b);
        int fd;

        put(b, "a", 0);
        fdstore_sync(b->store, &first.sync);
        fdstore_sync(b->store, &second.sync); /* too late for the first barrier */
        fdstore_remove(b->store, "a");
        fdstore_sync(b->store, &third.sync);

        assert_put(b, "a", b->files[0]);
        fd = assert_barrier(b);
        assert_removed(b, "a");
        assert_silent(b); /* one barrier at a time */
        run_dry(b);
        assert_int_equal(first.n_done, 0);

        close(fd);
        run_until(b, first.n_done == 1);
        assert_int_equal(second.n_done, 0);
        fd = assert_barrier(b);
        run_dry(b);
        close(fd);
        run_until(b, third.n_done == 1);
        assert_int_equal(first.n_done, 1);
        assert_int_equal(second.n_done, 1);
        assert_silent(b);
}

static void test_barrier_is_not_answered(void **state) {
        Bench *b = *state;
        FakeTimerStart start = { .timer = 0, .delay_usec = 5 * USEC_PER_SEC };
        Waiter first = waiter(b), second = waiter(b);
        int late, fd;

        fdstore_sync(b->store, &first.sync);
        fdstore_sync(b->store, &second.sync);
        late = assert_barrier(b);
        assert_true(fake_timer_is_started(&start));
        start.timer = 1;
        assert_true(fake_timer_is_started(&start));

        fake_timer_expire(0);
        run_until(b, first.n_done == 1);
        assert_int_equal(second.n_done, 0);

        /* The next one asks again; that the former is answered now is no answer to it. */
        fd = assert_barrier(b);
        close(late);
        run_dry(b);
        assert_int_equal(second.n_done, 0);
        close(fd);
        run_until(b, second.n_done == 1);
        assert_int_equal(first.n_done, 1);
}

/* It is full, and stays so: nobody waits for more than that. */
static void test_barrier_is_not_heard(void **state) {
        Bench *b = *state;
        Waiter first = waiter(b), second = waiter(b);

        put(b, "a", 0);
        assert_put(b, "a", b->files[0]);
        flood();
        fdstore_remove(b->store, "a");
        fdstore_sync(b->store, &first.sync);
        run_dry(b);
        assert_int_equal(first.n_done, 0);
        fake_timer_expire(0);
        run_until(b, first.n_done == 1);

        /* Who comes later waits anew, and what is to be said is not forgotten. */
        fdstore_sync(b->store, &second.sync);
        assert_silent(b);
        run_dry(b);
        assert_removed(b, "a");
        close(assert_barrier(b));
        run_until(b, second.n_done == 1);
        assert_int_equal(first.n_done, 1);
        assert_silent(b);
}

/* Room for what is to be removed, and none for the barrier. */
static void test_barrier_finds_room_later(void **state) {
        Bench *b = *state;
        Waiter w = waiter(b);

        flood();
        fdstore_sync(b->store, &w.sync);
        assert_silent(b);
        run_dry(b);
        close(assert_barrier(b));
        run_until(b, w.n_done == 1);
        assert_silent(b);
}

static void test_sync_in_sync(void **state) {
        Bench *b = *state;
        Waiter third = waiter(b), second = waiter(b), first = waiter(b);
        int fd;

        second.next = &third;
        first.next = &second;
        fdstore_sync(b->store, &first.sync);
        fd = assert_barrier(b);
        close(fd);
        run_until(b, first.n_done == 1);
        run_dry(b);
        assert_int_equal(second.n_done, 0);
        close(assert_barrier(b));
        run_until(b, second.n_done == 1);
        close(assert_barrier(b));
        run_until(b, third.n_done == 1);
        assert_silent(b);
}

/* A service manager that says how much it keeps is not given more, which it would only close. */
static void test_room(void **state) {
        Bench *b = *state;

        assert_int_equal(setenv("FDSTORE", "2", 1), 0);
        new_store(b);
        assert_int_equal(unsetenv("FDSTORE"), 0);
        put(b, "a", 0);
        put(b, "b", 1);
        assert_int_equal(fdstore_put(b->store, "c", b->files[2], false), -EXFULL);
        assert_false(fdstore_has(b->store, "c"));
        put(b, "b", 2); /* instead of the other */
        fdstore_remove(b->store, "a");
        put(b, "c", 2);
        assert_int_equal(fdstore_put(b->store, "a", b->files[0], false), -EXFULL);

        assert_put(b, "a", b->files[0]);
        assert_put(b, "b", b->files[1]);
        assert_removed(b, "b");
        assert_put(b, "b", b->files[2]);
        assert_removed(b, "a");
        assert_put(b, "c", b->files[2]);
        assert_silent(b);
        assert_int_equal(b->n_failed, 0);
}

/* Nobody keeps anything, and nobody is waited for; but never at once. */
static void test_no_manager(void **state) {
        Bench *b = *state;
        Waiter second = waiter(b), first = waiter(b);

        assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
        new_store(b);
        put(b, "a", 0);
        assert_false(fdstore_has(b->store, "a"));
        fdstore_remove(b->store, "a");
        fdstore_settle(b->store);
        assert_int_equal(fdstore_take(b->store, "a"), -ENOENT);

        first.next = &second;
        fdstore_sync(b->store, &first.sync);
        assert_int_equal(first.n_done, 0);
        run_until(b, second.n_done == 1);
        assert_int_equal(first.n_done, 1);
        assert_int_equal(b->n_failed, 0);
        assert_silent(b);
}

static void test_manager_is_gone(void **state) {
        Bench *b = *state;
        Waiter w = waiter(b);

        b->fd = safe_close(b->fd);
        put(b, "a", 0);
        assert_int_equal(b->error, -ECONNREFUSED);
        assert_false(fdstore_has(b->store, "a")); /* nobody has it */
        put(b, "b", 0);
        fdstore_sync(b->store, &w.sync);
        assert_int_equal(w.n_done, 0);
        run_until(b, w.n_done == 1);
        assert_int_equal(b->n_failed, 1); /* once is enough */

        listen_as_manager(b);
        put(b, "a", 0);
        assert_put(b, "a", b->files[0]);
        assert_true(fdstore_has(b->store, "a"));

        b->fd = safe_close(b->fd);
        fdstore_remove(b->store, "a");
        assert_int_equal(b->n_failed, 2);
        assert_false(fdstore_has(b->store, "a"));
        listen_as_manager(b);
}

/* It had no room, and then it is gone. */
static void test_manager_goes_while_full(void **state) {
        Bench *b = *state;
        Waiter w = waiter(b);

        flood();
        put(b, "a", 0);
        fdstore_sync(b->store, &w.sync);
        b->fd = safe_close(b->fd);
        run_until(b, w.n_done == 1);
        assert_int_equal(b->n_failed, 1);
        assert_false(fdstore_has(b->store, "a"));
        listen_as_manager(b);
}

/* Whoever waits does not hear of a store that is not there any more. */
static void test_freed_while_waiting(void **state) {
        Bench *b = *state;
        Waiter first = waiter(b), second = waiter(b);
        int fd;

        fdstore_sync(b->store, &first.sync);
        fdstore_sync(b->store, &second.sync);
        fd = assert_barrier(b);
        flood();
        put(b, "a", 0);
        b->store = fdstore_free(b->store);
        close(fd);
        assert_silent(b);
        run_dry(b);
        assert_int_equal(first.n_done + second.n_done, 0);
}

/* As the service manager starts the daemon: fds from the third on, with these names. */
static void take_over(Bench *b, unsigned n, const char *names) {
        char text[32];

        for (unsigned i = 0; i < n; i++)
                assert_true(fcntl(FIRST_FD + (int) i, F_GETFD) >= 0);
        (void) snprintf(text, sizeof(text), "%d", (int) getpid());
        assert_int_equal(setenv("LISTEN_PID", text, 1), 0);
        (void) snprintf(text, sizeof(text), "%u", n);
        assert_int_equal(setenv("LISTEN_FDS", text, 1), 0);
        assert_int_equal(setenv("LISTEN_FDNAMES", names, 1), 0);
        new_store(b);
        assert_null(getenv("LISTEN_FDS")); /* for none of our children */
}

/* Before anything else of the test has them. */
static int setup_former(void **state) {
        for (int fd = FIRST_FD; fd < FIRST_FD + 6; fd++) {
                int file = memfd_create("former", 0);

                assert_true(file >= 0);
                if (file != fd) {
                        assert_int_equal(dup2(file, fd), fd);
                        close(file);
                }
        }
        return setup_without_store(state);
}

static int teardown_former(void **state) {
        for (int fd = FIRST_FD; fd < FIRST_FD + 6; fd++)
                close(fd); /* what was not handed over */
        return teardown(state);
}

static void test_taken_over(void **state) {
        Bench *b = *state;
        int ring = dup(FIRST_FD), fd;

        take_over(b, 3, "ring:function-10-device:stranger");
        assert_true(fdstore_has(b->store, "ring"));
        fd = fdstore_take(b->store, "ring");
        assert_true(fd >= 0);
        assert_true(is_same_file(fd, ring));
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(fdstore_take(b->store, "ring"), -ENOENT); /* once */
        assert_true(fdstore_has(b->store, "ring"));                /* it still has its own */
        assert_int_equal(fdstore_take(b->store, "other"), -ENOENT);
        assert_silent(b);

        /* Nobody knows these names: closed, and forgotten. What was taken stays. */
        fdstore_settle(b->store);
        assert_int_equal(fcntl(FIRST_FD + 1, F_GETFD), -1);
        assert_int_equal(fcntl(FIRST_FD + 2, F_GETFD), -1);
        assert_removed(b, "function-10-device");
        assert_removed(b, "stranger");
        assert_silent(b);
        assert_false(fdstore_has(b->store, "stranger"));
        fdstore_settle(b->store);
        assert_silent(b);

        /* Something else under the name of what was kept. */
        put(b, "ring", 0);
        assert_removed(b, "ring");
        assert_put(b, "ring", b->files[0]);
        close(fd);
        close(ring);
}

/* Which of them is right, nobody knows. */
static void test_duplicate_names(void **state) {
        Bench *b = *state;

        take_over(b, 4, "ring:unknown:ring:ring");
        for (int i = 0; i < 4; i++)
                assert_int_equal(fcntl(FIRST_FD + i, F_GETFD) >= 0, i == 1);
        assert_int_equal(fdstore_take(b->store, "ring"), -ENOENT);
        assert_false(fdstore_has(b->store, "ring"));
        put(b, "ring", 0);
        assert_removed(b, "ring");
        assert_put(b, "ring", b->files[0]);
        fdstore_settle(b->store);
        assert_removed(b, "unknown");
        assert_silent(b);
}

static void test_duplicate_names_are_settled(void **state) {
        Bench *b = *state;

        take_over(b, 2, "ring:ring");
        fdstore_settle(b->store);
        assert_removed(b, "ring");
        assert_silent(b);
}

/* None of ours, nor of anybody's. */
static void test_name_too_long(void **state) {
        Bench *b = *state;
        char names[FDSTORE_NAME_SIZE + 8];

        memset(names, 'x', FDSTORE_NAME_SIZE);
        strcpy(names + FDSTORE_NAME_SIZE, ":ring");
        take_over(b, 2, names);
        assert_int_equal(fcntl(FIRST_FD, F_GETFD), -1);
        assert_true(fdstore_has(b->store, "ring"));
        fdstore_settle(b->store);
        assert_removed(b, "ring");
        assert_silent(b);
}

/* What nobody took is closed with the store, and still kept. */
static void test_freed_with_former(void **state) {
        Bench *b = *state;

        take_over(b, 1, "ring");
        b->store = fdstore_free(b->store);
        assert_int_equal(fcntl(FIRST_FD, F_GETFD), -1);
        assert_silent(b);
}

static void test_bad_address(void **state) {
        static const char *const addresses[] = { "", "/", "@", "relative", "vsock:2:1" };
        Bench *b = *state;
        char name[sizeof(address.sun_path) + 1];

        for (size_t i = 0; i < ELEMENTSOF(addresses); i++) {
                assert_int_equal(setenv("NOTIFY_SOCKET", addresses[i], 1), 0);
                assert_int_equal(fdstore_new(b->event, &(FdStoreListener){ 0 }, &b->store),
                                 -EINVAL);
        }

        memset(name, '/', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
        assert_int_equal(fdstore_new(b->event, &(FdStoreListener){ 0 }, &b->store), -EINVAL);
        assert_null(b->store);
}

int main(void) {
#define TEST(name)        cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_BARE(name)   cmocka_unit_test_setup_teardown(name, setup_without_store, teardown)
#define TEST_FORMER(name) cmocka_unit_test_setup_teardown(name, setup_former, teardown_former)
        const struct CMUnitTest tests[] = {
                TEST(test_order),
                TEST(test_replaced),
                TEST(test_hangup),
                TEST(test_bad_fd),
                TEST(test_full),
                TEST(test_full_and_removed),
                TEST(test_barrier),
                TEST(test_barrier_is_not_answered),
                TEST(test_barrier_is_not_heard),
                TEST(test_barrier_finds_room_later),
                TEST(test_sync_in_sync),
                TEST_BARE(test_room),
                TEST_BARE(test_no_manager),
                TEST(test_manager_is_gone),
                TEST(test_manager_goes_while_full),
                TEST(test_freed_while_waiting),
                TEST_FORMER(test_taken_over),
                TEST_FORMER(test_duplicate_names),
                TEST_FORMER(test_duplicate_names_are_settled),
                TEST_FORMER(test_name_too_long),
                TEST_FORMER(test_freed_with_former),
                TEST_BARE(test_bad_address),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
