/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "journal-entry.h"

static const uint8_t stream_id[RING_STREAM_SIZE] = {
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
        0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
};

/* Taken from a real Linux 7.3: DMA of a virtio function outside of its aperture. */
static const uint8_t real_record[CCDF_ERROR_SIZE] = {
        0x00, 0x00, 0x00, 0x00, 0x80, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x12, 0x34,
        0x60, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02,
};

static Record make(RecordKind kind) {
        return (Record){
                .position = 1042,
                .kind = kind,
                .identity = {
                        .address = "0001:00:00.0",
                        .fid = 0x10,
                        .uid = 0x1,
                        .fh = 0x80020000,
                        .pchid = 0x0104,
                },
        };
}

static Record make_ccdf(RecordSource source, uint16_t pec) {
        Record record = make(RECORD_ERROR);

        record.sequence = 42;
        record.source = source;
        record.interface = RECORD_CCDF;
        record.raw_size = sizeof(real_record);
        memcpy(record.raw, real_record, sizeof(real_record));
        record.raw[30] = (uint8_t) (pec >> 8);
        record.raw[31] = (uint8_t) pec;
        return record;
}

/* The entry's fields, a line each. */
static void flatten(const JournalEntry *entry, char *text, size_t size) {
        size_t used = 0;

        for (size_t i = 0; i < entry->n_fields; i++) {
                assert_true(used + entry->fields[i].iov_len + 2 <= size);
                memcpy(text + used, entry->fields[i].iov_base, entry->fields[i].iov_len);
                used += entry->fields[i].iov_len;
                text[used++] = '\n';
        }
        text[used] = '\0';
}

static void assert_entry(const Record *record, const char *expected) {
        char text[JOURNAL_ENTRY_SIZE + 1];
        JournalEntry entry;

        assert_int_equal(journal_entry_of_record(&entry, record, stream_id), 0);
        flatten(&entry, text, sizeof(text));
        assert_string_equal(text, expected);
}

static void assert_field(const Record *record, const char *expected) {
        char text[JOURNAL_ENTRY_SIZE + 2] = "\n", line[512];
        JournalEntry entry;

        assert_int_equal(journal_entry_of_record(&entry, record, stream_id), 0);
        flatten(&entry, text + 1, sizeof(text) - 1);
        (void) snprintf(line, sizeof(line), "\n%s\n", expected);
        if (!strstr(text, line))
                fail_msg("there is no %s in:%s", expected, text);
}

static void assert_no_field(const Record *record, const char *name) {
        JournalEntry entry;

        assert_int_equal(journal_entry_of_record(&entry, record, stream_id), 0);
        for (size_t i = 0; i < entry.n_fields; i++)
                assert_int_not_equal(strncmp(entry.fields[i].iov_base, name, strlen(name)), 0);
}

#define DOCUMENTATION                                                                              \
        "SYSLOG_IDENTIFIER=zpci-errord\n"                                                          \
        "DOCUMENTATION=man:zpci-errord(8)\n"                                                       \
        "ZPCI_STREAM_ID=00112233445566778899aabbccddeeff\n"                                        \
        "ZPCI_POSITION=1042\n"
#define FUNCTION                                                                                   \
        "DEVICE=+pci:0001:00:00.0\n"                                                               \
        "ZPCI_ADDRESS=0001:00:00.0\n"                                                              \
        "ZPCI_FID=0x00000010\n"                                                                    \
        "ZPCI_UID=0x1\n"                                                                           \
        "ZPCI_PCHID=0x0104\n"                                                                      \
        "ZPCI_FH=0x80020000\n"

static void test_vfio_ccdf(void **state) {
        Record record = make_ccdf(RECORD_VFIO, 0x0002);

        assert_entry(
                &record,
                "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): OORANGE (PEC 0x0002): DMA "
                "address outside the registered range, at 0x12346002\n"
                "MESSAGE_ID=4518901db7e24c839a23d2f97d6f0741\n"
                "PRIORITY=3\n" DOCUMENTATION FUNCTION "ZPCI_SEQUENCE=42\n"
                "ZPCI_SOURCE=vfio\n"
                "ZPCI_PEC=0x0002\n"
                "ZPCI_PEC_NAME=OORANGE\n"
                "ZPCI_SEVERITY=recoverable\n"
                "ZPCI_FAILING_ADDRESS=0x12346002\n"
                "ZPCI_DMAAS=0x00\n"
                "ZPCI_MVN=0\n"
                "ZPCI_RECORD=0000000080020000000000100000000000000000123460020000000000000002\n");
}

/* The witness, with every field of the record in use, the failing address of 64 bits too. */
static void test_witness_ccdf(void **state) {
        static const uint8_t raw[CCDF_ERROR_SIZE] = {
                0x00, 0x00, 0x00, 0x00, 0x80, 0x02, 0x00, 0x01, 0x00, 0x00, 0x00,
                0x10, 0x5a, 0xbc, 0xde, 0x03, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54,
                0x32, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3b,
        };
        Record record = make_ccdf(RECORD_WITNESS, 0);

        memcpy(record.raw, raw, sizeof(raw));
        record.dropped = 1;
        record.sequence = UINT64_MAX;
        assert_entry(
                &record,
                "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): PERMERR (PEC 0x003b): "
                "permanent error, at 0xfedcba9876543210\n"
                "MESSAGE_ID=4518901db7e24c839a23d2f97d6f0741\n"
                "PRIORITY=2\n" DOCUMENTATION "DEVICE=+pci:0001:00:00.0\n"
                "ZPCI_ADDRESS=0001:00:00.0\n"
                "ZPCI_FID=0x00000010\n"
                "ZPCI_UID=0x1\n"
                "ZPCI_PCHID=0x0104\n"
                "ZPCI_FH=0x80020001\n"
                "ZPCI_SEQUENCE=18446744073709551615\n"
                "ZPCI_SOURCE=witness\n"
                "ZPCI_PEC=0x003b\n"
                "ZPCI_PEC_NAME=PERMERR\n"
                "ZPCI_SEVERITY=permanent\n"
                "ZPCI_FAILING_ADDRESS=0xfedcba9876543210\n"
                "ZPCI_DMAAS=0xde\n"
                "ZPCI_MVN=2748\n"
                "ZPCI_RECORD=0000000080020001000000105abcde03fedcba9876543210000000000000003b\n");
}

/* The code is in the byte order of the machine there, and nothing but the code is told. */
static void test_vfio_packed(void **state) {
        Record record = make(RECORD_ERROR);
        const uint16_t pec = 0x3a3a, serr = 0x000b;

        record.sequence = 1;
        record.source = RECORD_VFIO;
        record.interface = RECORD_PACKED;
        record.raw_size = 4;
        record.raw[0] = 1;
        record.raw[1] = 3;
        memcpy(record.raw + 2, &pec, sizeof(pec));
        assert_entry(&record,
                     "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): UNKNOWN (PEC 0x3a3a)\n"
                     "MESSAGE_ID=4518901db7e24c839a23d2f97d6f0741\n"
                     "PRIORITY=3\n" DOCUMENTATION FUNCTION "ZPCI_SEQUENCE=1\n"
                     "ZPCI_SOURCE=vfio\n"
                     "ZPCI_PEC=0x3a3a\n"
                     "ZPCI_PEC_NAME=UNKNOWN\n"
                     "ZPCI_SEVERITY=recoverable\n"
                     "ZPCI_RECORD=01033a3a\n");

        memcpy(record.raw + 2, &serr, sizeof(serr));
        assert_field(&record,
                     "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): SERR (PEC 0x000b)");
}

static void test_kmsg(void **state) {
        Record record = make(RECORD_ERROR);

        record.sequence = 7;
        record.source = RECORD_KMSG;
        record.pec = 0x0040;
        record.identity.fh = 0;
        assert_entry(&record,
                     "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): UNKNOWN (PEC 0x0040): "
                     "service action or error recovery failed\n"
                     "MESSAGE_ID=4518901db7e24c839a23d2f97d6f0741\n"
                     "PRIORITY=2\n" DOCUMENTATION "DEVICE=+pci:0001:00:00.0\n"
                     "ZPCI_ADDRESS=0001:00:00.0\n"
                     "ZPCI_FID=0x00000010\n"
                     "ZPCI_UID=0x1\n"
                     "ZPCI_PCHID=0x0104\n"
                     "ZPCI_SEQUENCE=7\n"
                     "ZPCI_SOURCE=kmsg\n"
                     "ZPCI_PEC=0x0040\n"
                     "ZPCI_PEC_NAME=UNKNOWN\n"
                     "ZPCI_SEVERITY=permanent\n");
}

static void test_uevent(void **state) {
        Record record = make(RECORD_ERROR);

        record.sequence = 8;
        record.source = RECORD_UEVENT;
        assert_entry(&record,
                     "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): error reported, code "
                     "unknown\n"
                     "MESSAGE_ID=4518901db7e24c839a23d2f97d6f0741\n"
                     "PRIORITY=3\n" DOCUMENTATION FUNCTION "ZPCI_SEQUENCE=8\n"
                     "ZPCI_SOURCE=uevent\n"
                     "ZPCI_PEC=0x0000\n"
                     "ZPCI_PEC_NAME=UNKNOWN\n"
                     "ZPCI_SEVERITY=unknown\n");
}

static void test_priorities(void **state) {
        Record permanent = make_ccdf(RECORD_VFIO, 0x003b);
        Record informational = make_ccdf(RECORD_VFIO, 0x002a);
        Record unheard_of = make_ccdf(RECORD_VFIO, 0xffff);

        assert_field(&permanent, "PRIORITY=2");
        assert_field(&informational, "PRIORITY=5");
        assert_field(&unheard_of, "PRIORITY=3");
}

/* Address 0 is a mistake that DMA can make, and nothing to tell of a service action. */
static void test_failing_address_zero(void **state) {
        Record dma = make_ccdf(RECORD_VFIO, 0x0001), service = make_ccdf(RECORD_VFIO, 0x003a);

        memset(dma.raw + 16, 0, 8);
        memset(service.raw + 16, 0, 8);
        assert_field(
                &dma,
                "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): INVALAS (PEC 0x0001): DMA to "
                "an address space with no translation registered, at 0x0");
        assert_field(
                &service,
                "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): SERVAC (PEC 0x003a): service "
                "action");
        assert_field(&service, "ZPCI_FAILING_ADDRESS=0x0");
}

static void test_lost(void **state) {
        Record record = make(RECORD_LOST);

        record.lost = 3;
        record.source = RECORD_VFIO;
        assert_entry(&record,
                     "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): 3 errors were lost: the "
                     "kernel's queue of four records was full\n"
                     "MESSAGE_ID=3f123115aa4a48c79355ba18e274bd80\n"
                     "PRIORITY=4\n" DOCUMENTATION FUNCTION "ZPCI_LOST=3\n");

        record.lost = 1;
        assert_field(
                &record,
                "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): 1 error was lost: the kernel's "
                "queue of four records was full");
}

static void test_recovery(void **state) {
        static const struct {
                RecordRecovery recovery;
                const char *priority;
                const char *field;
                const char *message;
        } cases[] = {
                { RECOVERY_NONE, "PRIORITY=6", "ZPCI_RECOVERY=none", "no recovery is going on" },
                { RECOVERY_IN_PROGRESS,
                  "PRIORITY=6",
                  "ZPCI_RECOVERY=in-progress",
                  "recovery began: the function is being reset" },
                { RECOVERY_RECOVERED,
                  "PRIORITY=5",
                  "ZPCI_RECOVERY=recovered",
                  "recovered: the function was reset and works again" },
                { RECOVERY_FAILED,
                  "PRIORITY=3",
                  "ZPCI_RECOVERY=failed",
                  "recovery failed: the function does nothing until a reset succeeds. Look at the adapter "
                  "with this PCHID, then switch the function off and on: "
                  "/sys/bus/pci/slots/00000010/power" },
                { RECOVERY_LEFT_TO_HOLDER,
                  "PRIORITY=5",
                  "ZPCI_RECOVERY=left-to-holder",
                  "recovery is up to whoever holds the device open: the function does nothing until they "
                  "reset it" },
                /* From a newer run, perhaps. */
                { 200, "PRIORITY=6", "ZPCI_RECOVERY=unknown", "no recovery is going on" },
        };
        Record record = make(RECORD_RECOVERY);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char message[512];

                (void) snprintf(message,
                                sizeof(message),
                                "MESSAGE=0001:00:00.0 (FID 0x00000010, PCHID 0x0104): %s",
                                cases[i].message);
                record.recovery = (uint8_t) cases[i].recovery;
                assert_field(&record, message);
                assert_field(&record, "MESSAGE_ID=9ebe2948bde74ed0a60ab0a677d2866b");
                assert_field(&record, cases[i].priority);
                assert_field(&record, cases[i].field);
                assert_field(&record, "ZPCI_FH=0x80020000");
                assert_no_field(&record, "ZPCI_SEQUENCE");
        }
}

static void test_gap(void **state) {
        char text[JOURNAL_ENTRY_SIZE + 1];
        JournalEntry entry;

        journal_entry_of_gap(&entry, 12, 1042, stream_id);
        flatten(&entry, text, sizeof(text));
        assert_string_equal(
                text,
                "MESSAGE=12 entries about errors of PCI functions are missing here: journald "
                "did not take or keep them. This is a gap in the journal only\n"
                "MESSAGE_ID=3f123115aa4a48c79355ba18e274bd80\n"
                "PRIORITY=4\n" DOCUMENTATION "ZPCI_LOST=12\n");

        journal_entry_of_gap(&entry, 1, 1042, stream_id);
        flatten(&entry, text, sizeof(text));
        assert_non_null(
                strstr(text,
                       "MESSAGE=1 entry about errors of PCI functions is missing here: journald "
                       "did not take or keep it."));
}

/* Nothing is known of the function but its address: all the same it is an entry. */
static void test_blank_identity(void **state) {
        Record record = make(RECORD_ERROR);

        record.source = RECORD_UEVENT;
        record.identity = (RecordIdentity){ .address = "0000:00:00.0" };
        assert_field(
                &record,
                "MESSAGE=0000:00:00.0 (FID 0x00000000, PCHID 0x0000): error reported, code unknown");
        assert_field(&record, "ZPCI_FID=0x00000000");
        assert_field(&record, "ZPCI_UID=0x0");
        assert_field(&record, "ZPCI_PCHID=0x0000");
        assert_no_field(&record, "ZPCI_FH");
}

/* As long as an entry can get, with every code there is: it fits. */
static void test_longest(void **state) {
        Record record = make(RECORD_ERROR);

        record.source = RECORD_WITNESS;
        record.interface = RECORD_CCDF;
        record.sequence = UINT64_MAX;
        record.raw_size = RECORD_RAW_SIZE;
        memset(record.raw, 0xff, sizeof(record.raw));
        record.identity = (RecordIdentity){
                .address = "ffffffff:ff:1f.7",
                .fid = UINT32_MAX,
                .uid = UINT32_MAX,
                .pchid = UINT16_MAX,
                .fh = UINT32_MAX,
        };

        for (unsigned pec = 0; pec <= UINT16_MAX; pec++) {
                JournalEntry entry;

                record.raw[30] = (uint8_t) (pec >> 8);
                record.raw[31] = (uint8_t) pec;
                assert_int_equal(journal_entry_of_record(&entry, &record, stream_id), 0);
                assert_true(entry.used <= JOURNAL_ENTRY_SIZE * 3 / 4);
                assert_true(entry.n_fields <= JOURNAL_ENTRY_FIELDS);
        }

        for (int kind = RECORD_LOST; kind < _RECORD_KIND_MAX; kind++)
                for (unsigned recovery = 0; recovery <= UINT8_MAX; recovery++) {
                        JournalEntry entry;

                        record.kind = (uint8_t) kind;
                        record.recovery = (uint8_t) recovery;
                        record.lost = UINT64_MAX;
                        assert_int_equal(journal_entry_of_record(&entry, &record, stream_id), 0);
                }
}

/* A ring of a former run may hold anything. */
static void test_hostile(void **state) {
        Record no_address = make(RECORD_ERROR), endless = make(RECORD_ERROR),
               kind = make(RECORD_ERROR), forged = make(RECORD_ERROR),
               raw = make_ccdf(RECORD_VFIO, 2), source = make_ccdf(99, 2);
        JournalEntry entry;

        no_address.identity.address[0] = '\0';
        assert_int_equal(journal_entry_of_record(&entry, &no_address, stream_id), -EBADMSG);
        memset(endless.identity.address, '0', sizeof(endless.identity.address));
        assert_int_equal(journal_entry_of_record(&entry, &endless, stream_id), -EBADMSG);
        strcpy(forged.identity.address, "0000:00:00.0\nA=b");
        assert_int_equal(journal_entry_of_record(&entry, &forged, stream_id), -EBADMSG);

        kind.kind = 0;
        assert_int_equal(journal_entry_of_record(&entry, &kind, stream_id), -EBADMSG);
        kind.kind = _RECORD_KIND_MAX;
        assert_int_equal(journal_entry_of_record(&entry, &kind, stream_id), -EBADMSG);

        raw.raw_size = UINT32_MAX;
        assert_int_equal(journal_entry_of_record(&entry, &raw, stream_id), 0);
        assert_field(&source, "ZPCI_SOURCE=unknown");
}

/* Noise in place of a record: whatever it says, the fields stay inside the entry and on one line each. */
static void test_noise(void **state) {
        uint64_t seed = 20;

        for (unsigned i = 0; i < 20000; i++) {
                uint8_t bytes[sizeof(Record)];
                JournalEntry entry;
                Record record;

                for (size_t j = 0; j < sizeof(bytes); j++) {
                        seed = seed * UINT64_C(6364136223846793005) + 1;
                        bytes[j] = (uint8_t) (seed >> 56);
                }
                memcpy(&record, bytes, sizeof(record));
                record.kind %= _RECORD_KIND_MAX;
                record.interface %= _RECORD_INTERFACE_MAX;
                strcpy(record.identity.address, "0001:00:00.0");

                if (journal_entry_of_record(&entry, &record, stream_id) < 0) {
                        assert_int_equal(record.kind, 0);
                        continue;
                }
                for (size_t j = 0; j < entry.n_fields; j++) {
                        assert_null(
                                memchr(entry.fields[j].iov_base, '\n', entry.fields[j].iov_len));
                        assert_null(
                                memchr(entry.fields[j].iov_base, '\0', entry.fields[j].iov_len));
                        assert_non_null(
                                memchr(entry.fields[j].iov_base, '=', entry.fields[j].iov_len));
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vfio_ccdf),
                cmocka_unit_test(test_witness_ccdf),
                cmocka_unit_test(test_vfio_packed),
                cmocka_unit_test(test_kmsg),
                cmocka_unit_test(test_uevent),
                cmocka_unit_test(test_priorities),
                cmocka_unit_test(test_failing_address_zero),
                cmocka_unit_test(test_lost),
                cmocka_unit_test(test_recovery),
                cmocka_unit_test(test_gap),
                cmocka_unit_test(test_blank_identity),
                cmocka_unit_test(test_longest),
                cmocka_unit_test(test_hostile),
                cmocka_unit_test(test_noise),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
