/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "record.h"
#include "util.h"

/* Where the fields of the packed interface are. They are in the byte order of the machine. */
#define PACKED_VERSION_OFFSET 0U
#define PACKED_PENDING_OFFSET 1U
#define PACKED_PEC_OFFSET     2U

static uint16_t packed_pec(const uint8_t *raw) {
        uint16_t pec;

        memcpy(&pec, raw + PACKED_PEC_OFFSET, sizeof(pec));
        return pec;
}

static bool is_packed(const Record *record) {
        return record->interface == RECORD_PACKED && record->raw_size >= RECORD_PACKED_SIZE &&
               record->raw_size <= RECORD_RAW_SIZE;
}

int record_ccdf(const Record *record, CcdfError *ret) {
        assert(record);
        assert(ret);

        if (record->interface != RECORD_CCDF || record->raw_size > RECORD_RAW_SIZE)
                return -ENODATA;

        return ccdf_decode(record->raw, record->raw_size, ret) < 0 ? -ENODATA : 0;
}

int record_pending(const Record *record, uint8_t *ret) {
        assert(record);
        assert(ret);

        if (!is_packed(record))
                return -ENODATA;

        *ret = record->raw[PACKED_PENDING_OFFSET];
        return 0;
}

uint16_t record_pec(const Record *record) {
        CcdfError error;

        assert(record);

        if (record->interface == RECORD_NONE)
                return record->pec;
        if (record_ccdf(record, &error) == 0)
                return error.pec;
        return is_packed(record) ? packed_pec(record->raw) : 0;
}

/* How many bytes there are up to the last that is not zero. */
static size_t used_size(const uint8_t *raw, size_t size) {
        while (size > 0 && raw[size - 1] == 0)
                size--;
        return size;
}

bool record_raw_valid(RecordInterface interface, uint32_t fid, const uint8_t *raw, size_t size) {
        CcdfError error;

        assert(raw);

        switch (interface) {
        case RECORD_CCDF:
                /* A blank answer seems to be of the function with FID 0, which may well exist. */
                return ccdf_decode(raw, size, &error) == 0 && error.fid == fid &&
                       used_size(raw, size) > 0;
        case RECORD_PACKED:
                return size >= RECORD_PACKED_SIZE && raw[PACKED_VERSION_OFFSET] != 0 &&
                       packed_pec(raw) != 0;
        default:
                return false;
        }
}

uint32_t record_raw_used(RecordInterface interface, const uint8_t *raw, size_t size) {
        size_t used, words;

        assert(raw);
        assert(size <= UINT32_MAX);

        if (interface == RECORD_CCDF)
                return (uint32_t) size;
        if (interface != RECORD_PACKED)
                return 0;
        if (size <= RECORD_PACKED_SIZE || raw[PACKED_VERSION_OFFSET] == RECORD_PACKED_VERSION)
                return (uint32_t) (size < RECORD_PACKED_SIZE ? size : RECORD_PACKED_SIZE);

        used = used_size(raw, size);
        words = used < RECORD_PACKED_SIZE ? RECORD_PACKED_SIZE : (used + 3U) & ~(size_t) 3U;
        return (uint32_t) (words < size ? words : size);
}

const char *record_source_to_string(RecordSource source) {
        static const char *const names[_RECORD_SOURCE_MAX] = {
                [RECORD_VFIO] = "vfio",
                [RECORD_WITNESS] = "witness",
                [RECORD_KMSG] = "kmsg",
                [RECORD_UEVENT] = "uevent",
        };

        return (size_t) source < ELEMENTSOF(names) ? names[source] : NULL;
}

const char *record_recovery_to_string(RecordRecovery recovery) {
        static const char *const names[_RECORD_RECOVERY_MAX] = {
                [RECOVERY_NONE] = "none",
                [RECOVERY_IN_PROGRESS] = "in-progress",
                [RECOVERY_RECOVERED] = "recovered",
                [RECOVERY_FAILED] = "failed",
                [RECOVERY_LEFT_TO_HOLDER] = "left-to-holder",
        };

        return (size_t) recovery < ELEMENTSOF(names) ? names[recovery] : NULL;
}

const char *record_interface_to_string(RecordInterface interface) {
        static const char *const names[_RECORD_INTERFACE_MAX] = {
                [RECORD_NONE] = "none",
                [RECORD_CCDF] = "ccdf",
                [RECORD_PACKED] = "packed",
        };

        return (size_t) interface < ELEMENTSOF(names) ? names[interface] : NULL;
}
