/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One entry of the ring: an error of a function, or what is announced about its errors.
 *
 * The layout is a contract between two runs of the daemon, possibly of different versions. It
 * changes only together with RING_VERSION (ring.h). Integers are in the byte order of the machine
 * but for the raw bytes, which are what the platform wrote.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ccdf.h"
#include "parse.h"

#define RECORD_SIZE     256U
#define RECORD_RAW_SIZE 96U /* the platform's record has 32 bytes today and may grow */

#define RECORD_PACKED_VERSION 1U /* the one version of the packed interface that is published */
#define RECORD_PACKED_SIZE    4U /* its size, and the part that every later version begins with */

typedef enum RecordKind {
        RECORD_ERROR = 1, /* an error; the only kind that has a sequence number */
        RECORD_LOST,      /* errors that the kernel signalled and did not keep */
        RECORD_RECOVERY,  /* how the recovery of the function goes */
        _RECORD_KIND_MAX,
} RecordKind;

typedef enum RecordSource {
        RECORD_VFIO = 1, /* drained from the VFIO device */
        RECORD_WITNESS,  /* seen by the eBPF program */
        RECORD_KMSG,     /* read from the kernel log: PEC and FID */
        RECORD_UEVENT,   /* told by a uevent: that there was an error */
        _RECORD_SOURCE_MAX,
} RecordSource;

typedef enum RecordInterface {
        RECORD_NONE = 0, /* no raw bytes */
        RECORD_CCDF,     /* raw is the platform's record, see ccdf.h */
        RECORD_PACKED,   /* raw is struct { u8 version; u8 pending_errors; u16 pec; … } */
        _RECORD_INTERFACE_MAX,
} RecordInterface;

typedef enum RecordRecovery {
        RECOVERY_NONE = 0,
        RECOVERY_IN_PROGRESS,
        RECOVERY_RECOVERED,
        RECOVERY_FAILED,
        RECOVERY_LEFT_TO_HOLDER, /* somebody else holds the device, and owes its recovery */
        _RECORD_RECOVERY_MAX,
} RecordRecovery;

/* Whose record it is. Copied into each entry: the function may be gone when the entry is read. */
typedef struct RecordIdentity {
        char address[PCI_ADDRESS_SIZE];
        uint32_t fid;
        uint32_t uid;
        uint32_t fh; /* function handle, 0 if not known */
        uint16_t pchid;
        uint16_t reserved;
        uint32_t reserved2;
} RecordIdentity;

typedef struct Record {
        uint64_t position; /* place in the ring: 1, 2, 3, …; 0 until committed. Of every entry. */
        uint64_t sequence; /* 1, 2, 3, … of the RECORD_ERROR entries; 0 in all others */
        /* When it was committed; RECORD_KMSG: of the line; RECORD_UEVENT: when it came. */
        uint64_t realtime_usec;  /* CLOCK_REALTIME */
        uint64_t monotonic_usec; /* CLOCK_MONOTONIC of the same moment */
        uint64_t lost;           /* RECORD_LOST: how many */
        uint64_t ordinal;        /* which record or signal, see balance.h; 0 of others */
        uint32_t state;          /* ring.c's: whether it is reserved or committed */
        uint8_t kind;            /* RecordKind */
        uint8_t source;          /* RecordSource */
        uint8_t interface;       /* RecordInterface */
        uint8_t recovery;        /* RecordRecovery of RECORD_RECOVERY */
        RecordIdentity identity; /* 40 bytes */
        uint16_t pec;            /* of records without raw bytes, see record_pec() */
        uint8_t dropped;         /* RECORD_WITNESS: the queue of the kernel was full */
        uint8_t reserved[5];
        uint32_t raw_size; /* how many raw bytes count */
        uint32_t reserved2;
        uint64_t last_sequence; /* ring.c's: of the newest error up to here, this entry included */
        uint64_t lost_sum;      /* ring.c's: sum of lost up to here, this entry included */
        uint64_t
                witness; /* number of the witness's account of this error, 0 if there is none (yet) */
        uint64_t reserved3[2];
        uint64_t feature; /* struct vfio_device_feature, where a kernel wants it before the data */
        uint8_t raw[RECORD_RAW_SIZE];
} Record;

_Static_assert(sizeof(RecordIdentity) == 40, "the identity never changes its size");
_Static_assert(offsetof(Record, raw) == offsetof(Record, feature) + 8, "ioctl header, then data");
_Static_assert(sizeof(Record) == RECORD_SIZE, "a record never changes its size");

/*
 * The PCI event code of an error, from the raw bytes where there are any, otherwise from the field.
 * 0 if none was told or the raw bytes are too few.
 */
uint16_t record_pec(const Record *record);

/* Decodes the raw bytes of a RECORD_CCDF record. Returns 0, or -ENODATA for any other record. */
int record_ccdf(const Record *record, CcdfError *ret);

/*
 * How many more records the kernel held when it gave out this one. Only the packed interface tells.
 * Returns 0, or -ENODATA for any other record.
 */
int record_pending(const Record *record, uint8_t *ret);

/*
 * Whether the raw bytes are an answer that interface gives for an error of function fid, and not
 * the leftovers of an answer "nothing pending". Judges size bytes, which may come from a former
 * run:
 *   RECORD_CCDF    at least CCDF_ERROR_SIZE bytes, not all of them zero, that name fid
 *   RECORD_PACKED  at least RECORD_PACKED_SIZE bytes with a version and a PEC
 */
bool record_raw_valid(RecordInterface interface, uint32_t fid, const uint8_t *raw, size_t size);

/*
 * How many of the size bytes that were asked for say something. All of a RECORD_CCDF; of a
 * RECORD_PACKED those of its version, which for a version that is not known are those up to the
 * last that is not zero, in whole words. 0 without an interface.
 */
uint32_t record_raw_used(RecordInterface interface, const uint8_t *raw, size_t size);

/*
 * The names that users see: "vfio", "witness", "kmsg", "uevent"; "none", "in-progress",
 * "recovered", "failed", "left-to-holder"; "none", "ccdf", "packed". NULL if out of range.
 */
const char *record_source_to_string(RecordSource source);
const char *record_recovery_to_string(RecordRecovery recovery);
const char *record_interface_to_string(RecordInterface interface);
