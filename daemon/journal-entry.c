/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "journal-entry.h"
#include "names.h"
#include "pec.h"

#define SUBJECT_SIZE 80U /* "ADDRESS (FID 0x…, PCHID 0x…)" */
#define AT_SIZE      32U

/*
 * There is room for the longest entry: what is told of a record is bounded, and a test writes the
 * longest.
 */
_printf_(2, 3) static void add(JournalEntry *entry, const char *format, ...) {
        char *text = entry->text + entry->used;
        size_t room = sizeof(entry->text) - entry->used;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(text, room, format, ap);
        va_end(ap);
        assert(n > 0 && (size_t) n < room);
        assert(entry->n_fields < JOURNAL_ENTRY_FIELDS);

        entry->fields[entry->n_fields++] = (struct iovec){
                .iov_base = text,
                .iov_len = (size_t) n,
        };
        entry->used += (size_t) n + 1;
}

static void add_hex(JournalEntry *entry, const char *name, const uint8_t *bytes, size_t size) {
        char text[2 * RECORD_RAW_SIZE + 1];

        assert(size <= RECORD_RAW_SIZE);

        ccdf_format(bytes, size, text);
        add(entry, "%s=%s", name, text);
}

static void begin(JournalEntry *entry) {
        entry->n_fields = 0;
        entry->used = 0;
}

static void add_kind(JournalEntry *entry,
                     const char *message_id,
                     int priority,
                     uint64_t position,
                     const uint8_t stream_id[RING_STREAM_SIZE]) {
        add(entry, "MESSAGE_ID=%s", message_id);
        add(entry, "PRIORITY=%d", priority);
        add(entry, "SYSLOG_IDENTIFIER=" ERRORD_PROGRAM);
        add(entry, "DOCUMENTATION=" ERRORD_DOCUMENTATION);
        add_hex(entry, ERRORD_FIELD_STREAM_ID, stream_id, RING_STREAM_SIZE);
        add(entry, ERRORD_FIELD_POSITION "=%" PRIu64, position);
}

static void add_function(JournalEntry *entry, const RecordIdentity *identity, uint32_t fh) {
        add(entry, ERRORD_FIELD_DEVICE "=+pci:%s", identity->address);
        add(entry, ERRORD_FIELD_ADDRESS "=%s", identity->address);
        add(entry, ERRORD_FIELD_FID "=0x%08" PRIx32, identity->fid);
        add(entry, ERRORD_FIELD_UID "=0x%" PRIx32, identity->uid);
        add(entry, ERRORD_FIELD_PCHID "=0x%04" PRIx16, identity->pchid);
        if (fh != 0)
                add(entry, ERRORD_FIELD_FH "=0x%08" PRIx32, fh);
}

static void subject(const RecordIdentity *identity, char text[static SUBJECT_SIZE]) {
        (void) snprintf(text,
                        SUBJECT_SIZE,
                        "%s (FID 0x%08" PRIx32 ", PCHID 0x%04" PRIx16 ")",
                        identity->address,
                        identity->fid,
                        identity->pchid);
}

static int severity_priority(PecSeverity severity) {
        switch (severity) {
        case PEC_PERMANENT:
                return LOG_CRIT;
        case PEC_INFORMATIONAL:
                return LOG_NOTICE;
        default:
                return LOG_ERR;
        }
}

/*
 * Codes 1 to 9 tell of DMA, and DMA to address 0 is a mistake as good as any. In others 0 says
 * nothing.
 */
static bool address_matters(const CcdfError *error) {
        return error->failing_address != 0 || (error->pec >= 0x0001 && error->pec <= 0x0009);
}

static void add_error_message(JournalEntry *entry,
                              const RecordIdentity *identity,
                              const Pec *pec,
                              const CcdfError *ccdf) {
        char who[SUBJECT_SIZE], at[AT_SIZE] = "";

        subject(identity, who);
        if (ccdf && address_matters(ccdf))
                (void) snprintf(at, sizeof(at), ", at 0x%" PRIx64, ccdf->failing_address);

        if (pec->code == 0)
                add(entry, "MESSAGE=%s: error reported, code unknown%s", who, at);
        else
                add(entry,
                    "MESSAGE=%s: %s (PEC 0x%04" PRIx16 ")%s%s%s",
                    who,
                    pec->name,
                    pec->code,
                    pec->meaning ? ": " : "",
                    pec->meaning ? pec->meaning : "",
                    at);
}

static void
add_error(JournalEntry *entry, const Record *record, const uint8_t stream_id[RING_STREAM_SIZE]) {
        const char *source = record_source_to_string(record->source);
        Pec pec = pec_describe(record_pec(record));
        CcdfError ccdf;
        bool full = record_ccdf(record, &ccdf) >= 0;

        add_error_message(entry, &record->identity, &pec, full ? &ccdf : NULL);
        add_kind(entry,
                 ERRORD_MESSAGE_ERROR_ID,
                 severity_priority(pec.severity),
                 record->position,
                 stream_id);
        add_function(entry, &record->identity, full ? ccdf.fh : record->identity.fh);

        add(entry, ERRORD_FIELD_SEQUENCE "=%" PRIu64, record->sequence);
        add(entry, ERRORD_FIELD_SOURCE "=%s", source ? source : "unknown");
        add(entry, ERRORD_FIELD_PEC "=0x%04" PRIx16, pec.code);
        add(entry, ERRORD_FIELD_PEC_NAME "=%s", pec.name);
        add(entry, ERRORD_FIELD_SEVERITY "=%s", pec_severity_to_string(pec.severity));

        if (full) {
                add(entry, ERRORD_FIELD_FAILING_ADDRESS "=0x%" PRIx64, ccdf.failing_address);
                add(entry, ERRORD_FIELD_DMAAS "=0x%02" PRIx8, ccdf.dma_address_space);
                add(entry, ERRORD_FIELD_MVN "=%" PRIu16, ccdf.msi_vector);
        }

        if (record->interface != RECORD_NONE && record->raw_size > 0)
                add_hex(entry,
                        ERRORD_FIELD_RECORD,
                        record->raw,
                        record->raw_size < RECORD_RAW_SIZE ? record->raw_size : RECORD_RAW_SIZE);
}

static void
add_lost(JournalEntry *entry, const Record *record, const uint8_t stream_id[RING_STREAM_SIZE]) {
        char who[SUBJECT_SIZE];

        subject(&record->identity, who);
        add(entry,
            "MESSAGE=%s: %" PRIu64 " %s lost: the kernel's queue of four records was full",
            who,
            record->lost,
            record->lost == 1 ? "error was" : "errors were");
        add_kind(entry, ERRORD_MESSAGE_LOST_ID, LOG_WARNING, record->position, stream_id);
        add_function(entry, &record->identity, record->identity.fh);
        add(entry, ERRORD_FIELD_LOST "=%" PRIu64, record->lost);
}

static void
add_recovery(JournalEntry *entry, const Record *record, const uint8_t stream_id[RING_STREAM_SIZE]) {
        const RecordIdentity *identity = &record->identity;
        const char *recovery = record_recovery_to_string(record->recovery);
        int priority = LOG_NOTICE;
        char who[SUBJECT_SIZE];

        subject(identity, who);

        switch ((RecordRecovery) record->recovery) {
        case RECOVERY_IN_PROGRESS:
                add(entry, "MESSAGE=%s: recovery began: the function is being reset", who);
                priority = LOG_INFO;
                break;
        case RECOVERY_RECOVERED:
                add(entry, "MESSAGE=%s: recovered: the function was reset and works again", who);
                break;
        case RECOVERY_FAILED:
                add(entry,
                    "MESSAGE=%s: recovery failed: the function does nothing until a reset succeeds. Look "
                    "at the adapter with this PCHID, then switch the function off and on: "
                    "/sys/bus/pci/slots/%08" PRIx32 "/power",
                    who,
                    identity->fid);
                priority = LOG_ERR;
                break;
        case RECOVERY_LEFT_TO_HOLDER:
                add(entry,
                    "MESSAGE=%s: recovery is up to whoever holds the device open: the function does "
                    "nothing until they reset it",
                    who);
                break;
        default:
                add(entry, "MESSAGE=%s: no recovery is going on", who);
                priority = LOG_INFO;
                break;
        }

        add_kind(entry, ERRORD_MESSAGE_RECOVERY_ID, priority, record->position, stream_id);
        add_function(entry, identity, identity->fh);
        add(entry, ERRORD_FIELD_RECOVERY "=%s", recovery ? recovery : "unknown");
}

int journal_entry_of_record(JournalEntry *entry,
                            const Record *record,
                            const uint8_t stream_id[RING_STREAM_SIZE]) {
        assert(entry);
        assert(record);
        assert(stream_id);

        if (!memchr(record->identity.address, '\0', sizeof(record->identity.address)) ||
            !pci_address_valid(record->identity.address))
                return -EBADMSG;

        begin(entry);

        switch ((RecordKind) record->kind) {
        case RECORD_ERROR:
                add_error(entry, record, stream_id);
                return 0;
        case RECORD_LOST:
                add_lost(entry, record, stream_id);
                return 0;
        case RECORD_RECOVERY:
                add_recovery(entry, record, stream_id);
                return 0;
        default:
                return -EBADMSG;
        }
}

void journal_entry_of_gap(JournalEntry *entry,
                          uint64_t count,
                          uint64_t position,
                          const uint8_t stream_id[RING_STREAM_SIZE]) {
        assert(entry);
        assert(stream_id);

        begin(entry);
        add(entry,
            "MESSAGE=%" PRIu64
            " %s about errors of PCI functions %s missing here: journald did not "
            "take or keep %s. This is a gap in the journal only",
            count,
            count == 1 ? "entry" : "entries",
            count == 1 ? "is" : "are",
            count == 1 ? "it" : "them");
        add_kind(entry, ERRORD_MESSAGE_LOST_ID, LOG_WARNING, position, stream_id);
        add(entry, ERRORD_FIELD_LOST "=%" PRIu64, count);
}
