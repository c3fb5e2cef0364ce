/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fake-timers.h"
#include "journal-check.h"
#include "journal-stored.h"

#define SLOTS     64U
#define POSITIONS 1024U

#define CHECK (1 * USEC_PER_SEC)
#define RETRY (10 * USEC_PER_SEC)

/* journald: what it is sent, and what of it can be read back. */
struct Journal {
        unsigned room; /* entries that are taken before it is busy */
        bool waiting;  /* something lies in its socket */
        bool loses;    /* takes entries and does not store them */
        int read_error;
        bool stored[POSITIONS];
        char sent[4096]; /* "7 " an entry, "gap 3 " an announcement */
};

typedef struct Fixture {
        sd_event *event;
        Log *log;
        Ring *ring;
        Journal journal;
        JournalCheck *check;
} Fixture;

static Journal *journald; /* of the test that runs */
static WorkerJob *job;    /* that was submitted and is not done */
static bool out_of_memory;

int __wrap_journal_send(Journal *journal, const struct iovec *fields, size_t n_fields);
bool __wrap_journal_is_taken(const Journal *journal);
int __wrap_journal_stored_read(JournalStored *stored, const uint8_t stream_id[RING_STREAM_SIZE]);
void __wrap_worker_submit(Worker *worker, WorkerJob *submitted);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static const char *field_of(const struct iovec *fields, size_t n_fields, const char *name) {
        for (size_t i = 0; i < n_fields; i++)
                if (strncmp(fields[i].iov_base, name, strlen(name)) == 0)
                        return (const char *) fields[i].iov_base + strlen(name);
        return NULL;
}

int __wrap_journal_send(Journal *journal, const struct iovec *fields, size_t n_fields) {
        const char *lost = field_of(fields, n_fields, "ZPCI_LOST=");
        uint64_t position, count = 1;
        size_t used = strlen(journal->sent);

        if (journal->room == 0)
                return -EAGAIN;
        journal->room--;

        position = strtoull(field_of(fields, n_fields, "ZPCI_POSITION="), NULL, 10);
        if (lost) {
                count = strtoull(lost, NULL, 10);
                (void) snprintf(
                        journal->sent + used, sizeof(journal->sent) - used, "gap %s ", lost);
        } else
                (void) snprintf(journal->sent + used,
                                sizeof(journal->sent) - used,
                                "%llu ",
                                (unsigned long long) position);

        assert_true(position < POSITIONS && count <= position);
        for (uint64_t i = position - count + 1; i <= position && !journal->loses; i++)
                journal->stored[i] = true;
        return 0;
}

bool __wrap_journal_is_taken(const Journal *journal) {
        return !journal->waiting;
}

int __wrap_journal_stored_read(JournalStored *stored, const uint8_t stream_id[RING_STREAM_SIZE]) {
        if (journald->read_error < 0)
                return journald->read_error;

        for (uint64_t i = 1; i < POSITIONS; i++)
                if (journald->stored[i])
                        journal_stored_add(stored, i, 1);
        return 0;
}

void __wrap_worker_submit(Worker *worker, WorkerJob *submitted) {
        assert_null(job);
        job = submitted;
}

void *__wrap_calloc(size_t n, size_t size) {
        return out_of_memory ? NULL : __real_calloc(n, size);
}

static void open_ring(Fixture *f, int image) {
        RingOrigin origin;

        assert_int_equal(ring_open(image, SLOTS, &f->ring, &origin), 0);
}

static void begin(Fixture *f) {
        JournalCheckContext context = {
                .event = f->event,
                .ring = f->ring,
                .journal = &f->journal,
                .log = f->log,
        };

        fake_timers_reset();
        assert_int_equal(journal_check_new(&context, &f->check), 0);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        f->journal.room = POSITIONS;
        journald = &f->journal;
        job = NULL;

        assert_int_equal(log_new(&f->log), 0);
        log_set_target(f->log, LOG_TARGET_NULL);
        assert_true(sd_event_new(&f->event) >= 0);
        open_ring(f, -EBADF);
        begin(f);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        journal_check_free(f->check);
        ring_free(f->ring);
        sd_event_unref(f->event);
        log_free(f->log);
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

/* n more errors that journald took, of which those from first to last (positions) are not stored. */
static void put(Fixture *f, unsigned n, uint64_t first, uint64_t last) {
        static const RecordIdentity identity = { .address = "0001:00:00.0", .fid = 0x10 };

        for (unsigned i = 0; i < n; i++) {
                Record *record = ring_reserve(f->ring, RECORD_ERROR, &identity);

                record->source = RECORD_KMSG;
                record->pec = 0x0002;
                ring_commit(f->ring, record);
                if (record->position < first || record->position > last)
                        f->journal.stored[record->position] = true;
        }
        ring_set_cursor(f->ring, RING_READER_JOURNAL, ring_head(f->ring));
        run(f);
}

static void assert_waits(uint64_t usec) {
        assert_true(fake_timer_is_started(&(FakeTimerStart){ .delay_usec = usec }));
        assert_null(job);
}

static void assert_rests(void) {
        assert_false(fake_timer_is_started(&(FakeTimerStart){ .delay_usec = CHECK }));
        assert_false(fake_timer_is_started(&(FakeTimerStart){ .delay_usec = RETRY }));
        assert_null(job);
}

static void expire(Fixture *f) {
        fake_timer_expire(0);
        run(f);
}

/* The time is up, and the journal is read. */
static void check_after(Fixture *f, uint64_t usec) {
        WorkerJob *now;

        assert_waits(usec);
        expire(f);
        assert_non_null(job);
        assert_int_equal(job->urgency, WORKER_PATIENT);
        now = job;
        job = NULL;
        now->work(now);
        now->done(now);
        run(f);
}

static void check(Fixture *f) {
        check_after(f, CHECK);
}

static void assert_sent(Fixture *f, const char *expected) {
        assert_string_equal(f->journal.sent, expected);
        f->journal.sent[0] = '\0';
}

static void assert_synced(Fixture *f, uint64_t position) {
        assert_int_equal(ring_cursor(f->ring, RING_READER_JOURNAL_SYNCED), position);
}

static void test_stored(void **state) {
        Fixture *f = *state;

        run(f);
        assert_rests();

        put(f, 5, 0, 0);
        assert_synced(f, 0);
        check(f);
        assert_synced(f, 5);
        assert_sent(f, "");
        assert_rests();
}

/* What is missing is sent again, in order; nothing else is. */
static void test_missing(void **state) {
        Fixture *f = *state;

        put(f, 10, 3, 4);
        f->journal.stored[9] = false;
        check(f);
        assert_sent(f, "3 4 9 ");
        assert_synced(f, 2);

        /* Only once it is read back, it is known to be there. */
        check(f);
        assert_sent(f, "");
        assert_synced(f, 10);
        assert_rests();
}

static void test_all_missing(void **state) {
        Fixture *f = *state;

        put(f, 3, 1, 3);
        check(f);
        assert_sent(f, "1 2 3 ");
        check(f);
        assert_synced(f, 3);
}

/* What lies in the socket is not missing. */
static void test_waiting(void **state) {
        Fixture *f = *state;

        f->journal.waiting = true;
        put(f, 3, 1, 3);
        expire(f);
        assert_waits(CHECK);

        f->journal.waiting = false;
        f->journal.stored[1] = f->journal.stored[2] = f->journal.stored[3] = true;
        check(f);
        assert_sent(f, "");
        assert_synced(f, 3);
}

/* What is sent while the journal is read belongs to the next time. */
static void test_sent_meanwhile(void **state) {
        Fixture *f = *state;
        WorkerJob *now;

        put(f, 3, 0, 0);
        expire(f);
        now = job;
        assert_non_null(now);
        put(f, 2, 4, 5);
        job = NULL;
        now->work(now);
        now->done(now);
        assert_synced(f, 3);
        assert_sent(f, "");

        check(f);
        assert_sent(f, "4 5 ");
}

/* journald is busy with what is sent again: that waits, and nothing comes twice. */
static void test_busy(void **state) {
        Fixture *f = *state;

        put(f, 6, 1, 6);
        f->journal.room = 2;
        check(f);
        assert_sent(f, "1 2 ");
        run(f);
        assert_sent(f, "");
        assert_rests();

        f->journal.room = POSITIONS;
        run(f);
        assert_sent(f, "3 4 5 6 ");
        check(f);
        assert_synced(f, 6);
}

/* It may be lost once more, or for as long as there is no room: then it is tried less and less often. */
static void test_tries(void **state) {
        static const uint64_t waits[] = { 1, 1, 1, 1, 10, 20, 40, 80, 160, 300, 300 };
        Fixture *f = *state;

        f->journal.loses = true;
        put(f, 4, 2, 2);
        for (size_t i = 0; i < ELEMENTSOF(waits); i++) {
                check_after(f, waits[i] * USEC_PER_SEC);
                assert_sent(f, "2 ");
                assert_synced(f, 1);
        }

        f->journal.loses = false;
        check_after(f, 300 * USEC_PER_SEC);
        assert_sent(f, "2 ");
        check_after(f, 300 * USEC_PER_SEC);
        assert_sent(f, "");
        assert_synced(f, 4);
        assert_rests();

        /* That is over: what is lost later is sent again at once. */
        put(f, 2, 6, 6);
        check(f);
        assert_sent(f, "6 ");
        check(f);
        assert_synced(f, 6);
}

/* Some are stored each time: that is no reason to give up. */
static void test_slow_progress(void **state) {
        char expected[8];
        Fixture *f = *state;

        put(f, 8, 1, 8);
        for (unsigned i = 1; i <= 8; i++) {
                check(f);
                (void) snprintf(expected, sizeof(expected), "%u ", i);
                assert_memory_equal(f->journal.sent, expected, strlen(expected));
                f->journal.sent[0] = '\0';
                for (unsigned dropped = i + 1; dropped <= 8; dropped++)
                        f->journal.stored[dropped] = false;
        }
        check(f);
        assert_sent(f, "");
        assert_synced(f, 8);
}

/* What is lost later is sent together with what was lost before. */
static void test_tries_together(void **state) {
        Fixture *f = *state;

        f->journal.loses = true;
        put(f, 4, 2, 2);
        for (unsigned i = 0; i < 4; i++)
                check(f);
        f->journal.sent[0] = '\0';

        put(f, 4, 8, 8);
        check_after(f, RETRY);
        assert_sent(f, "2 8 ");
        assert_synced(f, 1);
}

/* In the end it is overwritten, and that is announced. */
static void test_tries_until_overwritten(void **state) {
        Fixture *f = *state;

        f->journal.loses = true;
        put(f, 4, 2, 2);
        for (unsigned i = 0; i < 4; i++)
                check(f);
        f->journal.sent[0] = '\0';

        put(f, SLOTS, 0, 0);
        f->journal.loses = false;
        check_after(f, RETRY);
        assert_sent(f, "gap 1 ");
        check_after(f, 2 * RETRY);
        assert_synced(f, 4 + SLOTS);
        assert_rests();
}

/* What is overwritten by now is announced, as much of it as is not in the journal. */
static void test_overwritten(void **state) {
        Fixture *f = *state;

        put(f, 20, 3, 6);
        f->journal.stored[20] = false;
        put(f, SLOTS, 0, 0);
        f->journal.stored[22] = false;
        check(f);
        assert_sent(f, "gap 5 22 ");
        check(f);
        assert_synced(f, 20 + SLOTS);
        assert_rests();
}

/* It is overwritten while it waits to be sent again. */
static void test_overwritten_meanwhile(void **state) {
        Fixture *f = *state;

        put(f, 10, 1, 10);
        f->journal.room = 2;
        check(f);
        assert_sent(f, "1 2 ");

        put(f, SLOTS - 5, 0, 0);
        assert_sent(f, "");
        f->journal.room = POSITIONS;
        run(f);
        assert_sent(f, "gap 3 6 7 8 9 10 ");
        check(f);
        assert_synced(f, SLOTS + 5);
}

static void test_all_overwritten(void **state) {
        Fixture *f = *state;

        put(f, 10, 1, 10);
        f->journal.room = 0;
        check(f);
        put(f, 2 * SLOTS, 0, 0);
        f->journal.room = POSITIONS;
        run(f);
        assert_sent(f, "gap 10 ");
        check(f);
        assert_synced(f, 10 + 2 * SLOTS);
}

static void test_nothing_to_read(void **state) {
        Fixture *f = *state;

        f->journal.read_error = -ENODATA;
        put(f, 3, 1, 3);
        check(f);
        assert_sent(f, "");
        assert_synced(f, 3);
        assert_rests();

        f->journal.read_error = 0;
        put(f, 3, 4, 4);
        check(f);
        assert_sent(f, "4 ");
}

static void test_cannot_be_read(void **state) {
        Fixture *f = *state;

        f->journal.read_error = -EIO;
        put(f, 3, 2, 2);
        check(f);
        assert_sent(f, "");
        assert_synced(f, 0);
        assert_waits(RETRY);

        f->journal.read_error = 0;
        expire(f);
        assert_non_null(job);
        job->work(job);
        job->done(job);
        job = NULL;
        assert_sent(f, "2 ");
}

static void test_no_memory(void **state) {
        Fixture *f = *state;

        put(f, 3, 2, 2);
        out_of_memory = true;
        expire(f);
        out_of_memory = false;
        assert_waits(CHECK);
        check(f);
        assert_sent(f, "2 ");
}

/* What a run does not know to be stored, the next one looks at. */
static void test_next_run(void **state) {
        Fixture *f = *state;
        int image;

        put(f, 5, 0, 0);
        check(f);
        put(f, 5, 7, 8);

        image = fcntl(ring_fd(f->ring), F_DUPFD_CLOEXEC, 3);
        assert_true(image >= 0);
        f->check = journal_check_free(f->check);
        ring_free(f->ring);
        open_ring(f, image);
        begin(f);
        assert_synced(f, 5);
        check(f);
        assert_sent(f, "7 8 ");
}

static void test_set(void **state) {
        JournalStored stored;

        assert_int_equal(journal_stored_init(&stored, 10, 30), 0);
        journal_stored_add(&stored, 10, 1);
        journal_stored_add(&stored, 31, 1);
        journal_stored_add(&stored, UINT64_MAX, UINT64_MAX);
        journal_stored_add(&stored, 20, 0);
        for (uint64_t i = 11; i <= 30; i++)
                assert_false(journal_stored_has(&stored, i));

        journal_stored_add(&stored, 11, 1);
        journal_stored_add(&stored, 20, 3);
        journal_stored_add(&stored, 30, 1);
        for (uint64_t i = 11; i <= 30; i++)
                assert_int_equal(journal_stored_has(&stored, i),
                                 i == 11 || (i >= 18 && i <= 20) || i == 30);

        journal_stored_add(&stored, 30, UINT64_MAX);
        for (uint64_t i = 11; i <= 30; i++)
                assert_true(journal_stored_has(&stored, i));
        journal_stored_done(&stored);
        journal_stored_done(&stored);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_stored),          TEST(test_missing),
                TEST(test_all_missing),     TEST(test_waiting),
                TEST(test_sent_meanwhile),  TEST(test_busy),
                TEST(test_tries),           TEST(test_slow_progress),
                TEST(test_tries_together),  TEST(test_tries_until_overwritten),
                TEST(test_overwritten),     TEST(test_overwritten_meanwhile),
                TEST(test_all_overwritten), TEST(test_nothing_to_read),
                TEST(test_cannot_be_read),  TEST(test_no_memory),
                TEST(test_next_run),        cmocka_unit_test(test_set),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
