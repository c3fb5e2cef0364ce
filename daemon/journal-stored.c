/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>
#include <systemd/sd-journal.h>

#include "journal-stored.h"
#include "names.h"
#include "parse.h"

#define MATCH_SIZE 64U

static void journal_closep(sd_journal **journal) {
        sd_journal_close(*journal);
}

int journal_stored_init(JournalStored *stored, uint64_t after, uint64_t upto) {
        assert(stored);
        assert(after < upto && upto - after <= JOURNAL_STORED_MAX);

        *stored = (JournalStored){
                .after = after,
                .upto = upto,
                .bits = calloc((size_t) ((upto - after + 7) / 8), 1),
        };
        return stored->bits ? 0 : -ENOMEM;
}

void journal_stored_done(JournalStored *stored) {
        assert(stored);

        free(stored->bits);
        *stored = (JournalStored){ 0 };
}

void journal_stored_add(JournalStored *stored, uint64_t position, uint64_t count) {
        uint64_t first;

        assert(stored);

        if (position > stored->upto || position <= stored->after || count == 0)
                return;

        first = position - stored->after < count ? stored->after + 1 : position - count + 1;
        for (uint64_t i = first - stored->after - 1; i < position - stored->after; i++)
                stored->bits[i / 8] |= (uint8_t) (1U << (i % 8));
}

bool journal_stored_has(const JournalStored *stored, uint64_t position) {
        uint64_t i;

        assert(stored);
        assert(position > stored->after && position <= stored->upto);

        i = position - stored->after - 1;
        return stored->bits[i / 8] & (1U << (i % 8));
}

/* The decimal value of a field. Returns 0, -ENOENT if the entry does not have it, or -EINVAL. */
static int read_number(sd_journal *journal, const char *name, uint64_t *ret) {
        size_t size, skip = strlen(name) + 1;
        char text[24];
        const void *data;
        int r;

        r = sd_journal_get_data(journal, name, &data, &size);
        if (r < 0)
                return r;
        if (size < skip || size - skip >= sizeof(text))
                return -EINVAL;

        memcpy(text, (const char *) data + skip, size - skip);
        text[size - skip] = '\0';
        return parse_decimal(text, UINT64_MAX, ret);
}

static int add_match(sd_journal *journal, const char *name, const char *value) {
        char match[MATCH_SIZE];

        (void) snprintf(match, sizeof(match), "%s=%s", name, value);
        return sd_journal_add_match(journal, match, 0);
}

/* Entries of this boot, whoever wrote them: if there are none, the journal tells us nothing. */
static int match_boot(sd_journal *journal) {
        char text[SD_ID128_STRING_MAX];
        sd_id128_t boot;
        int r;

        r = sd_id128_get_boot(&boot);
        if (r < 0)
                return r;
        r = add_match(journal, "_BOOT_ID", sd_id128_to_string(boot, text));
        if (r < 0)
                return r;
        r = sd_journal_seek_tail(journal);
        if (r < 0)
                return r;

        r = sd_journal_previous(journal);
        return r == 0 ? -ENODATA : r;
}

/* Of those, what we wrote: others might say that something is there which is not. */
static int match_stream(sd_journal *journal, const uint8_t stream_id[RING_STREAM_SIZE]) {
        char uid[MATCH_SIZE / 2], text[2 * RING_STREAM_SIZE + 1];
        int r;

        (void) snprintf(uid, sizeof(uid), "%u", (unsigned) geteuid());
        r = add_match(journal, "_UID", uid);
        if (r < 0)
                return r;

        ccdf_format(stream_id, RING_STREAM_SIZE, text);
        r = add_match(journal, ERRORD_FIELD_STREAM_ID, text);
        if (r < 0)
                return r;
        return sd_journal_seek_tail(journal);
}

/*
 * How many entries the one at this position stands for. An announcement about a function says how
 * many errors were lost, not entries. In doubt it is one: the others are sent again.
 */
static uint64_t read_count(sd_journal *journal) {
        uint64_t count;
        const void *data;
        size_t size;

        if (sd_journal_get_data(journal, ERRORD_FIELD_ADDRESS, &data, &size) != -ENOENT ||
            read_number(journal, ERRORD_FIELD_LOST, &count) < 0)
                return 1;

        return count;
}

int journal_stored_read(JournalStored *stored, const uint8_t stream_id[RING_STREAM_SIZE]) {
        _cleanup_(journal_closep) sd_journal *journal = NULL;
        uint64_t position;
        int r;

        assert(stored);
        assert(stream_id);

        r = sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
        if (r < 0)
                return r;
        r = match_boot(journal);
        if (r < 0)
                return r;
        r = match_stream(journal, stream_id);
        if (r < 0)
                return r;

        /* They are in the order in which they were sent, but for those that were sent again. */
        while ((r = sd_journal_previous(journal)) > 0) {
                if (read_number(journal, ERRORD_FIELD_POSITION, &position) < 0)
                        continue;
                if (position <= stored->after)
                        return 0;
                journal_stored_add(stored, position, read_count(journal));
        }

        return r;
}
