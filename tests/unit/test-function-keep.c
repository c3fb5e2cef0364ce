/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A device outlives the process, in the hands of the service manager, and is taken back. */

#include <sys/eventfd.h>
#include <sys/mman.h>

#include "former-fds.h"
#include "function-request.h"
#include "registry.h"

#define DEVICE   "function-00000010-device"
#define ATTACHED "function-00000010-attached"
#define ERRORS   "function-00000010-errors"
#define REQUEST  "function-00000010-request"
#define NOTIFY   "function-00000010-notify"

static const HandoverFunction former_claimed = {
        .sysfs = {
                .address = "0001:00:00.0",
                .driver = "vfio-pci",
                .vfio_bound = true,
                .fid = 0x10,
                .pchid = 0x104,
                .group = 1,
        },
        .claimed = true,
};

/* Another run follows. */
static int setup_managed(void **state) {
        assert_int_equal(bench_setup_managed(state), 0);
        ((Bench *) *state)->context.restarts = true;
        return 0;
}

static int eventfd_with(unsigned n) {
        return eventfd(n, EFD_CLOEXEC | EFD_NONBLOCK);
}

static bool is_kept(const Bench *b, const char *name) {
        return fake_manager_kept(&b->manager, name) >= 0;
}

static void test_kept(void **state) {
        Bench *b = *state;

        claim(b);
        run_until(b, is_kept(b, DEVICE));
        assert_true(is_kept(b, ERRORS));
        assert_true(is_kept(b, REQUEST));
        assert_false(is_kept(b, NOTIFY));

        /* For the next run. Until we end, its errors are still ours. */
        function_stop(b->function);
        run_until(b, b->n_busy == 0);
        run_dry(b);
        assert_int_equal(b->manager.n_kept, 3);
        assert_int_equal(fake_kernel.n_resets, 0);
        assert_int_equal(fake_kernel.n_closes, 0);
        fake_error(2);
        run_until(b, errors(b) == 1 && fake_kernel.n_resets == 1 && b->n_busy == 0);
        fake_error(3);
        function_drain_rest(b->function);
        assert_int_equal(errors(b), 2);
        assert_int_equal(fake_kernel.n_closes, 0);
}

/* Stopped in error: recovered, and kept all the same. */
static void test_kept_in_error(void **state) {
        Bench *b = *state;

        b->config.function.recovery = RECOVERY_POLICY_NONE;
        claim(b);
        fake_error(2);
        function_stop(b->function);
        run_until(b, fake_kernel.n_resets == 1 && b->n_busy == 0);
        run_dry(b);
        assert_int_equal(fake_kernel.n_closes, 0);
        assert_int_equal(errors(b), 1);
        assert_int_equal(fake_kernel.n_resets, 1);
        assert_true(is_kept(b, DEVICE));
}

/* Ours is the last close, or the function is not reset by it. */
static void test_forgotten_before_it_is_closed(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        claim(b);
        run_until(b, is_kept(b, DEVICE));
        b->manager.deaf = true;
        function_release(b->function, 0, "", &ask.request);
        run_until(b, b->manager.n_kept == 1); /* the barrier */
        run_dry(b);
        assert_int_equal(fake_kernel.n_closes, 0);
        assert_int_equal(ask.n_answers, 0);
        fake_manager_answer(&b->manager);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_int_equal(fake_kernel.n_closes, 1);
        assert_int_equal(b->manager.n_kept, 0);
}

/* Until it is closed its errors are ours, and are recovered, though the service manager has forgotten it. */
static void test_error_while_it_is_forgotten(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        claim(b);
        run_until(b, is_kept(b, DEVICE));
        b->manager.deaf = true;
        function_release(b->function, 0, "", &ask.request);
        run_until(b, b->manager.n_kept == 1); /* the barrier */
        fake_error(2);
        b->manager.deaf = false;
        fake_manager_answer(&b->manager);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_int_equal(errors(b), 1);
        assert_int_equal(fake_kernel.n_resets, 1);
        assert_int_equal(fake_kernel.n_closes, 1);
        assert_int_equal(b->manager.n_kept, 0);
}

/* It is unbound while the daemon ends: nothing is left for the next run. */
static void test_unbound_while_stopping(void **state) {
        Bench *b = *state;

        claim(b);
        run_until(b, is_kept(b, DEVICE));
        function_gone(b->function);
        function_stop(b->function);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(b->manager.n_kept, 0);
}

/* Nobody keeps it: then it is closed, recovered. */
static void test_stop_without_manager(void **state) {
        Bench *b = *state;

        fake_manager_end(&b->manager);
        b->store = fdstore_free(b->store);
        assert_int_equal(fdstore_new(b->event, &(FdStoreListener){ 0 }, &b->store), 0);
        b->context.store = b->store;
        claim(b);
        function_stop(b->function);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
}

static int
setup_former(void **state, const char *names, const int *fds, const HandoverFunction *f) {
        former_fds(names, fds);
        assert_int_equal(setup_managed(state), 0);
        ((Bench *) *state)->former = f;
        return 0;
}

static int setup_taken_back(void **state) {
        const int fds[] = { eventfd_with(0), eventfd_with(1), eventfd_with(0), -1 };

        return setup_former(state, DEVICE ":" ERRORS ":" REQUEST, fds, &former_claimed);
}

/* With the policy "observe": only the claim of the former run holds it. */
static void test_taken_back(void **state) {
        Bench *b = *state;
        Ask ask = NEW_ASK();

        b->config.function.policy = POLICY_OBSERVE;
        fake_kernel.queue[0] = 2; /* it came while nobody was there, and is signalled */
        fake_kernel.n_queue = 1;
        begin(b);
        assert_true(function_is_busy(b->function));
        run_until(b, b->function->state == FUNCTION_CLAIMED && errors(b) == 1);
        run_until(b, b->function->recovery == RECOVERY_RECOVERED && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_taken_back, 1);
        assert_int_equal(fake_kernel.n_opens, 0);
        assert_int_equal(fake_kernel.n_closes, 0);
        run_dry(b);
        assert_int_equal(b->manager.n_kept, 0); /* nothing was said: it has them already */
        assert_int_equal(count(b, RECORD_LOST, &(uint64_t){ 0 }), 0);

        function_release(b->function, 0, "", &ask.request);
        run_until_answered(b, &ask, FUNCTION_DONE, 0);
        assert_int_equal(fake_kernel.n_closes, 1);
}

/* The former run ended between an error and its recovery. */
static void test_owes_recovery(void **state) {
        Bench *b = *state;
        RingFunction *counters = ring_function(b->context.ring, example.fid);

        counters->owes = 1;
        begin(b);
        run_until(b, b->function->recovery == RECOVERY_RECOVERED && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_resets, 1);
        assert_int_equal(counters->owes, 0);
}

/* Whoever got it had it released while nobody was there to close it. */
static void test_taken_back_and_released(void **state) {
        HandoverFunction released = former_claimed;
        Bench *b = *state;

        released.claimed = false;
        released.released = true;
        strcpy(released.holder, "qemu");
        b->former = &released;
        begin(b);
        assert_string_equal(function_holder(b->function), "qemu");
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_taken_back, 1);
        assert_state(b, FUNCTION_OBSERVED, "released");
}

/* Its grace ended meanwhile. */
static void test_grace_is_over(void **state) {
        HandoverFunction released = former_claimed;
        Bench *b = *state;

        released.claimed = false;
        released.released = true;
        released.released_until_usec = 1;
        b->former = &released;
        begin(b);
        run_until(b, !b->function->wishes.released && b->n_busy == 0 && fake_kernel.device);
        assert_state(b, FUNCTION_CLAIMED, "");
}

static void test_recovery_limit_is_remembered(void **state) {
        HandoverFunction limited = former_claimed;
        Bench *b = *state;

        limited.recovery_limit = true;
        limited.recoveries.total = 3;
        b->former = &limited;
        begin(b);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_state(b, FUNCTION_FAILED, "recovery-limit");
        assert_int_equal(b->function->recoveries.total, 3);
}

/* It is of no use any more: forgotten, and opened anew. */
static void test_not_taken_back(void **state) {
        Bench *b = *state;

        fake_kernel.open_error = -ENODEV;
        begin(b);
        run_until(b, b->function->former.device < 0 && b->function->activity == FUNCTION_IDLE);
        assert_false(fdstore_has(b->store, DEVICE));
        assert_false(fdstore_has(b->store, ERRORS));
        fake_kernel.open_error = 0;
        run_until(b, b->function->state == FUNCTION_CLAIMED);
        run_until(b, is_kept(b, DEVICE));
}

static void test_stopped_before_it_is_taken_back(void **state) {
        Bench *b = *state;

        begin(b);
        function_stop(b->function);
        run_until(b, b->function->device && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_closes, 0);
        assert_true(fdstore_has(b->store, DEVICE));
}

static int setup_device_only(void **state) {
        const int fds[] = { eventfd_with(0), -1 };

        return setup_former(state, DEVICE, fds, &former_claimed);
}

/* What was made anew is kept, and what is kept is not given twice. */
static void test_parts_are_missing(void **state) {
        Bench *b = *state;

        begin(b);
        run_until(b, b->function->state == FUNCTION_CLAIMED && is_kept(b, REQUEST));
        run_dry(b);
        assert_true(is_kept(b, ERRORS));
        assert_false(is_kept(b, DEVICE)); /* it came from there */
}

static int setup_parts_only(void **state) {
        const int fds[] = { eventfd_with(0), eventfd_with(0), eventfd_with(0), -1 };

        return setup_former(state, ERRORS ":" REQUEST ":" NOTIFY, fds, &former_claimed);
}

static void test_device_is_missing(void **state) {
        Bench *b = *state;

        begin(b);
        assert_false(fdstore_has(b->store, ERRORS));
        assert_false(fdstore_has(b->store, REQUEST));
        assert_false(fdstore_has(b->store, NOTIFY));
        run_until(b, b->function->state == FUNCTION_CLAIMED && is_kept(b, DEVICE));
        assert_int_equal(fake_kernel.n_taken_back, 0);
}

static void test_attached_goes_on(void **state) {
        Handover handover = { 0 };
        Bench *b = *state;
        eventfd_t n;

        b->config.function.policy = POLICY_OBSERVE;
        fake_kernel.queue[0] = 2;
        fake_kernel.n_queue = 1;
        begin(b);
        run_until(b, b->function->state == FUNCTION_DELEGATED && errors(b) == 1);
        run_dry(b);
        assert_string_equal(b->function->owner.name, ":1.42");
        assert_int_equal(b->function->owner.uid, 107);
        assert_int_equal(eventfd_read(b->function->owner.notify_fd, &n), 0);
        assert_int_equal(fake_kernel.n_resets, 0);

        assert_int_equal(function_hand_over(b->function, &handover), 1);
        assert_string_equal(handover.functions[0].owner, ":1.42");
        assert_int_equal(handover.functions[0].owner_uid, 107);
        handover_done(&handover);

        function_detach(b->function, NULL);
        run_until(b, fake_kernel.n_closes == 1 && b->n_busy == 0);
        assert_int_equal(fake_kernel.n_resets, 0);
        assert_false(fdstore_has(b->store, NOTIFY));
}

static int a_file(void) {
        return memfd_create("no eventfd", MFD_CLOEXEC);
}

static int setup_no_eventfds(void **state) {
        const int fds[] = { eventfd_with(0), a_file(), a_file(), a_file(), -1 };

        return setup_former(state, DEVICE ":" ERRORS ":" REQUEST ":" NOTIFY, fds, &former_claimed);
}

/* What only has the name of an eventfd is none: made anew, and kept in the place of the other. */
static void test_no_eventfds(void **state) {
        Bench *b = *state;

        begin(b);
        run_until(b, b->function->state == FUNCTION_CLAIMED && is_kept(b, REQUEST));
        run_dry(b);
        assert_true(vfio_is_eventfd(fake_manager_kept(&b->manager, ERRORS)));
        assert_true(vfio_is_eventfd(fake_manager_kept(&b->manager, REQUEST)));
        assert_false(fdstore_has(b->store, NOTIFY));
        assert_int_equal(fake_kernel.n_taken_back, 1);
        fake_error(2);
        run_until(b, errors(b) == 1);
}

static int setup_attached_as(void **state, int request, int notify) {
        static HandoverFunction attached;
        const int fds[] = { eventfd_with(0), eventfd_with(1), request, notify, -1 };

        attached = former_claimed;
        attached.claimed = false;
        strcpy(attached.owner, ":1.42");
        attached.owner_uid = 107;
        return setup_former(state, ATTACHED ":" ERRORS ":" REQUEST ":" NOTIFY, fds, &attached);
}

static int setup_attached(void **state) {
        return setup_attached_as(state, eventfd_with(0), eventfd_with(0));
}

static int setup_attached_no_request(void **state) {
        return setup_attached_as(state, a_file(), eventfd_with(0));
}

/* Nobody could ask for it back. */
static void test_attached_no_request(void **state) {
        Bench *b = *state;

        b->config.function.policy = POLICY_OBSERVE;
        begin(b);
        run_dry(b);
        assert_state(b, FUNCTION_OBSERVED, "policy");
        assert_false(b->function->facts.attached);
        assert_int_equal(b->function->owner.notify_fd, -EBADF);
        assert_int_equal(fake_kernel.n_taken_back, 0);
        assert_false(fdstore_has(b->store, ATTACHED));
        assert_false(fdstore_has(b->store, ERRORS));
        assert_false(fdstore_has(b->store, REQUEST));
        assert_false(fdstore_has(b->store, NOTIFY));
}

static int setup_attached_no_notify(void **state) {
        return setup_attached_as(state, eventfd_with(0), a_file());
}

static void test_attached_no_notify(void **state) {
        Bench *b = *state;

        b->config.function.policy = POLICY_OBSERVE;
        fake_kernel.queue[0] = 2;
        fake_kernel.n_queue = 1;
        begin(b);
        run_until(b, b->function->state == FUNCTION_DELEGATED && errors(b) == 1);
        assert_int_equal(b->function->owner.notify_fd, -EBADF);
        assert_false(fdstore_has(b->store, NOTIFY));
}

/* The attachment goes with the device. */
static void test_attached_is_not_taken_back(void **state) {
        Bench *b = *state;

        b->config.function.policy = POLICY_OBSERVE;
        fake_kernel.open_error = -ENODEV;
        begin(b);
        run_until(b, b->n_busy == 0);
        assert_state(b, FUNCTION_OBSERVED, "policy");
        assert_false(b->function->facts.attached);
        assert_int_equal(b->function->owner.notify_fd, -EBADF);
}

static void test_hand_over(void **state) {
        Handover handover = { 0 };
        Bench *b = *state;
        Ask ask = NEW_ASK();

        observe(b);
        assert_int_equal(function_hand_over(b->function, &handover), 0);
        assert_int_equal(handover.n_functions, 0);

        function_release(b->function, 3600 * USEC_PER_SEC, "qemu", &ask.request);
        assert_int_equal(function_hand_over(b->function, &handover), 1);
        assert_true(handover.functions[0].released);
        assert_false(handover.functions[0].claimed);
        assert_true(handover.functions[0].released_until_usec ==
                    b->function->wishes.released_until_usec);
        assert_string_equal(handover.functions[0].holder, "qemu");
        assert_string_equal(handover.functions[0].owner, "");
        assert_string_equal(handover.functions[0].sysfs.address, example.address);
        handover_done(&handover);
}

/* Registry: what a former run had, and is not there any more */

typedef struct Seen {
        Bench *bench;
        Registry *registry;
        unsigned n_added, n_leaving, n_removed;
        unsigned errors_when_removed;
} Seen;

static void on_added(Function *f, void *userdata) {
        ((Seen *) userdata)->n_added++;
}

static void on_leaving(Function *f, const SysfsFunction *now, void *userdata) {
        ((Seen *) userdata)->n_leaving++;
}

static void on_removing(Function *f, void *userdata) {
        Seen *seen = userdata;

        seen->n_removed++;
        seen->errors_when_removed = errors(seen->bench);
}

static void on_function_changed(Function *f, FunctionChange what, void *userdata) {
        Seen *seen = userdata;

        on_changed(f, what, seen->bench);
        if (what & FUNCTION_BECAME_IDLE)
                registry_became_idle(seen->registry, f);
}

/* Unbound while nobody was there: what its queue still has is told before it leaves. */
static void test_unbound_while_nobody_was_there(void **state) {
        Bench *b = *state;
        Seen seen = { .bench = b };
        const RegistryListener listener = {
                .added = on_added,
                .leaving = on_leaving,
                .removing = on_removing,
                .userdata = &seen,
        };
        HandoverFunction functions[] = { former_claimed, former_claimed };
        const Handover handover = { .functions = functions, .n_functions = 2 }; /* twice the same */

        b->context.listener =
                (FunctionListener){ .changed = on_function_changed, .userdata = &seen };
        assert_int_equal(registry_new(&b->context, &listener, &seen.registry), 0);
        fake_kernel.queue[0] = 2;
        fake_kernel.n_queue = 1;
        assert_int_equal(registry_restore(seen.registry, &handover), 0);
        assert_int_equal(registry_size(seen.registry), 1);
        registry_scan_begin(seen.registry);
        registry_scan_end(seen.registry);
        assert_int_equal(seen.n_leaving, 1);
        assert_int_equal(seen.n_removed, 0);

        run_until(b, seen.n_removed == 1 && b->n_busy == 0);
        assert_int_equal(seen.errors_when_removed, 1);
        assert_int_equal(fake_kernel.n_lost_by_close, 0);
        assert_int_equal(fake_kernel.n_closes, 1);
        assert_int_equal(registry_size(seen.registry), 0);
        registry_free(seen.registry);
}

/* It is still there, as it was, and goes on. */
static void test_still_bound(void **state) {
        Bench *b = *state;
        Seen seen = { .bench = b };
        const RegistryListener listener = {
                .added = on_added,
                .leaving = on_leaving,
                .removing = on_removing,
                .userdata = &seen,
        };
        HandoverFunction function = former_claimed;
        const Handover handover = { .functions = &function, .n_functions = 1 };

        b->config.function.policy = POLICY_OBSERVE;
        b->context.listener =
                (FunctionListener){ .changed = on_function_changed, .userdata = &seen };
        assert_int_equal(registry_new(&b->context, &listener, &seen.registry), 0);
        assert_int_equal(registry_restore(seen.registry, &handover), 0);
        registry_scan_begin(seen.registry);
        assert_int_equal(registry_correct(seen.registry, &example), 0);
        registry_scan_end(seen.registry);
        run_until(b, registry_get(seen.registry, 0)->state == FUNCTION_CLAIMED && b->n_busy == 0);
        assert_int_equal(seen.n_added, 1);
        assert_int_equal(seen.n_leaving, 0);
        assert_int_equal(fake_kernel.n_opens, 0);
        run_dry(b);
        registry_free(seen.registry);
}

int main(void) {
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, bench_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_kept, setup_managed),
                TEST(test_kept_in_error, setup_managed),
                TEST(test_forgotten_before_it_is_closed, setup_managed),
                TEST(test_error_while_it_is_forgotten, setup_managed),
                TEST(test_unbound_while_stopping, setup_managed),
                TEST(test_stop_without_manager, setup_managed),
                TEST(test_taken_back, setup_taken_back),
                TEST(test_owes_recovery, setup_taken_back),
                TEST(test_taken_back_and_released, setup_taken_back),
                TEST(test_grace_is_over, setup_taken_back),
                TEST(test_recovery_limit_is_remembered, setup_taken_back),
                TEST(test_not_taken_back, setup_taken_back),
                TEST(test_stopped_before_it_is_taken_back, setup_taken_back),
                TEST(test_parts_are_missing, setup_device_only),
                TEST(test_device_is_missing, setup_parts_only),
                TEST(test_no_eventfds, setup_no_eventfds),
                TEST(test_attached_goes_on, setup_attached),
                TEST(test_attached_no_request, setup_attached_no_request),
                TEST(test_attached_no_notify, setup_attached_no_notify),
                TEST(test_attached_is_not_taken_back, setup_attached),
                TEST(test_hand_over, setup_managed),
                TEST(test_unbound_while_nobody_was_there, setup_taken_back),
                TEST(test_still_bound, setup_taken_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
