/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "journal-pump.h"

#define SLOTS 32U /* of the ring */

/* The sender is a fake: it takes so many entries, and writes down which. */
struct Journal {
        unsigned room;      /* entries that are taken before it is busy */
        unsigned later;     /* as many again each time that it is waited for … */
        uint64_t until;     /* … until then */
        const char *poison; /* entries with this field can never be sent */
        bool broken;        /* no entry can be sent */
        unsigned n_calls;
        char taken
                [65536]; /* "42" a sequence number, "lost 3" a loss, "gap 5" an announcement, "recovered" */
};

static const char *field_of(const struct iovec *fields, size_t n_fields, const char *name) {
        for (size_t i = 0; i < n_fields; i++)
                if (strncmp(fields[i].iov_base, name, strlen(name)) == 0)
                        return (const char *) fields[i].iov_base + strlen(name);
        return NULL;
}

int journal_send(Journal *journal, const struct iovec *fields, size_t n_fields) {
        const char *sequence = field_of(fields, n_fields, "ZPCI_SEQUENCE=");
        const char *recovery = field_of(fields, n_fields, "ZPCI_RECOVERY=");
        const char *lost = field_of(fields, n_fields, "ZPCI_LOST=");
        size_t used = strlen(journal->taken);

        journal->n_calls++;
        if (journal->broken)
                return -EIO;
        for (size_t i = 0; journal->poison && i < n_fields; i++)
                if (strcmp(fields[i].iov_base, journal->poison) == 0)
                        return -EIO;
        if (journal->room == 0)
                return -EAGAIN;
        journal->room--;

        if (lost)
                (void) snprintf(journal->taken + used,
                                sizeof(journal->taken) - used,
                                "%s %s\n",
                                field_of(fields, n_fields, "ZPCI_ADDRESS=") ? "lost" : "gap",
                                lost);
        else
                (void) snprintf(journal->taken + used,
                                sizeof(journal->taken) - used,
                                "%s\n",
                                sequence ? sequence : recovery);
        return 0;
}

bool journal_wait(const Journal *journal, uint64_t until_usec) {
        Journal *j = (Journal *) journal; /* the fixture's, which is not const */

        if (until_usec != j->until)
                return false;
        j->room = j->later;
        return j->room > 0;
}

typedef struct Fixture {
        sd_event *event;
        Ring *ring;
        Journal journal;
        JournalPump *pump;
} Fixture;

static const RecordIdentity identity = { .address = "0001:00:00.0", .fid = 0x10 };

static void put(Ring *ring, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                Record *record = ring_reserve(ring, RECORD_ERROR, &identity);

                record->source = RECORD_KMSG;
                record->pec = 0x0002;
                ring_commit(ring, record);
        }
}

static void put_lost(Ring *ring, uint64_t lost) {
        Record *record = ring_reserve(ring, RECORD_LOST, &identity);

        record->lost = lost;
        ring_commit(ring, record);
}

static void put_recovery(Ring *ring) {
        Record *record = ring_reserve(ring, RECORD_RECOVERY, &identity);

        record->recovery = RECOVERY_RECOVERED;
        ring_commit(ring, record);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));
        RingOrigin origin;

        assert_non_null(f);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(ring_open(-EBADF, SLOTS, &f->ring, &origin), 0);
        assert_int_equal(journal_pump_new(f->event, f->ring, &f->journal, &f->pump), 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        journal_pump_free(f->pump);
        ring_free(f->ring);
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

static void assert_taken(Fixture *f, const char *expected) {
        assert_string_equal(f->journal.taken, expected);
        f->journal.taken[0] = '\0';
}

static void assert_cursor(Fixture *f, uint64_t position) {
        assert_int_equal(ring_cursor(f->ring, RING_READER_JOURNAL), position);
}

static void test_order(void **state) {
        Fixture *f = *state;

        f->journal.room = 100;
        put(f->ring, 2);
        put_lost(f->ring, 3);
        put_recovery(f->ring);
        put(f->ring, 1);
        run(f);
        assert_taken(f, "1\n2\nlost 3\nrecovered\n3\n");
        assert_cursor(f, 5);

        put(f->ring, 1);
        run(f);
        assert_taken(f, "4\n");
        run(f);
        assert_taken(f, "");
}

/* What a former run left goes out though nothing happens. */
static void test_left_over(void **state) {
        Fixture *f = *state;

        f->journal.room = 100;
        put(f->ring, 3);
        while (sd_event_run(f->event, 0) > 0)
                ;
        assert_taken(f, "1\n2\n3\n");
}

/* The cursor stands still while journald is busy, and the loop sleeps. */
static void test_busy(void **state) {
        Fixture *f = *state;

        f->journal.room = 2;
        put(f->ring, 5);
        run(f);
        assert_taken(f, "1\n2\n");
        assert_cursor(f, 2);
        assert_int_equal(f->journal.n_calls, 3);
        assert_int_equal(sd_event_run(f->event, 0), 0);

        run(f);
        assert_taken(f, "");
        assert_cursor(f, 2);

        f->journal.room = 100;
        run(f);
        assert_taken(f, "3\n4\n5\n");
        assert_cursor(f, 5);
}

typedef struct Drain {
        Fixture *fixture;
        uint64_t cursors[8]; /* of the journal, each time we had our turn */
        unsigned n;
} Drain;

static int on_drain(sd_event_source *source, void *userdata) {
        Drain *drain = userdata;

        drain->cursors[drain->n++] = ring_cursor(drain->fixture->ring, RING_READER_JOURNAL);
        if (drain->n < 8)
                assert_true(sd_event_source_set_enabled(source, SD_EVENT_ONESHOT) >= 0);
        return 0;
}

/* However much there is to write, who is more important waits for 64 entries at most. */
static void test_others_have_their_turn(void **state) {
        sd_event_source *source = NULL;
        Fixture *f = *state;
        uint64_t before = 0;
        RingOrigin origin;

        journal_pump_free(f->pump);
        ring_free(f->ring);
        assert_int_equal(ring_open(-EBADF, 1024, &f->ring, &origin), 0);
        assert_int_equal(journal_pump_new(f->event, f->ring, &f->journal, &f->pump), 0);

        f->journal.room = 1000;
        put(f->ring, 300);
        while (sd_event_run(f->event, 0) > 0) {
                uint64_t now = ring_cursor(f->ring, RING_READER_JOURNAL);

                assert_true(now - before <= 64);
                before = now;
        }
        assert_cursor(f, 300);

        /* A source that is always ready and goes first is not kept waiting by the pump at all. */
        put(f->ring, 300);
        Drain drain = { .fixture = f };
        assert_true(sd_event_add_defer(f->event, &source, on_drain, &drain) >= 0);
        assert_true(sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT) >= 0);
        while (sd_event_run(f->event, 0) > 0)
                ;
        assert_int_equal(drain.n, 8);
        for (unsigned i = 0; i < drain.n; i++)
                assert_int_equal(drain.cursors[i], 300);
        assert_cursor(f, 600);
        sd_event_source_unref(source);
}

/* journald stood still until the ring went round: the gap is announced first, and not before it can be. */
static void test_overwritten(void **state) {
        char expected[1024] = "";
        Fixture *f = *state;
        size_t used;

        f->journal.room = 1;
        put(f->ring, 2);
        run(f);
        assert_taken(f, "1\n");

        put(f->ring, 100);
        run(f);
        assert_taken(f, "");
        assert_cursor(f, 1);

        put(f->ring, 1);
        run(f);
        assert_cursor(f, 1);

        /* The announcement fits, nothing else does: what is told is not told again. */
        f->journal.room = 1;
        run(f);
        assert_taken(f, "gap 70\n");
        assert_cursor(f, 71);

        f->journal.room = 100;
        run(f);
        used = 0;
        for (unsigned i = 72; i <= 103; i++)
                used += (size_t) snprintf(expected + used, sizeof(expected) - used, "%u\n", i);
        assert_taken(f, expected);
        assert_cursor(f, 103);
}

/* An entry that can never be sent does not hold up the others, and is not passed over in silence. */
static void test_never(void **state) {
        Fixture *f = *state;

        f->journal.room = 100;
        f->journal.poison = "ZPCI_SEQUENCE=2";
        put(f->ring, 3);
        run(f);
        assert_taken(f, "1\ngap 1\n3\n");
        assert_cursor(f, 3);

        /* Also if it is the last one. */
        f->journal.poison = "ZPCI_SEQUENCE=4";
        put(f->ring, 1);
        run(f);
        assert_taken(f, "gap 1\n");
        assert_cursor(f, 4);
}

/* Not even that announcement gets lost when journald is busy. */
static void test_never_while_busy(void **state) {
        Fixture *f = *state;

        f->journal.room = 1;
        f->journal.poison = "ZPCI_SEQUENCE=2";
        put(f->ring, 3);
        run(f);
        assert_taken(f, "1\n");
        run(f);
        assert_taken(f, "");
        assert_int_equal(journal_pump_finish(f->pump, 0), 2);

        f->journal.room = 100;
        run(f);
        assert_taken(f, "gap 1\n3\n");
        assert_int_equal(journal_pump_finish(f->pump, 0), 0);
}

/* Neither is it if it cannot be sent itself, and what was overwritten meanwhile is in the same count. */
static void test_broken(void **state) {
        Fixture *f = *state;

        f->journal.broken = true;
        put(f->ring, 100);
        run(f);
        assert_taken(f, "");
        assert_cursor(f, 100);
        assert_int_equal(journal_pump_finish(f->pump, 0), 100);

        f->journal.broken = false;
        f->journal.room = 100;
        put(f->ring, 1);
        run(f);
        assert_taken(f, "gap 100\n101\n");
}

static void test_finish(void **state) {
        Fixture *f = *state;
        RingOrigin origin;

        journal_pump_free(f->pump);
        ring_free(f->ring);
        assert_int_equal(ring_open(-EBADF, 1024, &f->ring, &origin), 0);
        assert_int_equal(journal_pump_new(f->event, f->ring, &f->journal, &f->pump), 0);

        put(f->ring, 200);
        f->journal.room = 150;
        assert_int_equal(journal_pump_finish(f->pump, 0), 50);
        assert_cursor(f, 150);
        f->journal.room = 100;
        assert_int_equal(journal_pump_finish(f->pump, 0), 0);
        assert_cursor(f, 200);

        /* One that is busy is waited for. */
        put(f->ring, 100);
        f->journal.room = 0;
        f->journal.later = 7;
        f->journal.until = 12345;
        assert_int_equal(journal_pump_finish(f->pump, 12345), 0);
        assert_cursor(f, 300);
}

/* The next run of the daemon goes on where journald took the last entry. */
static void test_next_run(void **state) {
        Fixture *f = *state;
        RingOrigin origin;
        int image;

        f->journal.room = 2;
        put(f->ring, 3);
        run(f);
        assert_taken(f, "1\n2\n");

        image = fcntl(ring_fd(f->ring), F_DUPFD_CLOEXEC, 3);
        assert_true(image >= 0);
        f->pump = journal_pump_free(f->pump);
        ring_free(f->ring);
        assert_int_equal(ring_open(image, SLOTS, &f->ring, &origin), 0);
        assert_int_equal(origin, RING_CONTINUED);
        assert_int_equal(journal_pump_new(f->event, f->ring, &f->journal, &f->pump), 0);

        f->journal.room = 100;
        run(f);
        assert_taken(f, "3\n");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_order),
                TEST(test_left_over),
                TEST(test_busy),
                TEST(test_others_have_their_turn),
                TEST(test_overwritten),
                TEST(test_never),
                TEST(test_never_while_busy),
                TEST(test_broken),
                TEST(test_finish),
                TEST(test_next_run),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
