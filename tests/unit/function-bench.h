/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One function over a fake kernel; ring, worker and event loop are real. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <string.h>

#include "fake-manager.h"
#include "fake-vfio.h"
#include "registry.h"

#define WAIT_USEC (10 * USEC_PER_SEC)

typedef struct Bench {
        sd_event *event;
        Config config;
        FakeManager manager; /* of bench_setup_managed() */
        FdStore *store;
        Inhibitors *inhibitors;
        FunctionContext context;
        const HandoverFunction *former; /* what a former run knew, or NULL */
        Function *function;
        int n_busy;
        unsigned n_state_changes;
        unsigned n_posts; /* how often a publisher would have had its turn */
        sd_event_source *post;
} Bench;

static const SysfsFunction example = {
        .address = "0001:00:00.0",
        .driver = "vfio-pci",
        .vfio_bound = true,
        .fid = 0x10,
        .pchid = 0x104,
        .group = 1,
};

static inline void on_changed(Function *f, FunctionChange what, void *userdata) {
        Bench *b = userdata;

        if (what & FUNCTION_BECAME_BUSY)
                b->n_busy++;
        if (what & FUNCTION_BECAME_IDLE)
                b->n_busy--;
        if (what & FUNCTION_CHANGED_STATE)
                b->n_state_changes++;
}

static inline int on_post(sd_event_source *source, void *userdata) {
        Bench *b = userdata;

        b->n_posts++;
        return 0;
}

static inline void on_inhibitors_changed(Inhibitors *inhibitors, void *userdata) {
        Bench *b = userdata;

        if (b->function)
                function_correct_inhibited(b->function);
}

static inline int bench_setup_with(void **state, bool managed) {
        Bench *b = calloc(1, sizeof(*b));
        RingOrigin origin;

        fake_kernel = (FakeKernel){ 0 };
        config_defaults(&b->config);
        b->config.function.policy = POLICY_CLAIM;
        b->config.function.settle_usec = 0;

        assert_int_equal(sd_event_new(&b->event), 0);
        if (managed)
                fake_manager_start(&b->manager, b->event);
        assert_int_equal(fdstore_new(b->event, &(FdStoreListener){ 0 }, &b->store), 0);
        assert_int_equal(inhibitors_new(b->event,
                                        b->store,
                                        &(InhibitorsListener){
                                                .changed = on_inhibitors_changed,
                                                .userdata = b,
                                        },
                                        &b->inhibitors),
                         0);
        b->context = (FunctionContext){
                .event = b->event,
                .store = b->store,
                .inhibitors = b->inhibitors,
                .config = &b->config,
                .listener = { .changed = on_changed, .userdata = b },
        };
        assert_int_equal(ring_open(-EBADF, 64, &b->context.ring, &origin), 0);
        assert_int_equal(worker_new(b->event, 2, &b->context.worker), 0);
        assert_int_equal(log_new(&b->context.log), 0);
        log_set_target(b->context.log, LOG_TARGET_NULL);
        assert_true(sd_event_add_post(b->event, &b->post, on_post, b) >= 0);

        *state = b;
        return 0;
}

static inline int bench_setup(void **state) {
        return bench_setup_with(state, false);
}

static inline int bench_setup_managed(void **state) {
        return bench_setup_with(state, true);
}

static inline int bench_teardown(void **state) {
        Bench *b = *state;
        uint64_t end = now_usec(CLOCK_MONOTONIC) + WAIT_USEC;

        /* What is under way has a reference to the function until it is done. */
        while (b->n_busy > 0 && now_usec(CLOCK_MONOTONIC) < end)
                assert_true(sd_event_run(b->event, WAIT_USEC) >= 0);

        sd_event_source_disable_unref(b->post);
        worker_free(b->context.worker);
        function_unref(b->function);
        inhibitors_free(b->inhibitors);
        fdstore_free(b->store);
        fake_manager_end(&b->manager);
        ring_free(b->context.ring);
        log_free(b->context.log);
        sd_event_unref(b->event);
        free(b);
        return 0;
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

/* Whether it is going to be tried again. */
static inline bool is_armed(const Bench *b) {
        return sd_event_source_get_enabled(b->function->claim_timer, NULL) > 0;
}

/* Until nothing is left to do at once. */
static inline void run_dry(Bench *b) {
        while (sd_event_run(b->event, 0) > 0)
                ;
}

/* The configuration changed, and the functions are looked at. */
static inline void reconfigure(Bench *b) {
        function_correct(b->function, &example);
}

static inline void begin(Bench *b) {
        assert_int_equal(function_new(&b->context, &example, b->former, &b->function), 0);
        function_update(b->function);
}

static inline void claim(Bench *b) {
        begin(b);
        run_until(b, b->function->state == FUNCTION_CLAIMED && !b->function->opened_now);
        assert_non_null(fake_kernel.device);
}

static inline void assert_state(const Bench *b, FunctionState state, const char *reason) {
        assert_string_equal(state_to_string(b->function->state), state_to_string(state));
        assert_string_equal(b->function->reason, reason);
}

/* How many entries of a kind the ring has, and the sum of what they say was lost. */
static inline unsigned count(const Bench *b, RecordKind kind, uint64_t *ret_lost) {
        uint64_t cursor = 0, missed;
        const Record *record;
        unsigned n = 0;

        *ret_lost = 0;
        while ((record = ring_next(b->context.ring, &cursor, &missed)))
                if (record->kind == kind) {
                        n++;
                        *ret_lost += record->lost;
                }
        return n;
}

static inline unsigned errors(const Bench *b) {
        uint64_t lost;

        return count(b, RECORD_ERROR, &lost);
}
