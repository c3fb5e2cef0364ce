/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "kmsg.h"
#include "observer.h"
#include "pairing.h"

#define WAIT_USEC (10 * USEC_PER_SEC)
#define HELD      0x10U /* FIDs of the two functions that there are */
#define SEEN      0x20U

/* The kernel log, and how it was opened. */
static struct {
        const KmsgListener *listener; /* NULL while it is closed */
        int open_error;
        uint64_t from;
        const KmsgError *late; /* a line that only kmsg_catch_up() comes to */
} kernel_log;

static Function functions[2];
static RecordRecovery recoveries[2]; /* as they were set last */
static uint16_t queued;              /* PEC of what the first one's device has, 0 for nothing */

typedef struct Fixture {
        sd_event *event;
        FunctionContext context;
        Ring *ring;
        Observer *observer;
        uint64_t cursor;
} Fixture;

int __wrap_kmsg_open(sd_event *event, uint64_t sequence, const KmsgListener *listener, Kmsg **ret);
Kmsg *__wrap_kmsg_close(Kmsg *kmsg);
void __wrap_kmsg_catch_up(Kmsg *kmsg);
Function *__wrap_registry_by_fid(const Registry *registry, uint32_t fid);
Function *__wrap_registry_by_address(const Registry *registry, const char *address);
size_t __wrap_registry_size(const Registry *registry);
Function *__wrap_registry_get(const Registry *registry, size_t index);
void __wrap_function_identity(const Function *function, RecordIdentity *ret);
void __wrap_function_count_error(Function *function, const Record *record);
void __wrap_function_set_recovery(Function *function, RecordRecovery recovery);
void __wrap_function_drain_rest(Function *function);

int __wrap_kmsg_open(sd_event *event, uint64_t sequence, const KmsgListener *listener, Kmsg **ret) {
        kernel_log.from = sequence;
        if (kernel_log.open_error < 0)
                return kernel_log.open_error;

        kernel_log.listener = listener;
        *ret = (Kmsg *) &kernel_log;
        return 0;
}

Kmsg *__wrap_kmsg_close(Kmsg *kmsg) {
        kernel_log.listener = NULL;
        return NULL;
}

void __wrap_kmsg_catch_up(Kmsg *kmsg) {
        const KmsgError *late = kernel_log.late;

        kernel_log.late = NULL;
        if (late)
                kernel_log.listener->error(late, kernel_log.listener->userdata);
}

Function *__wrap_registry_by_fid(const Registry *registry, uint32_t fid) {
        for (size_t i = 0; i < ELEMENTSOF(functions); i++)
                if (functions[i].sysfs.fid == fid)
                        return &functions[i];
        return NULL;
}

Function *__wrap_registry_by_address(const Registry *registry, const char *address) {
        for (size_t i = 0; i < ELEMENTSOF(functions); i++)
                if (strcmp(functions[i].sysfs.address, address) == 0)
                        return &functions[i];
        return NULL;
}

size_t __wrap_registry_size(const Registry *registry) {
        return ELEMENTSOF(functions);
}

Function *__wrap_registry_get(const Registry *registry, size_t index) {
        return &functions[index];
}

void __wrap_function_identity(const Function *function, RecordIdentity *ret) {
        *ret = (RecordIdentity){ .fid = function->sysfs.fid };
        strcpy(ret->address, function->sysfs.address);
}

void __wrap_function_count_error(Function *function, const Record *record) {
        function->records++;
}

void __wrap_function_set_recovery(Function *function, RecordRecovery recovery) {
        recoveries[function - functions] = recovery;
}

static void commit(Ring *ring, const Function *function, uint16_t pec) {
        RecordIdentity identity;
        Record *record;

        __wrap_function_identity(function, &identity);
        record = ring_reserve(ring, RECORD_ERROR, &identity);
        record->source = RECORD_VFIO;
        record->pec = pec;
        ring_commit(ring, record);
}

void __wrap_function_drain_rest(Function *function) {
        if (function == functions && queued > 0)
                commit(function->context->ring, function, queued);
}

static void open_ring(Fixture *f, int image) {
        RingOrigin origin;

        assert_int_equal(ring_open(image, 4096, &f->ring, &origin), 0);
        f->context.ring = f->ring;
}

static void begin(Fixture *f) {
        assert_int_equal(observer_new(&f->context, (Registry *) functions, &f->observer), 0);
        observer_watch_kernel_log(f->observer);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        kernel_log.open_error = 0;
        kernel_log.late = NULL;
        queued = 0;
        for (size_t i = 0; i < ELEMENTSOF(functions); i++) {
                functions[i] = (Function){
                        .sysfs.fid = i == 0 ? HELD : SEEN,
                        .context = &f->context,
                        .former.device = -EBADF,
                };
                (void) snprintf(functions[i].sysfs.address,
                                sizeof(functions[i].sysfs.address),
                                "000%zu:00:00.0",
                                i + 1);
                recoveries[i] = RECOVERY_NONE;
        }
        functions[0].device = (VfioDevice *) functions; /* nobody looks at it */

        assert_int_equal(log_new(&f->context.log), 0);
        log_set_target(f->context.log, LOG_TARGET_NULL);
        assert_true(sd_event_new(&f->event) >= 0);
        f->context.event = f->event;
        open_ring(f, -EBADF);
        begin(f);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        observer_free(f->observer);
        ring_free(f->ring);
        log_free(f->context.log);
        sd_event_unref(f->event);
        free(f);
        return 0;
}

static int nothing(sd_event_source *source, void *userdata) {
        return 0;
}

/* Lets something happen in the loop, and the loop run until it has nothing left to do. */
static void run(Fixture *f) {
        sd_event_source *something = NULL;

        assert_true(sd_event_add_defer(f->event, &something, nothing, NULL) >= 0);
        while (sd_event_run(f->event, 0) > 0)
                ;
        sd_event_source_unref(something);
}

static uint64_t line_at(Fixture *f, uint32_t fid, uint16_t pec, uint64_t usec) {
        KmsgError error = { .sequence = 1, .monotonic_usec = usec, .fid = fid, .pec = pec };

        kernel_log.listener->error(&error, kernel_log.listener->userdata);
        run(f);
        return usec;
}

static uint64_t line(Fixture *f, uint32_t fid, uint16_t pec) {
        return line_at(f, fid, pec, now_usec(CLOCK_MONOTONIC));
}

static void drained(Fixture *f, uint32_t fid, uint16_t pec) {
        commit(f->ring, __wrap_registry_by_fid(NULL, fid), pec);
        run(f);
}

static void uevent(Fixture *f, unsigned function, UeventError error) {
        observer_uevent(f->observer, functions[function].sysfs.address, error);
        run(f);
}

/* The next record of the ring, NULL if there is none. */
static const Record *next(Fixture *f) {
        uint64_t missed;

        return ring_next(f->ring, &f->cursor, &missed);
}

static const Record *assert_next(Fixture *f, RecordSource source, uint32_t fid, uint16_t pec) {
        const Record *record = next(f);

        assert_non_null(record);
        assert_int_equal(record->source, source);
        assert_int_equal(record->identity.fid, fid);
        assert_int_equal(record->pec, pec);
        return record;
}

static void assert_no_more(Fixture *f) {
        assert_null(next(f));
}

static void wait_for_one(Fixture *f) {
        uint64_t head = ring_head(f->ring), end = now_usec(CLOCK_MONOTONIC) + WAIT_USEC;

        while (ring_head(f->ring) == head) {
                if (now_usec(CLOCK_MONOTONIC) > end)
                        fail_msg("waited for a record");
                assert_true(sd_event_run(f->event, WAIT_USEC) >= 0);
        }
}

/* A line that nothing richer comes for is the record, of the time at which it was written. */
static void test_line(void **state) {
        Fixture *f = *state;
        uint64_t when;

        when = line(f, SEEN, 4);
        assert_no_more(f);
        wait_for_one(f);
        assert_int_equal(assert_next(f, RECORD_KMSG, SEEN, 4)->monotonic_usec, when);
        assert_true(now_usec(CLOCK_MONOTONIC) >= when + PAIRING_WAIT_USEC);
        assert_int_equal(functions[1].records, 1);
        assert_int_equal(recoveries[1], RECOVERY_LEFT_TO_HOLDER);
}

static void test_line_of_a_record(void **state) {
        Fixture *f = *state;

        line(f, HELD, 2);
        drained(f, HELD, 2);
        drained(f, HELD, 3);
        line(f, HELD, 3);
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, HELD, 2);
        assert_next(f, RECORD_VFIO, HELD, 3);
        assert_no_more(f);
        assert_int_equal(functions[0].records, 0);
}

/* An error at the very end: all that was logged is read, and drained after that. */
static void test_line_at_the_end(void **state) {
        const KmsgError late = {
                .sequence = 2, .monotonic_usec = now_usec(CLOCK_MONOTONIC), .fid = HELD, .pec = 2
        };
        Fixture *f = *state;

        kernel_log.late = &late;
        queued = 2;
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, HELD, 2);
        assert_no_more(f);
}

/* What the kernel's queue had no room for. Its recovery is that of its function. */
static void test_line_of_a_loss(void **state) {
        Fixture *f = *state;

        line(f, HELD, 2);
        line(f, HELD, 2);
        drained(f, HELD, 2);
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, HELD, 2);
        assert_next(f, RECORD_KMSG, HELD, 2);
        assert_no_more(f);
        assert_int_equal(recoveries[0], RECOVERY_NONE);
}

static void test_uevent(void **state) {
        Fixture *f = *state;

        uevent(f, 1, UEVENT_BEGIN_RECOVERY);
        observer_hasten(f->observer, &functions[1]);
        assert_next(f, RECORD_UEVENT, SEEN, 0);

        /* Of one error there are both: the line says more. */
        uevent(f, 1, UEVENT_BEGIN_RECOVERY);
        line(f, SEEN, 5);
        observer_hasten(f->observer, &functions[1]);
        assert_next(f, RECORD_KMSG, SEEN, 5);
        assert_no_more(f);
}

static void test_strangers(void **state) {
        Fixture *f = *state;

        line(f, 0x99, 2);
        observer_uevent(f->observer, "0099:00:00.0", UEVENT_BEGIN_RECOVERY);
        line(f, SEEN, 3);
        wait_for_one(f);
        assert_next(f, RECORD_KMSG, SEEN, 3);
        assert_no_more(f);
}

static void test_severities(void **state) {
        Fixture *f = *state;

        line(f, SEEN, 0x3b);
        line(f, SEEN, 0x2a);
        observer_hasten(f->observer, &functions[1]);
        assert_next(f, RECORD_KMSG, SEEN, 0x3b);
        assert_next(f, RECORD_KMSG, SEEN, 0x2a);
        assert_int_equal(recoveries[1], RECOVERY_NONE);
}

/* The kernel recovered it: the error goes first, and has its line though that was not read yet. */
static void test_recovered(void **state) {
        const KmsgError late = {
                .monotonic_usec = now_usec(CLOCK_MONOTONIC),
                .fid = SEEN,
                .pec = 7,
        };
        Fixture *f = *state;

        kernel_log.late = &late;
        uevent(f, 1, UEVENT_SUCCESSFUL_RECOVERY);
        assert_next(f, RECORD_KMSG, SEEN, 7);
        assert_int_equal(recoveries[1], RECOVERY_RECOVERED);
        uevent(f, 1, UEVENT_FAILED_RECOVERY);
        assert_int_equal(recoveries[1], RECOVERY_FAILED);

        /* That of a function that we hold is ours to tell. */
        uevent(f, 0, UEVENT_FAILED_RECOVERY);
        assert_int_equal(recoveries[0], RECOVERY_NONE);
}

/* A device that is being opened may have the record: the line waits on. */
static void test_opening(void **state) {
        uint64_t begin_usec;
        Fixture *f = *state;

        functions[1].activity = FUNCTION_OPENING;
        begin_usec = line(f, SEEN, 4);
        while (now_usec(CLOCK_MONOTONIC) < begin_usec + PAIRING_WAIT_USEC + 100 * USEC_PER_MSEC)
                assert_true(sd_event_run(f->event, 50 * USEC_PER_MSEC) >= 0);
        assert_no_more(f);

        functions[1].activity = FUNCTION_IDLE;
        drained(f, SEEN, 4);
        observer_finish(f->observer);
        assert_next(f, RECORD_VFIO, SEEN, 4);
        assert_no_more(f);
}

/* More lines than can wait: the oldest go, in order, and do not wait for a timer. */
static void test_many(void **state) {
        Fixture *f = *state;

        for (unsigned i = 1; i <= PAIRING_WAITING + 5; i++)
                line(f, SEEN, (uint16_t) (0x100 + i));
        for (unsigned i = 1; i <= 5; i++)
                assert_next(f, RECORD_KMSG, SEEN, (uint16_t) (0x100 + i));
        observer_finish(f->observer);
        for (unsigned i = 6; i <= PAIRING_WAITING + 5; i++)
                assert_next(f, RECORD_KMSG, SEEN, (uint16_t) (0x100 + i));
        assert_no_more(f);
}

/* That a line was read is noted once nothing waits; the next run reads those from there on again, and
 * publishes none of them twice. */
static void test_next_run(void **state) {
        Fixture *f = *state;
        sd_id128_t boot;
        uint64_t when;
        int image;

        assert_true(sd_id128_get_boot(&boot) >= 0);
        assert_int_equal(kernel_log.from, UINT64_MAX);
        kernel_log.listener->progress(41, kernel_log.listener->userdata);
        run(f);
        assert_int_equal(ring_kmsg_sequence(f->ring, boot.bytes), 41);

        when = line(f, SEEN, 4);
        kernel_log.listener->progress(42, kernel_log.listener->userdata);
        run(f);
        observer_hasten(f->observer, &functions[1]);
        assert_next(f, RECORD_KMSG, SEEN, 4);
        line(f, SEEN, 5);
        kernel_log.listener->progress(43, kernel_log.listener->userdata);
        run(f);
        assert_int_equal(ring_kmsg_sequence(f->ring, boot.bytes), 42);

        image = fcntl(ring_fd(f->ring), F_DUPFD_CLOEXEC, 3);
        assert_true(image >= 0);
        f->observer = observer_free(f->observer);
        ring_free(f->ring);
        open_ring(f, image);
        begin(f);
        assert_int_equal(kernel_log.from, 42);

        line_at(f, SEEN, 4, when); /* had the note been lost */
        line(f, SEEN, 5);
        observer_finish(f->observer);
        assert_next(f, RECORD_KMSG, SEEN, 5);
        assert_no_more(f);
}

static void test_no_kernel_log(void **state) {
        Fixture *f = *state;

        line(f, SEEN, 4);
        kernel_log.listener->failed(-EIO, kernel_log.listener->userdata);
        assert_null(kernel_log.listener);
        uevent(f, 1, UEVENT_BEGIN_RECOVERY);
        observer_finish(f->observer);
        assert_next(f, RECORD_KMSG, SEEN, 4);

        f->observer = observer_free(f->observer);
        kernel_log.open_error = -EPERM;
        begin(f);
        uevent(f, 1, UEVENT_BEGIN_RECOVERY);
        observer_finish(f->observer);
        assert_next(f, RECORD_UEVENT, SEEN, 0);
        assert_no_more(f);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_line),           TEST(test_line_of_a_record), TEST(test_line_at_the_end),
                TEST(test_line_of_a_loss), TEST(test_uevent),           TEST(test_strangers),
                TEST(test_severities),     TEST(test_recovered),        TEST(test_opening),
                TEST(test_many),           TEST(test_next_run),         TEST(test_no_kernel_log),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
