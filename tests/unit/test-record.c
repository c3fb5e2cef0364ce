/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "record.h"
#include "ring-fixture.h"

static Record ccdf_record(void) {
        Record record = { .interface = RECORD_CCDF, .raw_size = CCDF_ERROR_SIZE, .pec = 0x77 };

        fixture_answer(&record);
        return record;
}

static Record packed_record(void) {
        Record record = { .interface = RECORD_PACKED, .raw_size = RECORD_PACKED_SIZE, .pec = 0x77 };

        fixture_answer(&record);
        return record;
}

/* Another version of the daemon may read the image: byte offsets, not names, are the contract. */
static void test_layout(void **state) {
        assert_int_equal(offsetof(Record, position), 0);
        assert_int_equal(offsetof(Record, sequence), 8);
        assert_int_equal(offsetof(Record, realtime_usec), 16);
        assert_int_equal(offsetof(Record, monotonic_usec), 24);
        assert_int_equal(offsetof(Record, lost), 32);
        assert_int_equal(offsetof(Record, ordinal), 40);
        assert_int_equal(offsetof(Record, state), 48);
        assert_int_equal(offsetof(Record, kind), 52);
        assert_int_equal(offsetof(Record, source), 53);
        assert_int_equal(offsetof(Record, interface), 54);
        assert_int_equal(offsetof(Record, recovery), 55);
        assert_int_equal(offsetof(Record, identity), 56);
        assert_int_equal(offsetof(RecordIdentity, fid), 20);
        assert_int_equal(offsetof(RecordIdentity, uid), 24);
        assert_int_equal(offsetof(RecordIdentity, fh), 28);
        assert_int_equal(offsetof(RecordIdentity, pchid), 32);
        assert_int_equal(offsetof(Record, pec), 96);
        assert_int_equal(offsetof(Record, dropped), 98);
        assert_int_equal(offsetof(Record, raw_size), 104);
        assert_int_equal(offsetof(Record, last_sequence), 112);
        assert_int_equal(offsetof(Record, lost_sum), 120);
        assert_int_equal(offsetof(Record, feature), 152);
        assert_int_equal(offsetof(Record, raw), 160);
}

static void test_pec(void **state) {
        Record record = { .pec = 0x3b, .raw_size = CCDF_ERROR_SIZE };

        memcpy(record.raw, fixture_ccdf, sizeof(fixture_ccdf));
        assert_int_equal(record_pec(&record), 0x3b); /* no interface, so these are no raw bytes */

        record = ccdf_record();
        assert_int_equal(record_pec(&record), 2);
        record.raw_size = CCDF_ERROR_SIZE - 1;
        assert_int_equal(record_pec(&record), 0);
        record.raw_size = RECORD_RAW_SIZE + 1;
        assert_int_equal(record_pec(&record), 0);

        record = packed_record();
        assert_int_equal(record_pec(&record), 2);
        record.raw_size = RECORD_PACKED_SIZE - 1;
        assert_int_equal(record_pec(&record), 0);
        record.raw_size = UINT32_MAX;
        assert_int_equal(record_pec(&record), 0);

        record.interface = _RECORD_INTERFACE_MAX;
        assert_int_equal(record_pec(&record), 0);
}

static void test_ccdf(void **state) {
        Record record = ccdf_record();
        CcdfError error = {};

        assert_int_equal(record_ccdf(&record, &error), 0);
        assert_int_equal(error.fid, FIXTURE_FID);
        assert_int_equal(error.failing_address, 0x12346002);

        record.raw_size = RECORD_RAW_SIZE; /* it may grow */
        assert_int_equal(record_ccdf(&record, &error), 0);
        record.raw_size = RECORD_RAW_SIZE + 1;
        assert_int_equal(record_ccdf(&record, &error), -ENODATA);
        record.raw_size = CCDF_ERROR_SIZE - 1;
        assert_int_equal(record_ccdf(&record, &error), -ENODATA);

        record = packed_record();
        assert_int_equal(record_ccdf(&record, &error), -ENODATA);
        record = (Record){};
        assert_int_equal(record_ccdf(&record, &error), -ENODATA);
}

static void test_pending(void **state) {
        Record record = packed_record();
        uint8_t pending = 0xff;

        assert_int_equal(record_pending(&record, &pending), 0);
        assert_int_equal(pending, 3);
        record.raw_size = RECORD_PACKED_SIZE - 1;
        assert_int_equal(record_pending(&record, &pending), -ENODATA);

        record = ccdf_record();
        assert_int_equal(record_pending(&record, &pending), -ENODATA);
        record = (Record){};
        assert_int_equal(record_pending(&record, &pending), -ENODATA);
}

static void test_valid_ccdf(void **state) {
        uint8_t raw[RECORD_RAW_SIZE] = {};

        assert_false(record_raw_valid(RECORD_CCDF, 0, raw, CCDF_ERROR_SIZE)); /* blank, FID 0 */
        assert_false(record_raw_valid(RECORD_CCDF, 0, raw, sizeof(raw)));
        raw[31] = 2;
        assert_true(record_raw_valid(RECORD_CCDF, 0, raw, CCDF_ERROR_SIZE));

        memcpy(raw, fixture_ccdf, sizeof(fixture_ccdf));
        assert_true(record_raw_valid(RECORD_CCDF, FIXTURE_FID, raw, CCDF_ERROR_SIZE));
        assert_true(record_raw_valid(RECORD_CCDF, FIXTURE_FID, raw, sizeof(raw)));
        assert_false(record_raw_valid(RECORD_CCDF, FIXTURE_FID, raw, CCDF_ERROR_SIZE - 1));
        assert_false(record_raw_valid(RECORD_CCDF, FIXTURE_FID, raw, 0));
        assert_false(record_raw_valid(RECORD_CCDF, FIXTURE_FID + 1, raw, CCDF_ERROR_SIZE));
        /* The FID is big-endian on every machine. */
        assert_false(record_raw_valid(RECORD_CCDF, FIXTURE_FID << 24, raw, CCDF_ERROR_SIZE));
        assert_false(record_raw_valid(RECORD_NONE, FIXTURE_FID, raw, CCDF_ERROR_SIZE));
        assert_false(record_raw_valid(_RECORD_INTERFACE_MAX, FIXTURE_FID, raw, CCDF_ERROR_SIZE));
}

static void test_valid_packed(void **state) {
        Record record = packed_record();

        assert_true(record_raw_valid(RECORD_PACKED, FIXTURE_FID, record.raw, RECORD_PACKED_SIZE));
        assert_true(record_raw_valid(RECORD_PACKED, FIXTURE_FID, record.raw, RECORD_RAW_SIZE));
        assert_false(
                record_raw_valid(RECORD_PACKED, FIXTURE_FID, record.raw, RECORD_PACKED_SIZE - 1));

        record.raw[0] = 0; /* no version */
        assert_false(record_raw_valid(RECORD_PACKED, FIXTURE_FID, record.raw, RECORD_PACKED_SIZE));

        record = packed_record();
        record.raw[2] = record.raw[3] = 0; /* no PEC */
        assert_false(record_raw_valid(RECORD_PACKED, FIXTURE_FID, record.raw, RECORD_PACKED_SIZE));

        record.raw[2] = 1; /* either byte of the PEC will do */
        assert_true(record_raw_valid(RECORD_PACKED, FIXTURE_FID, record.raw, RECORD_PACKED_SIZE));
        record.raw[2] = 0;
        record.raw[3] = 1;
        assert_true(record_raw_valid(RECORD_PACKED, FIXTURE_FID, record.raw, RECORD_PACKED_SIZE));
}

static void test_used(void **state) {
        uint8_t raw[RECORD_RAW_SIZE] = { [0] = RECORD_PACKED_VERSION, [2] = 2, [9] = 1 };

        assert_int_equal(record_raw_used(RECORD_NONE, raw, sizeof(raw)), 0);
        assert_int_equal(record_raw_used(RECORD_CCDF, raw, CCDF_ERROR_SIZE), CCDF_ERROR_SIZE);
        assert_int_equal(record_raw_used(RECORD_CCDF, raw, sizeof(raw)), sizeof(raw));

        assert_int_equal(record_raw_used(RECORD_PACKED, raw, sizeof(raw)), RECORD_PACKED_SIZE);
        assert_int_equal(record_raw_used(RECORD_PACKED, raw, 3), 3);
        raw[0] = 2;
        assert_int_equal(record_raw_used(RECORD_PACKED, raw, sizeof(raw)), 12);
        assert_int_equal(record_raw_used(RECORD_PACKED, raw, 10), 10);
        raw[9] = 0;
        assert_int_equal(record_raw_used(RECORD_PACKED, raw, sizeof(raw)), RECORD_PACKED_SIZE);
        raw[RECORD_RAW_SIZE - 1] = 1;
        assert_int_equal(record_raw_used(RECORD_PACKED, raw, sizeof(raw)), sizeof(raw));
}

static void test_names(void **state) {
        assert_string_equal(record_source_to_string(RECORD_VFIO), "vfio");
        assert_string_equal(record_source_to_string(RECORD_WITNESS), "witness");
        assert_string_equal(record_source_to_string(RECORD_KMSG), "kmsg");
        assert_string_equal(record_source_to_string(RECORD_UEVENT), "uevent");
        assert_null(record_source_to_string(0));
        assert_null(record_source_to_string(_RECORD_SOURCE_MAX));
        assert_null(record_source_to_string((RecordSource) -1));

        assert_string_equal(record_recovery_to_string(RECOVERY_NONE), "none");
        assert_string_equal(record_recovery_to_string(RECOVERY_IN_PROGRESS), "in-progress");
        assert_string_equal(record_recovery_to_string(RECOVERY_RECOVERED), "recovered");
        assert_string_equal(record_recovery_to_string(RECOVERY_FAILED), "failed");
        assert_string_equal(record_recovery_to_string(RECOVERY_LEFT_TO_HOLDER), "left-to-holder");
        assert_null(record_recovery_to_string(_RECORD_RECOVERY_MAX));

        assert_string_equal(record_interface_to_string(RECORD_NONE), "none");
        assert_string_equal(record_interface_to_string(RECORD_CCDF), "ccdf");
        assert_string_equal(record_interface_to_string(RECORD_PACKED), "packed");
        assert_null(record_interface_to_string(_RECORD_INTERFACE_MAX));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_layout),     cmocka_unit_test(test_pec),
                cmocka_unit_test(test_ccdf),       cmocka_unit_test(test_pending),
                cmocka_unit_test(test_valid_ccdf), cmocka_unit_test(test_valid_packed),
                cmocka_unit_test(test_used),       cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
