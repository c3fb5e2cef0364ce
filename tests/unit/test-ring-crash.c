/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A run that ends between any two instructions.
 *
 * A child drains two functions' worth of errors out of pipes and eventfds, which take the place of
 * the kernel's queue: what was read is gone there. It is stepped through, one instruction at a time.
 * Whenever something changed, the image is opened as the next run would find it, which must hold
 * exactly what is gone from pipes and eventfds, and which then drains the rest: in the end there is
 * every error once, and every loss was announced once.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "balance.h"
#include "ring-fixture.h"

#define N_SLOTS     16U
#define N_BEFORE    13U /* entries that are there already: the ring wraps while it is watched */
#define BOOT        ((const uint8_t *) "0123456789abcdef")
#define FORMER_BOOT ((const uint8_t *) "fedcba9876543210")

/* A wake-up of the eventfd, and the records that the queue then holds. */
typedef struct Burst {
        unsigned signals, records;
} Burst;

static const Burst bursts[] = { { 7, 4 }, { 1, 1 }, { 5, 4 } };

#define N_BURSTS  ELEMENTSOF(bursts)
#define N_SIGNALS (7U + 1U + 5U)
#define N_RECORDS (4U + 1U + 4U)
#define N_LOST    (3U + 1U)

typedef struct Kernel {
        int queue[2];
        int eventfd;
} Kernel;

typedef struct Scenario {
        RecordInterface interface;
        Kernel kernels[N_BURSTS];
        Ring *ring;
} Scenario;

static size_t answer_size(RecordInterface interface) {
        return interface == RECORD_CCDF ? sizeof(fixture_ccdf) : sizeof(fixture_packed);
}

static Scenario scenario_new(RecordInterface interface) {
        Scenario s = { .interface = interface };
        RingOrigin origin;
        const void *answer =
                interface == RECORD_CCDF ? (const void *) fixture_ccdf : &fixture_packed;

        for (size_t i = 0; i < N_BURSTS; i++) {
                Kernel *k = &s.kernels[i];

                assert_int_equal(pipe2(k->queue, O_CLOEXEC | O_NONBLOCK), 0);
                k->eventfd = eventfd(bursts[i].signals, EFD_CLOEXEC | EFD_NONBLOCK);
                assert_true(k->eventfd >= 0);
                for (unsigned n = 0; n < bursts[i].records; n++)
                        assert_int_equal(write(k->queue[1], answer, answer_size(interface)),
                                         answer_size(interface));
        }

        assert_int_equal(ring_open(-EBADF, N_SLOTS, &s.ring, &origin), 0);
        for (unsigned i = 0; i < N_BEFORE; i++)
                fixture_error(s.ring);
        ring_set_kmsg_sequence(s.ring, FORMER_BOOT, 1000);
        return s;
}

static void scenario_done(Scenario *s) {
        for (size_t i = 0; i < N_BURSTS; i++) {
                assert_int_equal(close(s->kernels[i].queue[0]), 0);
                assert_int_equal(close(s->kernels[i].queue[1]), 0);
                assert_int_equal(close(s->kernels[i].eventfd), 0);
        }
        s->ring = ring_free(s->ring);
}

/* ---- what a run does, as the domain does it ---- */

static bool drain_one(Ring *ring, RingFunction *counters, RecordInterface interface, int queue) {
        Record *record = fixture_reserve(ring, interface);

        if (read(queue, fixture_target(record), answer_size(interface)) < 0) {
                ring_cancel(ring, record);
                return false;
        }

        record->ordinal = counters->drained + 1;
        ring_commit(ring, record);
        balance_drained(counters);
        return true;
}

static void settle(Ring *ring, RingFunction *counters) {
        uint64_t lost = balance_lost(counters);

        if (lost > 0) {
                Record *record = ring_reserve(ring, RECORD_LOST, &fixture_identity);

                record->source = RECORD_VFIO;
                record->lost = lost;
                record->ordinal = counters->signalled;
                ring_commit(ring, record);
        }
        (void) balance_settle(counters, false);
}

static void run(Ring *ring, const Kernel *kernels, RecordInterface interface) {
        RingFunction *counters = ring_function(ring, FIXTURE_FID);

        for (size_t i = 0; i < N_BURSTS; i++) {
                if (read(kernels[i].eventfd, &counters->wakeup, sizeof(counters->wakeup)) > 0)
                        balance_signalled(counters);
                while (drain_one(ring, counters, interface, kernels[i].queue[0]))
                        ;
                settle(ring, counters);
                ring_set_cursor(ring, RING_READER_BUS, ring_head(ring));
                ring_set_kmsg_sequence(ring, BOOT, i);
        }
}

/* ---- what the next run finds ---- */

/* What is still in the kernel. */
static void pending(const Scenario *s, unsigned signals[N_BURSTS], unsigned records[N_BURSTS]) {
        for (size_t i = 0; i < N_BURSTS; i++) {
                struct pollfd p = { .fd = s->kernels[i].eventfd, .events = POLLIN };
                int bytes = 0;

                /* An eventfd is read as a whole or not at all. */
                assert_in_range(poll(&p, 1, 0), 0, 1);
                signals[i] = p.revents ? bursts[i].signals : 0;
                assert_int_equal(ioctl(s->kernels[i].queue[0], FIONREAD, &bytes), 0);
                records[i] = (unsigned) ((size_t) bytes / answer_size(s->interface));
        }
}

static unsigned sum(const unsigned values[N_BURSTS]) {
        unsigned total = 0;

        for (size_t i = 0; i < N_BURSTS; i++)
                total += values[i];
        return total;
}

/* The rest of the work, from what is left of the kernel's state. */
static void finish(Ring *ring,
                   RecordInterface interface,
                   const unsigned signals[N_BURSTS],
                   const unsigned records[N_BURSTS]) {
        RingFunction *counters = ring_function(ring, FIXTURE_FID);

        for (size_t i = 0; i < N_BURSTS; i++) {
                counters->wakeup = signals[i];
                balance_signalled(counters);
                for (unsigned n = 0; n < records[i]; n++) {
                        Record *record = fixture_reserve(ring, interface);

                        fixture_answer(record);
                        record->ordinal = counters->drained + 1;
                        ring_commit(ring, record);
                        balance_drained(counters);
                }
                settle(ring, counters);
        }
}

static void check_entries(const Ring *ring) {
        uint64_t cursor = 0, missed, sequence = 0;
        const Record *record;

        while ((record = ring_next(ring, &cursor, &missed))) {
                assert_int_equal(record->position, cursor);
                assert_string_equal(record->identity.address, fixture_identity.address);
                if (record->kind == RECORD_LOST)
                        continue;
                assert_int_equal(record_pec(record), 2);
                assert_true(sequence == 0 || record->sequence == sequence + 1);
                sequence = record->sequence;
        }
        assert_int_equal(sequence, ring_last_sequence(ring));
        assert_in_range(ring_head(ring) - ring_last_sequence(ring), 0, 2);
}

static void check_next_run(const Scenario *s) {
        unsigned signals[N_BURSTS], records[N_BURSTS];
        _cleanup_(ring_freep) Ring *ring = NULL;
        const RingFunction *counters;
        RingOrigin origin;

        pending(s, signals, records);
        assert_int_equal(ring_open(fixture_clone(s->ring), 0, &ring, &origin), 0);
        assert_int_equal(origin, RING_CONTINUED);

        counters = ring_function(ring, FIXTURE_FID);
        assert_int_equal(ring_last_sequence(ring), N_BEFORE + N_RECORDS - sum(records));
        assert_int_equal(counters->drained, N_RECORDS - sum(records));
        assert_int_equal(counters->signalled, N_SIGNALS - sum(signals));
        check_entries(ring);
        assert_true(ring_kmsg_sequence(ring, BOOT) < N_BURSTS ||
                    ring_kmsg_sequence(ring, BOOT) == UINT64_MAX);

        finish(ring, s->interface, signals, records);
        assert_int_equal(ring_last_sequence(ring), N_BEFORE + N_RECORDS);
        assert_int_equal(ring_lost(ring), N_LOST);
        check_entries(ring);
}

/* ---- stepping ---- */

static void wait_for_stop(pid_t child, int *ret_status) {
        assert_int_equal(waitpid(child, ret_status, 0), child);
}

static pid_t start(const Scenario *s) {
        pid_t child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0) {
                /* It has the image mapped shared, as the parent has. */
                if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
                        _exit(2);
                (void) raise(SIGSTOP);
                run(s->ring, s->kernels, s->interface);
                _exit(0);
        }

        wait_for_stop(child, &status);
        if (!WIFSTOPPED(status))
                fail_msg("the child cannot be traced (status %#x)", (unsigned) status);
        assert_int_equal(ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL), 0);
        return child;
}

static void step_through(RecordInterface interface) {
        Scenario s = scenario_new(interface);
        size_t size = fixture_size(s.ring);
        _cleanup_free_ uint8_t *last = malloc(size);
        unsigned changes = 0, steps = 0;
        const void *image = mmap(NULL, size, PROT_READ, MAP_SHARED, ring_fd(s.ring), 0);
        int status, deliver = 0;
        pid_t child;

        assert_non_null(last);
        assert_ptr_not_equal(image, MAP_FAILED);
        memset(last, 0, size);
        for (child = start(&s);; steps++) {
                /* What leaves the kernel goes into the image by the same instruction. */
                if (memcmp(image, last, size) != 0) {
                        memcpy(last, image, size);
                        changes++;
                        check_next_run(&s);
                }

                assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, deliver), 0);
                wait_for_stop(child, &status);
                if (!WIFSTOPPED(status))
                        break;
                deliver = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        }

        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fail_msg("the child ended early (status %#x)", (unsigned) status);
        assert_int_equal(ring_last_sequence(s.ring), N_BEFORE + N_RECORDS);
        assert_int_equal(ring_lost(s.ring), N_LOST);
        print_message("%u steps, %u states of the image\n", steps, changes);
        assert_true(changes > 200); /* or it was not stepped through */

        assert_int_equal(munmap((void *) image, size), 0);
        scenario_done(&s);
}

static void test_ccdf(void **state) {
        step_through(RECORD_CCDF);
}

static void test_packed(void **state) {
        step_through(RECORD_PACKED);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ccdf),
                cmocka_unit_test(test_packed),
        };

        return cmocka_run_group_tests_name("ring-crash", tests, NULL, NULL);
}
