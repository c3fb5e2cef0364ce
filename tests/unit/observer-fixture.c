/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "observer-fixture.h"

#define WAIT_USEC (10 * USEC_PER_SEC)

KernelLog kernel_log;
FakeWitness fake_witness;
Function functions[2];
RecordRecovery recoveries[2];
uint16_t queued;
bool undrained[2];

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
bool __wrap_function_is_undrained(const Function *function);
int __wrap_witness_open(sd_event *event,
                        int ring_fd,
                        int counters_fd,
                        const WitnessListener *listener,
                        Witness **ret);
Witness *__wrap_witness_close(Witness *witness);
bool __wrap_witness_catch_up(Witness *witness, bool patient);
uint64_t __wrap_witness_oldest(const Witness *witness);
void __wrap_witness_release(Witness *witness, uint64_t sequence);

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

int __wrap_witness_open(sd_event *event,
                        int ring_fd,
                        int counters_fd,
                        const WitnessListener *listener,
                        Witness **ret) {
        fake_witness.listener = listener;
        fake_witness.heard = fake_witness.released;
        *ret = (Witness *) &fake_witness;
        return 0;
}

Witness *__wrap_witness_close(Witness *witness) {
        fake_witness.listener = NULL;
        return NULL;
}

bool __wrap_witness_catch_up(Witness *witness, bool patient) {
        unsigned n = patient ? 1 : UINT_MAX;

        while (n-- > 0 && fake_witness.heard < fake_witness.seen) {
                const struct witness_account *account =
                        &fake_witness.accounts[fake_witness.heard++];

                fake_witness.listener->account(account, fake_witness.listener->userdata);
        }
        return fake_witness.heard == fake_witness.seen;
}

uint64_t __wrap_witness_oldest(const Witness *witness) {
        return fake_witness.released < fake_witness.seen ? fake_witness.released + 1 : UINT64_MAX;
}

void __wrap_witness_release(Witness *witness, uint64_t sequence) {
        while (fake_witness.released < fake_witness.heard && fake_witness.released + 1 < sequence)
                fake_witness.released++;
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

bool __wrap_function_is_undrained(const Function *function) {
        return undrained[function - functions];
}

static void open_ring(Fixture *f, int image) {
        RingOrigin origin;

        assert_int_equal(ring_open(image, 4096, &f->ring, &origin), 0);
        f->context.ring = f->ring;
}

void begin(Fixture *f) {
        assert_int_equal(observer_new(&f->context, (Registry *) functions, &f->observer), 0);
        if (fake_witness.runs)
                assert_int_equal(observer_watch_witness(f->observer, -EBADF, -EBADF), 0);
        observer_watch_kernel_log(f->observer);
}

void begin_anew(Fixture *f) {
        int image = fcntl(ring_fd(f->ring), F_DUPFD_CLOEXEC, 3);

        assert_true(image >= 0);
        f->observer = observer_free(f->observer);
        ring_free(f->ring);
        open_ring(f, image);
        begin(f);
}

int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        kernel_log.open_error = 0;
        kernel_log.late = NULL;
        fake_witness = (FakeWitness){ 0 };
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
                undrained[i] = false;
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

int teardown(void **state) {
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

void run(Fixture *f) {
        sd_event_source *something = NULL;

        assert_true(sd_event_add_defer(f->event, &something, nothing, NULL) >= 0);
        while (sd_event_run(f->event, 0) > 0)
                ;
        sd_event_source_unref(something);
}

uint64_t line_at(Fixture *f, uint32_t fid, uint16_t pec, uint64_t usec) {
        KmsgError error = { .sequence = 1, .monotonic_usec = usec, .fid = fid, .pec = pec };

        kernel_log.listener->error(&error, kernel_log.listener->userdata);
        run(f);
        return usec;
}

uint64_t line(Fixture *f, uint32_t fid, uint16_t pec) {
        return line_at(f, fid, pec, now_usec(CLOCK_MONOTONIC));
}

void drained(Fixture *f, uint32_t fid, uint16_t pec) {
        commit(f->ring, __wrap_registry_by_fid(NULL, fid), pec);
        run(f);
}

void uevent(Fixture *f, unsigned function, UeventError error) {
        observer_uevent(f->observer, functions[function].sysfs.address, error);
        run(f);
}

/* The next record of the ring, NULL if there is none. */
static const Record *next(Fixture *f) {
        uint64_t missed;

        return ring_next(f->ring, &f->cursor, &missed);
}

const Record *assert_next(Fixture *f, RecordSource source, uint32_t fid, uint16_t pec) {
        const Record *record = next(f);

        assert_non_null(record);
        assert_int_equal(record->source, source);
        assert_int_equal(record->identity.fid, fid);
        assert_int_equal(record_pec(record), pec);
        return record;
}

void assert_no_more(Fixture *f) {
        assert_null(next(f));
}

void wait_for_one(Fixture *f) {
        uint64_t head = ring_head(f->ring), end = now_usec(CLOCK_MONOTONIC) + WAIT_USEC;

        while (ring_head(f->ring) == head) {
                if (now_usec(CLOCK_MONOTONIC) > end)
                        fail_msg("waited for a record");
                assert_true(sd_event_run(f->event, WAIT_USEC) >= 0);
        }
}

void see(Fixture *f, uint32_t fid, uint8_t pec) {
        struct witness_account *account = &fake_witness.accounts[fake_witness.seen++];

        assert_true(fake_witness.seen <= ELEMENTSOF(fake_witness.accounts));
        *account = (struct witness_account){
                .sequence = fake_witness.seen,
                .nsec = now_usec(CLOCK_MONOTONIC) * 1000,
                .raw[11] = (uint8_t) fid,
                .raw[31] = pec,
        };
}
