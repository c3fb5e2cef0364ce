/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each call with which the service manager is told something fails, once and for longer. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "fake-manager.h"
#include "fake-timers.h"
#include "faults.h"
#include "fdstore.h"
#include "former-fds.h"

/* In the order in which they are made; the first two are for a barrier that is not answered. */
#define TIMER_SHORTAGE 2U
#define SHORTAGE_USEC  (100 * USEC_PER_MSEC)
#define TURNS_MAX      1000U

/* The linker's names, see --wrap in ld(1). */
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_pipe2(int fds[2], int flags);
int __wrap_pipe2(int fds[2], int flags);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, long argument);

int __wrap_socket(int domain, int type, int protocol) {
        return fault("socket") < 0 ? -1 : __real_socket(domain, type, protocol);
}

static bool is_full; /* the service manager's socket */

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
        if (is_full) {
                errno = EAGAIN;
                return -1;
        }
        return fault("sendmsg") < 0 ? -1 : __real_sendmsg(fd, message, flags);
}

int __wrap_pipe2(int fds[2], int flags) {
        return fault("pipe2") < 0 ? -1 : __real_pipe2(fds, flags);
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

typedef struct Bench {
        FdStoreSync sync;
        sd_event *event;
        FakeManager manager;
        FdStore *store;
        unsigned n_failed, n_done;
        bool kept_when_done; /* the service manager still had "former" */
} Bench;

static void on_failed(int error, void *userdata) {
        Bench *b = userdata;

        assert_true(error < 0);
        b->n_failed++;
}

static void on_done(FdStoreSync *sync) {
        Bench *b = (Bench *) sync;

        b->n_done++;
        b->kept_when_done = fake_manager_kept(&b->manager, "former") >= 0;
}

static int setup(void **state) {
        Bench *b = calloc(1, sizeof(*b));

        assert_non_null(b);
        fake_timers_reset();
        assert_true(sd_event_new(&b->event) >= 0);
        fake_manager_start(&b->manager, b->event);
        assert_int_equal(fdstore_new(b->event,
                                     &(FdStoreListener){ .failed = on_failed, .userdata = b },
                                     &b->store),
                         0);
        b->sync.done = on_done;
        *state = b;
        return 0;
}

static int teardown(void **state) {
        Bench *b = *state;

        faults_end();
        fdstore_free(b->store);
        fake_manager_end(&b->manager);
        sd_event_unref(b->event);
        free(b);
        return 0;
}

static void run_dry(Bench *b) {
        for (unsigned n = 0; n < TURNS_MAX; n++)
                if (sd_event_run(b->event, 0) == 0)
                        return;
        fail_msg("the loop does not go to sleep after %s failed", faults_last());
}

static int put(Bench *b, const char *name) {
        int fd = eventfd(0, EFD_CLOEXEC), r;

        r = fdstore_put(b->store, name, fd, false);
        close(fd);
        return r;
}

/* Whatever fails meanwhile: one is kept, another is forgotten, and not before that who waits is told. */
static void tell(Bench *b, unsigned first, unsigned n, int error, unsigned *ret_failed) {
        FakeTimerStart start = { TIMER_SHORTAGE, SHORTAGE_USEC };
        int r;

        assert_int_equal(put(b, "former"), 0);
        run_dry(b);
        assert_true(fake_manager_kept(&b->manager, "former") >= 0);

        faults_begin(NULL, first, n, error);
        fdstore_remove(b->store, "former");
        r = put(b, "new");
        fdstore_sync(b->store, &b->sync);
        run_dry(b);
        *ret_failed = faults_end();
        assert_true(b->n_failed <= 1);

        if (b->n_done == 0) {
                assert_true(*ret_failed > 0);
                assert_true(fake_timer_is_started(&start));
                fake_timer_expire(TIMER_SHORTAGE);
                run_dry(b);
        }
        assert_int_equal(b->n_done, 1);
        assert_false(b->kept_when_done);
        assert_true(fake_manager_kept(&b->manager, "former") < 0);
        /* Or whose it is knows that it is not kept. */
        assert_int_equal(fake_manager_kept(&b->manager, "new") >= 0, r == 0);
        assert_int_equal(fdstore_has(b->store, "new"), r == 0);
        assert_true(r == 0 || r == error || r == -ENOMEM);
}

static void test_shortage(void **state) {
        static const int errors[] = { -ENOMEM, -EMFILE, -ENOBUFS };
        unsigned n_runs = 0;

        for (size_t i = 0; i < 2 * ELEMENTSOF(errors); i++)
                for (unsigned n = 1, failed = 1; failed > 0; n++, n_runs++) {
                        assert_int_equal(setup(state), 0);
                        tell(*state, n, i & 1 ? FAULTS_FOR_EVER : 1, errors[i / 2], &failed);
                        assert_int_equal(teardown(state), 0);
                }
        assert_true(n_runs > 2 * ELEMENTSOF(errors) * 8);
        assert_int_equal(setup(state), 0);
}

/* The service manager is full, and there is no memory to be told when it is not. */
static void test_full_and_short(void **state) {
        Bench *b = *state;

        is_full = true;
        faults_begin("sd_event_add_io", 1, 1, -ENOMEM);
        assert_int_equal(put(b, "new"), 0);
        assert_int_equal(faults_end(), 1);
        is_full = false;
        run_dry(b);
        assert_true(fdstore_has(b->store, "new"));
        assert_true(fake_manager_kept(&b->manager, "new") < 0);

        fake_timer_expire(TIMER_SHORTAGE);
        run_dry(b);
        assert_true(fake_manager_kept(&b->manager, "new") >= 0);
}

/* It stays short: who waits is not kept waiting for ever. */
static void test_sync_while_short(void **state) {
        Bench *b = *state;

        assert_int_equal(put(b, "former"), 0);
        run_dry(b);
        faults_begin("socket", 1, FAULTS_FOR_EVER, -EMFILE);
        fdstore_remove(b->store, "former");
        fdstore_sync(b->store, &b->sync);
        for (unsigned i = 0; i < 10; i++) {
                run_dry(b);
                fake_timer_expire(TIMER_SHORTAGE);
        }
        assert_int_equal(b->n_done, 0);
        assert_int_equal(b->n_failed, 1);
        fake_timer_expire(0);
        run_dry(b);
        assert_int_equal(b->n_done, 1);

        /* It is forgotten nevertheless, as soon as that can be said. */
        faults_end();
        fake_timer_expire(TIMER_SHORTAGE);
        run_dry(b);
        assert_true(fake_manager_kept(&b->manager, "former") < 0);
}

static void test_new(void **state) {
        unsigned n_failed = 0;
        Bench *b = *state;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                FdStore *store = NULL;
                int r;

                fake_timers_reset();
                faults_begin(NULL, n, 1, -ENOMEM);
                r = fdstore_new(b->event, &(FdStoreListener){ 0 }, &store);
                failed = faults_end();
                n_failed += failed;
                assert_int_equal(r, failed > 0 ? -ENOMEM : 0);
                assert_true(store ? failed == 0 : failed > 0);
                fdstore_free(store);
        }
        assert_true(n_failed >= 7);
}

/* What a former run left stays with the service manager if this one does not come so far. */
static void test_former(void **state) {
        unsigned n_failed = 0;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                const int fds[] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC), -1 };
                FdStore *store = NULL;
                sd_event *event;
                int r;

                former_fds("one:other", fds); /* before anything else has an fd */
                assert_true(sd_event_new(&event) >= 0);
                fake_timers_reset();
                faults_begin(NULL, n, 1, -ENOMEM);
                r = fdstore_new(event, &(FdStoreListener){ 0 }, &store);
                failed = faults_end();
                n_failed += failed;
                assert_int_equal(r, failed > 0 ? -ENOMEM : 0);
                if (store)
                        assert_true(fdstore_has(store, "one") && fdstore_has(store, "other"));
                fdstore_free(store);
                sd_event_unref(event);
                close(FIRST_FD);
                close(FIRST_FD + 1);
        }
        assert_true(n_failed >= 10);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_former),
                cmocka_unit_test_teardown(test_shortage, teardown), /* each run has a bench */
                TEST(test_full_and_short),
                TEST(test_sync_while_short),
                TEST(test_new),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
