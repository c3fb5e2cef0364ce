/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A device that its owner handed to us: drained for the owner, and never recovered by us. */

#include <fcntl.h>
#include <sys/eventfd.h>

#include "function-request.h"

/* An owner: has eventfds of its own for the kernel's request and for what we drained. */
typedef struct Owner {
        Ask ask;
        int request_fd, notify_fd;
} Owner;

static Owner owner_new(void) {
        Owner owner = { .ask = NEW_ASK() };

        owner.request_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        owner.notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return owner;
}

static void owner_done(Owner *owner) {
        close(owner->request_fd);
        close(owner->notify_fd);
}

static void attach(Bench *b, Owner *owner) {
        owner->ask.request.device = fake_owned();
        owner->ask.request.request_fd = dup(owner->request_fd);
        owner->ask.request.owner =
                (FunctionOwner){ .name = ":1.42", .uid = 107, .notify_fd = dup(owner->notify_fd) };
        function_attach(b->function, &owner->ask.request);
}

static bool is_open(int fd) {
        return fcntl(fd, F_GETFD) >= 0;
}

/* Refused: its device and eventfds are closed, and nothing else. */
static void assert_refused(const Bench *b, Owner *owner, FunctionOutcome outcome, int error) {
        assert_answered(&owner->ask, outcome, error);
        assert_null(owner->ask.request.device);
        assert_int_equal(owner->ask.request.request_fd, -EBADF);
        assert_int_equal(owner->ask.request.owner.notify_fd, -EBADF);
        assert_true(is_open(owner->request_fd));
        assert_true(is_open(owner->notify_fd));
        owner_done(owner);
}

static void attach_example(Bench *b, Owner *owner) {
        observe(b);
        *owner = owner_new();
        attach(b, owner);
        assert_int_equal(owner->ask.n_answers, 0);
        run_until_answered(b, &owner->ask, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0);
        assert_state(b, FUNCTION_DELEGATED, "");
        assert_string_equal(b->function->owner.name, ":1.42");
        assert_int_equal(b->function->owner.uid, 107);
}

static void assert_over(const Bench *b) {
        assert_state(b, FUNCTION_OBSERVED, "policy");
        assert_false(b->function->facts.attached);
        assert_false(b->function->facts.requested);
        assert_string_equal(b->function->owner.name, "");
        assert_int_equal(b->function->owner.notify_fd, -EBADF);
        assert_int_equal(fake_kernel.n_closes, 1);
        assert_int_equal(fake_kernel.n_resets, 0);
}

static void test_drained(void **state) {
        Bench *b = *state;
        Owner owner;
        eventfd_t n;

        attach_example(b, &owner);
        assert_int_equal(eventfd_read(owner.notify_fd, &n), -1); /* nothing yet */
        fake_error(2);
        fake_error(0x3b);
        run_until(b, errors(b) == 2);
        run_dry(b);
        assert_int_equal(eventfd_read(owner.notify_fd, &n), 0);
        assert_true(n == 1); /* once a drain */
        assert_int_equal(b->function->recovery, RECOVERY_LEFT_TO_HOLDER);
        assert_int_equal(fake_kernel.n_resets, 0);
        assert_state(b, FUNCTION_DELEGATED, ""); /* even with a permanent error */

        function_detach(b->function, NULL);
        run_until(b, b->n_busy == 0);
        assert_over(b);
        owner_done(&owner);
}

/* Its counter is full, and it blocks: nobody waits for whoever reads it. */
static void test_notify_is_full(void **state) {
        Bench *b = *state;
        Owner owner;

        attach_example(b, &owner);
        assert_int_equal(eventfd_write(owner.notify_fd, UINT64_MAX - 1), 0);
        assert_int_equal(fcntl(owner.notify_fd, F_SETFL, 0), 0);
        fake_error(2);
        run_until(b, errors(b) == 1);
        function_detach(b->function, NULL);
        run_until(b, b->n_busy == 0);
        assert_over(b);
        owner_done(&owner);
}

/* It cannot be drained: it is the owner's again, and what it had is said. */
static void test_read_fails(void **state) {
        Bench *b = *state;
        uint64_t lost;
        Owner owner;

        attach_example(b, &owner);
        fake_kernel.read_error = -EIO;
        fake_error(2);
        fake_error(2);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_over(b);
        assert_int_equal(errors(b), 0);
        assert_int_equal(count(b, RECORD_LOST, &lost), 1);
        assert_int_equal(lost, 2);
        owner_done(&owner);
}

/* The kernel asks the owner for the device: so do we let go, and leave the event to the owner. */
static void test_requested(void **state) {
        Bench *b = *state;
        Owner owner;
        eventfd_t n;

        attach_example(b, &owner);
        assert_int_equal(eventfd_write(owner.request_fd, 1), 0);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_over(b);
        assert_int_equal(eventfd_read(owner.request_fd, &n), 0);
        owner_done(&owner);
}

static void test_detach(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK(), again = NEW_ASK();
        Owner owner;

        attach_example(b, &owner);
        fake_error(2);
        function_detach(b->function, &ask.request);
        assert_int_equal(ask.n_answers, 0);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0);
        assert_int_equal(errors(b), 1); /* a last time */
        assert_over(b);
        function_detach(b->function, &again.request); /* there is none */
        assert_answered(&again, FUNCTION_DONE, 0);
        owner_done(&owner);
}

/* The owner leaves while it is being attached. */
static void test_detach_while_attaching(void **state) {
        Bench *b = *state;
        Owner owner = owner_new();
        Ask ask = NEW_ASK();

        observe(b);
        attach(b, &owner);
        function_detach(b->function, &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0);
        assert_answered(&owner.ask, FUNCTION_DONE, 0);
        assert_over(b);
        owner_done(&owner);
}

static void test_others_while_attached(void **state) {
        Bench *b = *state;
        Ask claiming = NEW_ASK(), reset = NEW_ASK(), release = NEW_ASK();
        Owner owner, second = owner_new();

        attach_example(b, &owner);
        attach(b, &second);
        assert_refused(b, &second, FUNCTION_ALREADY_ATTACHED, 0);
        fake_kernel.n_closes = 0;
        function_claim(b->function, &claiming.request);
        assert_answered(&claiming, FUNCTION_BUSY, 0);
        assert_false(b->function->wishes.claimed);
        function_reset(b->function, &reset.request);
        assert_answered(&reset, FUNCTION_NOT_HELD, 0);
        assert_state(b, FUNCTION_DELEGATED, "");

        function_release(b->function, 1, "", &release.request); /* ends it */
        run_until_answered(b, &release, FUNCTION_DONE, 0);
        run_until(b, b->n_busy == 0 && !b->function->wishes.released);
        assert_over(b);
        owner_done(&owner);
}

static void test_inhibited(void **state) {
        Bench *b = *state;
        Owner owner, second = owner_new();
        int fd;

        attach_example(b, &owner);
        fd = inhibit(b);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_over(b);
        attach(b, &second);
        assert_refused(b, &second, FUNCTION_INHIBITED, 0);
        close(fd);
        run_until(b, !b->function->facts.inhibited);
        owner_done(&owner);
}

static void test_refused(void **state) {
        Bench *b = *state;
        Owner held = owner_new(), unbound = owner_new();

        claim(b);
        attach(b, &held);
        assert_refused(b, &held, FUNCTION_BUSY, 0);
        assert_state(b, FUNCTION_CLAIMED, "");
        function_gone(b->function);
        run_until(b, b->n_busy == 0);
        attach(b, &unbound);
        assert_refused(b, &unbound, FUNCTION_NOT_BOUND, 0);
}

static void test_fails(void **state) {
        static const struct {
                int error;
                FunctionOutcome outcome;
        } failures[] = {
                { -ESTALE, FUNCTION_NOT_THE_DEVICE },
                { -EOPNOTSUPP, FUNCTION_NOT_SUPPORTED },
                { -ENODEV, FUNCTION_SYSTEM_ERROR },
        };
        Bench *b = *state;

        observe(b);
        for (size_t i = 0; i < ELEMENTSOF(failures); i++) {
                Owner owner = owner_new();

                fake_kernel.n_closes = 0;
                fake_kernel.open_error = failures[i].error;
                attach(b, &owner);
                run_until(b, owner.ask.n_answers > 0);
                assert_refused(b, &owner, failures[i].outcome, failures[i].error);
                run_until(b, b->n_busy == 0);
                assert_over(b);
        }
}

/* What is being closed can be attached once that is over. */
static void test_attach_while_closing(void **state) {
        Bench *b = *state;
        Owner owner = owner_new();
        Ask release = NEW_ASK();

        claim(b);
        function_release(b->function, 0, "qemu", &release.request);
        run_until(b, b->function->activity == FUNCTION_CLOSING);
        attach(b, &owner);
        assert_int_equal(owner.ask.n_answers, 0);
        run_until_answered(b, &release, FUNCTION_DONE, 0);
        run_until_answered(b, &owner.ask, FUNCTION_DONE, 0);
        assert_state(b, FUNCTION_DELEGATED, "");
        owner_done(&owner);
}

static void test_unbound_while_waiting(void **state) {
        Bench *b = *state;
        Owner owner = owner_new();
        Ask release = NEW_ASK();

        claim(b);
        function_release(b->function, 0, "qemu", &release.request);
        run_until(b, b->function->activity == FUNCTION_CLOSING);
        attach(b, &owner);
        function_gone(b->function);
        assert_refused(b, &owner, FUNCTION_NOT_BOUND, 0);
        run_until(b, b->n_busy == 0);
        assert_int_equal(fake_kernel.n_closes, 2);
}

/* The object goes while the attachment waits: nothing of it is left open (Valgrind looks). */
static void test_freed_while_waiting(void **state) {
        Bench *b = *state;
        Owner owner = owner_new();
        Ask release = NEW_ASK();

        claim(b);
        function_release(b->function, 0, "qemu", &release.request);
        run_until(b, b->function->activity == FUNCTION_CLOSING);
        attach(b, &owner);
        function_gone(b->function);
        b->function = function_unref(b->function); /* the worker has one more */
        run_until(b, b->n_busy == 0);
        assert_refused(b, &owner, FUNCTION_NOT_BOUND, 0);
        assert_answered(&release, FUNCTION_DONE, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_drained),
                TEST(test_notify_is_full),
                TEST(test_read_fails),
                TEST(test_requested),
                TEST(test_detach),
                TEST(test_detach_while_attaching),
                TEST(test_others_while_attached),
                TEST(test_inhibited),
                TEST(test_refused),
                TEST(test_fails),
                TEST(test_attach_while_closing),
                TEST(test_unbound_while_waiting),
                TEST(test_freed_while_waiting),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
