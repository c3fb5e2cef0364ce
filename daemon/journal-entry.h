/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Entries of the ring as entries of the journal: the fields that users search for. Pure.
 *
 * The forms are a promise, since matches in the journal are exact:
 *
 *   0x%08x  ZPCI_FID, ZPCI_FH
 *   0x%04x  ZPCI_PCHID, ZPCI_PEC
 *   0x%02x  ZPCI_DMAAS
 *   0x%x    ZPCI_UID (as sysfs has it), ZPCI_FAILING_ADDRESS
 *   %u      ZPCI_MVN, ZPCI_SEQUENCE, ZPCI_POSITION, ZPCI_LOST
 *   %02x…   ZPCI_RECORD, ZPCI_STREAM_ID: the digits alone
 *
 * ZPCI_STREAM_ID and ZPCI_POSITION together are the identity of an entry: it may be in the journal
 * twice, after a crash of the daemon or of journald.
 *
 * A field that the entry knows nothing for is left out; only ZPCI_PEC of a uevent is 0x0000
 * (UNKNOWN).
 */

#include <stddef.h>
#include <sys/uio.h>

#include "record.h"
#include "ring.h"

#define JOURNAL_ENTRY_FIELDS 24U
#define JOURNAL_ENTRY_SIZE   2048U

/* One journal entry, MESSAGE first. Its fields point into it: it is not to be copied. */
typedef struct JournalEntry {
        struct iovec fields[JOURNAL_ENTRY_FIELDS];
        size_t n_fields;
        size_t used;
        char text[JOURNAL_ENTRY_SIZE];
} JournalEntry;

/*
 * Makes the journal entry of a record of any kind. Returns 0, or -EBADMSG if it is of no known kind
 * or its address is none: the ring may come from a former run.
 */
int journal_entry_of_record(JournalEntry *entry,
                            const Record *record,
                            const uint8_t stream_id[RING_STREAM_SIZE]);

/*
 * Makes the announcement that count entries of the ring never came to the journal, and cannot come
 * any more; position is that of the last of them. To the other readers of the ring they are not
 * lost.
 */
void journal_entry_of_gap(JournalEntry *entry,
                          uint64_t count,
                          uint64_t position,
                          const uint8_t stream_id[RING_STREAM_SIZE]);
