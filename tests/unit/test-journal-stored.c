/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which entries a journal has, over a fake of sd-journal whose calls can fail. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>
#include <systemd/sd-journal.h>

#include <cmocka.h>

#include "faults.h"
#include "journal-stored.h"
#include "ring.h"

static const uint8_t stream_id[RING_STREAM_SIZE] = { 0xab, 0xcd };

typedef struct Entry {
        const char *position, *lost, *address; /* NULL if it has it not */
} Entry;

/* A journal: entries of this boot, all of which are ours, the oldest first. */
struct sd_journal {
        const Entry *entries;
        size_t n;
        size_t at;         /* behind the current one */
        bool of_stream;    /* the matches ask for the stream, and … */
        bool of_us;        /* … for our own entries */
        char data[64];     /* what was handed out last */
        unsigned n_opened; /* and not closed */
};

static sd_journal fake;

/* The linker's names, see --wrap in ld(1). */
int __wrap_sd_journal_open(sd_journal **ret, int flags);
void __wrap_sd_journal_close(sd_journal *journal);
int __wrap_sd_journal_add_match(sd_journal *journal, const void *data, size_t size);
int __wrap_sd_journal_seek_tail(sd_journal *journal);
int __wrap_sd_journal_previous(sd_journal *journal);
int __wrap_sd_journal_get_data(sd_journal *journal,
                               const char *field,
                               const void **ret,
                               size_t *ret_size);
int __real_sd_id128_get_boot(sd_id128_t *ret);
int __wrap_sd_id128_get_boot(sd_id128_t *ret);

int __wrap_sd_journal_open(sd_journal **ret, int flags) {
        int r = fault("sd_journal_open");

        if (r < 0)
                return r;
        assert_int_equal(flags, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
        fake.n_opened++;
        fake.of_stream = fake.of_us = false;
        *ret = &fake;
        return 0;
}

void __wrap_sd_journal_close(sd_journal *journal) {
        if (journal)
                fake.n_opened--;
}

int __wrap_sd_journal_add_match(sd_journal *journal, const void *data, size_t size) {
        char uid[32];

        (void) snprintf(uid, sizeof(uid), "_UID=%u", (unsigned) geteuid());
        assert_int_equal(size, 0); /* a string */
        if (strncmp(data, "_BOOT_ID=", 9) == 0)
                assert_int_equal(strlen(data), 9 + 32);
        else if (strcmp(data, uid) == 0)
                journal->of_us = true;
        else {
                assert_string_equal(data, "ZPCI_STREAM_ID=abcd0000000000000000000000000000");
                journal->of_stream = true;
        }
        return fault("sd_journal_add_match");
}

int __wrap_sd_journal_seek_tail(sd_journal *journal) {
        journal->at = journal->n;
        return fault("sd_journal_seek_tail");
}

int __wrap_sd_journal_previous(sd_journal *journal) {
        int r = fault("sd_journal_previous");

        if (r < 0)
                return r;
        if (journal->at == 0)
                return 0;
        journal->at--;
        return 1;
}

int __wrap_sd_journal_get_data(sd_journal *journal,
                               const char *field,
                               const void **ret,
                               size_t *ret_size) {
        const Entry *entry = &journal->entries[journal->at];
        const char *value = strcmp(field, "ZPCI_POSITION") == 0 ? entry->position
                            : strcmp(field, "ZPCI_LOST") == 0   ? entry->lost
                                                                : entry->address;
        int r = fault("sd_journal_get_data");

        assert_true(journal->of_us && journal->of_stream);
        if (r < 0)
                return r;
        if (!value)
                return -ENOENT;
        (void) snprintf(journal->data, sizeof(journal->data), "%s=%s", field, value);
        *ret = journal->data;
        *ret_size = strlen(journal->data); /* no string */
        journal->data[*ret_size] = 'x';
        return 0;
}

int __wrap_sd_id128_get_boot(sd_id128_t *ret) {
        int r = fault("sd_id128_get_boot");

        return r < 0 ? r : __real_sd_id128_get_boot(ret);
}

/* Reads back 11 … 20. Returns the result, and what is there as ten digits. */
static int read_back(const Entry *entries, size_t n, char there[static 11]) {
        JournalStored stored;
        int r;

        fake.entries = entries;
        fake.n = n;
        assert_int_equal(journal_stored_init(&stored, 10, 20), 0);
        r = journal_stored_read(&stored, stream_id);
        for (uint64_t i = 0; i < 10; i++)
                there[i] = journal_stored_has(&stored, 11 + i) ? '1' : '0';
        there[10] = '\0';
        journal_stored_done(&stored);
        assert_int_equal(fake.n_opened, 0);
        return r;
}

#define ERROR(n)                                                                                   \
        { .position = #n, .address = "0001:00:00.0" }
#define LOSS(n, count)                                                                             \
        { .position = #n, .lost = count, .address = "0001:00:00.0" }
#define GAP(n, count)                                                                              \
        { .position = #n, .lost = count }

static const Entry some[] = {
        ERROR(9), ERROR(10), ERROR(11), GAP(14, "2"), LOSS(19, "5"), ERROR(20), ERROR(21),
};

static void test_read(void **state) {
        char there[11];

        assert_int_equal(read_back(some, ELEMENTSOF(some), there), 0);
        assert_string_equal(there, "1011000011");
}

/* Of another version, or not from us. */
static void test_strange_entries(void **state) {
        static const Entry entries[] = {
                ERROR(12),
                { .lost = "3" },
                { .position = "" },
                { .position = "-1" },
                { .position = "99999999999999999999999999" },
                GAP(14, ""),
                GAP(16, "more"),
                GAP(17, "99999999999999999999999999999999999999999"),
                GAP(18, "0"),
        };
        char there[11];

        assert_int_equal(read_back(entries, ELEMENTSOF(entries), there), 0);
        assert_string_equal(there, "0101011000");
}

static void test_empty(void **state) {
        char there[11];

        assert_int_equal(read_back(NULL, 0, there), -ENODATA);
        assert_string_equal(there, "0000000000");
}

/* Whatever fails: nothing is taken for stored that is not. */
static void test_faults(void **state) {
        static const int errors[] = { -ENOMEM, -EIO, -EBADMSG };
        unsigned n_runs = 0;

        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                for (unsigned n = 1, failed = 1; failed > 0; n++, n_runs++) {
                        char there[11];
                        int r;

                        faults_begin("sd_", n, 1, errors[i]);
                        r = read_back(some, ELEMENTSOF(some), there);
                        failed = faults_end();
                        for (size_t k = 0; k < 10; k++)
                                assert_true(there[k] <= "1011000011"[k]);
                        if (strcmp(faults_last(), "sd_journal_get_data") != 0 && failed > 0)
                                assert_int_equal(r, errors[i]);
                        else
                                assert_int_equal(r, 0);
                }
        assert_true(n_runs > 60);
}

static void test_no_memory(void **state) {
        JournalStored stored;

        faults_begin("calloc", 1, 1, -ENOMEM);
        assert_int_equal(journal_stored_init(&stored, 10, 20), -ENOMEM);
        assert_int_equal(faults_end(), 1);
        journal_stored_done(&stored);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read),      cmocka_unit_test(test_strange_entries),
                cmocka_unit_test(test_empty),     cmocka_unit_test(test_faults),
                cmocka_unit_test(test_no_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
