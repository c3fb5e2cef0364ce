/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>

#include "journal-check.h"
#include "journal-entry.h"
#include "journal-stored.h"

/* After entries were sent; and after the journal could not be read. */
#define CHECK_USEC (1 * USEC_PER_SEC)
#define RETRY_USEC (10 * USEC_PER_SEC)

/* How often an entry is sent again at that pace. Then it is time to say so, and to wait longer each
 * time: there may be room for it in hours. */
#define TRIES_MAX    3U
#define PATIENCE_MAX (300 * USEC_PER_SEC)

typedef enum CheckPhase {
        CHECK_IDLE,
        CHECK_WAITING, /* for the timer */
        CHECK_READING, /* in a thread, which stored belongs to */
        CHECK_RESENDING,
} CheckPhase;

struct JournalCheck {
        JournalCheckContext context;
        sd_event_source *post;
        sd_event_source *timer;

        CheckPhase phase;
        WorkerJob job;
        int result; /* of the job */
        JournalStored stored;

        uint64_t again; /* up to here all is stored or sent again */
        uint64_t gone;  /* entries up to there that are in neither journal nor ring; not yet said */
        uint64_t limit; /* that something up to here is missing was said */
        uint64_t first; /* the first that is missing … */
        unsigned tries; /* … was sent again so often */
        bool blind;     /* it was said that the journal cannot be read */
        JournalEntry entry;
};

static uint64_t check_cursor(const JournalCheck *check, RingReader reader) {
        return ring_cursor(check->context.ring, reader);
}

static void check_settle(JournalCheck *check, uint64_t position) {
        ring_set_cursor(check->context.ring, RING_READER_JOURNAL_SYNCED, position);
}

static void check_wait(JournalCheck *check, uint64_t usec) {
        check->phase = CHECK_WAITING;
        (void) sd_event_source_set_time_relative(check->timer, usec);
        (void) sd_event_source_set_enabled(check->timer, SD_EVENT_ONESHOT);
}

/* Until the journal is looked at again. */
static uint64_t check_pace(const JournalCheck *check) {
        uint64_t usec = RETRY_USEC;

        if (check->tries <= TRIES_MAX)
                return CHECK_USEC;
        for (unsigned i = TRIES_MAX + 1; i < check->tries && usec < PATIENCE_MAX; i++)
                usec *= 2;
        return usec < PATIENCE_MAX ? usec : PATIENCE_MAX;
}

static void check_wait_if_due(JournalCheck *check) {
        check->phase = CHECK_IDLE;
        if (check_cursor(check, RING_READER_JOURNAL_SYNCED) <
            check_cursor(check, RING_READER_JOURNAL))
                check_wait(check, check_pace(check));
}

/* Returns -EAGAIN if journald does not take it now. What can never be sent was said when it was new. */
static int check_send(JournalCheck *check) {
        int r;

        r = journal_send(check->context.journal, check->entry.fields, check->entry.n_fields);
        return r == -EAGAIN ? r : 0;
}

/* Says what cannot be sent again any more. All before is stored or said then. */
static int check_announce(JournalCheck *check) {
        if (check->gone == 0)
                return 0;

        journal_entry_of_gap(
                &check->entry, check->gone, check->again, ring_stream_id(check->context.ring));
        if (check_send(check) < 0)
                return -EAGAIN;

        check->gone = 0;
        check_settle(check, check->again);
        return 0;
}

/* Sends the next missing entry again. Returns 1, 0 if there was none, -EAGAIN if it has to wait. */
static int check_resend_one(JournalCheck *check) {
        const Ring *ring = check->context.ring;
        uint64_t cursor, missed, upto = check->stored.upto;
        const Record *record;

        while (check->again < upto && journal_stored_has(&check->stored, check->again + 1))
                check->again++;

        cursor = check->again;
        record = ring_next(ring, &cursor, &missed);
        for (; missed > 0 && check->again < upto; missed--)
                if (!journal_stored_has(&check->stored, ++check->again))
                        check->gone++;

        if (check_announce(check) < 0)
                return -EAGAIN;
        if (check->again >= upto)
                return 0;
        if (journal_stored_has(&check->stored, check->again + 1))
                return 1;

        if (journal_entry_of_record(&check->entry, record, ring_stream_id(ring)) >= 0 &&
            check_send(check) < 0)
                return -EAGAIN;
        check->again++;
        return 1;
}

static void check_resend(JournalCheck *check) {
        int r;

        while ((r = check_resend_one(check)) > 0)
                ;
        if (r < 0)
                return; /* the journal wakes us up */

        journal_stored_done(&check->stored);
        check_wait_if_due(check);
}

static void check_judge(JournalCheck *check) {
        const JournalStored *stored = &check->stored;
        uint64_t first = 0, n = 0;

        for (uint64_t position = stored->upto; position > stored->after; position--)
                if (!journal_stored_has(stored, position)) {
                        first = position;
                        n++;
                }

        if (n == 0) {
                check->tries = 0;
                check_settle(check, stored->upto);
                return;
        }

        if (first > check->limit) {
                check->limit = stored->upto;
                (void) log_warning(
                        check->context.log,
                        0,
                        "%" PRIu64
                        " entries that journald had taken are not in the journal, as after "
                        "a crash of journald; sending them again",
                        n);
        }

        if (first != check->first) {
                check->first = first;
                check->tries = 0;
        }
        if (check->tries < UINT_MAX)
                check->tries++;
        if (check->tries == TRIES_MAX + 1)
                (void) log_warning(
                        check->context.log,
                        0,
                        "journald does not store all that it takes, though it was sent again; is "
                        "there room, and is MaxLevelStore= of journald.conf at its default?");

        check_settle(check, first - 1);
        check->again = first - 1;
        check->phase = CHECK_RESENDING;
}

static void check_failed(JournalCheck *check) {
        if (!check->blind)
                (void) log_warning(
                        check->context.log,
                        check->result == -ENODATA ? 0 : check->result,
                        "The journal cannot be read back%s: what journald loses after it was sent is "
                        "not noticed",
                        check->result == -ENODATA ? ", it is empty or closed to this user" : "");
        check->blind = true;

        /* Nobody can tell, now or later; other errors may pass. */
        if (check->result == -ENODATA)
                check_settle(check, check->stored.upto);
        else
                check_wait(check, RETRY_USEC);
}

static void on_read(WorkerJob *job) {
        JournalCheck *check = (JournalCheck *) ((char *) job - offsetof(JournalCheck, job));

        check->phase = CHECK_IDLE;
        if (check->result < 0)
                check_failed(check);
        else {
                check->blind = false;
                check_judge(check);
        }

        if (check->phase == CHECK_RESENDING)
                check_resend(check);
        else
                journal_stored_done(&check->stored);
        if (check->phase == CHECK_IDLE)
                check_wait_if_due(check);
}

static void read_back(WorkerJob *job) {
        JournalCheck *check = (JournalCheck *) ((char *) job - offsetof(JournalCheck, job));

        check->result = journal_stored_read(&check->stored, ring_stream_id(check->context.ring));
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        JournalCheck *check = userdata;
        uint64_t after, upto;

        assert(check);

        after = check_cursor(check, RING_READER_JOURNAL_SYNCED);
        upto = check_cursor(check, RING_READER_JOURNAL);
        if (upto - after > JOURNAL_STORED_MAX)
                after = upto - JOURNAL_STORED_MAX;

        /* What still waits in the socket is not lost. */
        if (!journal_is_taken(check->context.journal) ||
            journal_stored_init(&check->stored, after, upto) < 0) {
                check_wait(check, CHECK_USEC);
                return 0;
        }

        check->phase = CHECK_READING;
        worker_submit(check->context.worker, &check->job);
        return 0;
}

static int on_post(sd_event_source *source, void *userdata) {
        JournalCheck *check = userdata;

        assert(check);

        if (check->phase == CHECK_RESENDING)
                check_resend(check);
        else if (check->phase == CHECK_IDLE)
                check_wait_if_due(check);
        return 0;
}

int journal_check_new(const JournalCheckContext *context, JournalCheck **ret) {
        _cleanup_(journal_check_freep) JournalCheck *check = NULL;
        int r;

        assert(context);
        assert(ret);

        check = malloc(sizeof(*check));
        if (!check)
                return -ENOMEM;
        *check = (JournalCheck){
                .context = *context,
                .job = { .work = read_back, .done = on_read, .urgency = WORKER_PATIENT },
        };

        r = sd_event_add_time_relative(
                context->event, &check->timer, CLOCK_MONOTONIC, 0, 0, on_timer, check);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(check->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(check->timer, "journal-check-timer");

        r = sd_event_add_post(context->event, &check->post, on_post, check);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(check->post, "journal-check");

        /* A former run may have sent what is not stored. */
        check_wait_if_due(check);

        *ret = TAKE_PTR(check);
        return 0;
}

JournalCheck *journal_check_free(JournalCheck *check) {
        if (!check)
                return NULL;

        sd_event_source_disable_unref(check->post);
        sd_event_source_disable_unref(check->timer);
        journal_stored_done(&check->stored);
        free(check);
        return NULL;
}
