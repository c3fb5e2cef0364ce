/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "bus-record.h"
#include "pec.h"

void bus_stream_id(const Ring *ring, char ret[static BUS_STREAM_SIZE]) {
        assert(ring);

        ccdf_format(ring_stream_id(ring), RING_STREAM_SIZE, ret);
}

const char *bus_record_address(const Record *record) {
        const char *address;

        assert(record);

        address = record->identity.address;
        if (!memchr(address, 0, sizeof(record->identity.address)) || !pci_address_valid(address))
                return "";

        return address;
}

static int append_raw(sd_bus_message *m, const Record *record) {
        int r;

        if (record->interface == RECORD_NONE || record->raw_size == 0 ||
            record->raw_size > sizeof(record->raw))
                return 0;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r < 0)
                return r;

        r = sd_bus_message_append(m, "s", "Raw");
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(m, 'v', "ay");
        if (r < 0)
                return r;

        r = sd_bus_message_append_array(m, 'y', record->raw, record->raw_size);
        if (r < 0)
                return r;

        r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;

        return sd_bus_message_close_container(m);
}

static int append_ccdf(sd_bus_message *m, const Record *record) {
        CcdfError error;

        if (record_ccdf(record, &error) < 0) {
                if (record->identity.fh == 0)
                        return 0;

                return sd_bus_message_append(m, "{sv}", "FunctionHandle", "u", record->identity.fh);
        }

        /* clang-format off */
        return sd_bus_message_append(m,
                                     "{sv}{sv}{sv}{sv}{sv}{sv}{sv}",
                                     "FunctionHandle", "u", error.fh,
                                     "FailingAddress", "t", error.failing_address,
                                     "DmaAddressSpace", "y", error.dma_address_space,
                                     "MsiVector", "q", error.msi_vector,
                                     "ExpectedTableType", "y", error.expected_table_type,
                                     "Qualifier", "b", (int) error.qualifier,
                                     "ReadWrite", "b", (int) error.read_write);
        /* clang-format on */
}

static int append_details(sd_bus_message *m, const Record *record, const char *stream) {
        const char *source;
        uint8_t pending;
        int r;

        source = record_source_to_string(record->source);
        if (source) {
                r = sd_bus_message_append(m, "{sv}", "Source", "s", source);
                if (r < 0)
                        return r;
        }

        if (record->source == RECORD_WITNESS) {
                r = sd_bus_message_append(m, "{sv}", "Dropped", "b", record->dropped != 0);
                if (r < 0)
                        return r;
        }

        r = sd_bus_message_append(m, "{sv}", "StreamId", "s", stream);
        if (r < 0)
                return r;

        if (record_pending(record, &pending) >= 0) {
                r = sd_bus_message_append(m, "{sv}", "Pending", "y", pending);
                if (r < 0)
                        return r;
        }

        r = append_ccdf(m, record);
        if (r < 0)
                return r;

        return append_raw(m, record);
}

int bus_record_append(sd_bus_message *message, const Record *record, const char *stream) {
        Pec pec;
        int r;

        assert(message);
        assert(record);
        assert(stream);

        pec = pec_describe(record_pec(record));

        r = sd_bus_message_append(message,
                                  "suqsstt",
                                  bus_record_address(record),
                                  record->identity.fid,
                                  pec.code,
                                  pec.name,
                                  pec_severity_to_string(pec.severity),
                                  record->sequence,
                                  record->realtime_usec);
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r < 0)
                return r;

        r = append_details(message, record, stream);
        if (r < 0)
                return r;

        return sd_bus_message_close_container(message);
}
