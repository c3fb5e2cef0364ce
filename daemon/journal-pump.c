/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>

#include "journal-entry.h"
#include "journal-pump.h"

/* After a request for a device, before anything is drained. */
#define PRIORITY_URGENT (SD_EVENT_PRIORITY_IMPORTANT - 5)

#define BATCH 64U /* entries in one go, before drains and everybody else have their turn */

struct JournalPump {
        Ring *ring;
        Journal *journal;
        sd_event_source *post;
        sd_event_source *urgent;
        sd_event_source *more;
        uint64_t untold; /* entries that were skipped and are not announced yet */
        JournalEntry entry;
};

/*
 * Says how many entries are missing up to this position, if any are. Until journald took that, the
 * cursor stays where it is, so that not even a crash makes a silent gap.
 */
static int journal_pump_announce(JournalPump *pump, uint64_t missed, uint64_t position) {
        uint64_t count = pump->untold + missed;
        int r;

        if (count == 0)
                return 0;

        journal_entry_of_gap(&pump->entry, count, position, ring_stream_id(pump->ring));
        r = journal_send(pump->journal, pump->entry.fields, pump->entry.n_fields);
        if (r == -EAGAIN)
                return r;

        pump->untold = r < 0 ? count : 0;
        return 0;
}

/*
 * Writes the entry after the cursor. Returns 1, 0 if there was none, -EAGAIN if journald does not
 * take it now.
 */
static int journal_pump_step(JournalPump *pump) {
        uint64_t cursor = ring_cursor(pump->ring, RING_READER_JOURNAL), before, missed = 0;
        const Record *record;
        int r;

        record = ring_next(pump->ring, &cursor, &missed);
        before = record ? cursor - 1 : cursor;

        r = journal_pump_announce(pump, missed, before);
        if (r < 0)
                return r;
        if (missed > 0)
                ring_set_cursor(pump->ring, RING_READER_JOURNAL, before);
        if (!record)
                return 0;

        r = journal_entry_of_record(&pump->entry, record, ring_stream_id(pump->ring));
        if (r >= 0)
                r = journal_send(pump->journal, pump->entry.fields, pump->entry.n_fields);
        if (r == -EAGAIN)
                return r;
        if (r < 0)
                pump->untold++; /* will never go: the others shall not wait for it */

        ring_set_cursor(pump->ring, RING_READER_JOURNAL, cursor);
        return 1;
}

static int journal_pump_run(sd_event_source *source, void *userdata) {
        JournalPump *pump = userdata;
        int r = 1;

        for (unsigned i = 0; i < BATCH && r > 0; i++)
                r = journal_pump_step(pump);

        if (r > 0)
                (void) sd_event_source_set_enabled(pump->more, SD_EVENT_ONESHOT);

        return 0;
}

/* In a storm of errors, what drains would never let us have our turn. */
static int journal_pump_urgent(sd_event_source *source, void *userdata) {
        JournalPump *pump = userdata;

        return ring_is_behind(pump->ring, RING_READER_JOURNAL) ? journal_pump_run(source, pump) : 0;
}

/* Post sources run after this one, as after any other: all it has to do is to be there. */
static int journal_pump_more(sd_event_source *source, void *userdata) {
        return 0;
}

int journal_pump_new(sd_event *event, Ring *ring, Journal *journal, JournalPump **ret) {
        _cleanup_(journal_pump_freep) JournalPump *pump = NULL;
        int r;

        assert(event);
        assert(ring);
        assert(journal);
        assert(ret);

        pump = calloc(1, sizeof(*pump));
        if (!pump)
                return -ENOMEM;

        pump->ring = ring;
        pump->journal = journal;

        r = sd_event_add_post(event, &pump->post, journal_pump_run, pump);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(pump->post, "journal-pump");

        r = sd_event_add_post(event, &pump->urgent, journal_pump_urgent, pump);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(pump->urgent, PRIORITY_URGENT);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(pump->urgent, "journal-pump-urgent");

        /* Enabled once from the start: a former run may have left entries. */
        r = sd_event_add_defer(event, &pump->more, journal_pump_more, pump);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(pump->more, "journal-pump-more");

        *ret = TAKE_PTR(pump);
        return 0;
}

JournalPump *journal_pump_free(JournalPump *pump) {
        if (!pump)
                return NULL;

        sd_event_source_disable_unref(pump->post);
        sd_event_source_disable_unref(pump->urgent);
        sd_event_source_disable_unref(pump->more);
        free(pump);
        return NULL;
}

uint64_t journal_pump_finish(JournalPump *pump, uint64_t until_usec) {
        int r;

        assert(pump);

        do
                r = journal_pump_step(pump);
        while (r > 0 || (r == -EAGAIN && journal_wait(pump->journal, until_usec)));

        return ring_head(pump->ring) - ring_cursor(pump->ring, RING_READER_JOURNAL) + pump->untold;
}
