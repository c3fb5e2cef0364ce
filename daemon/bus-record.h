/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An entry of the ring in terms of the bus. */

#include <systemd/sd-bus.h>

#include "ring.h"

/*
 * An error as ErrorReported and GetRecords say it: address, fid, pec, name, severity, sequence,
 * realtime_usec, details.
 */
#define BUS_RECORD_TYPES "suqsstta{sv}"

#define BUS_STREAM_SIZE (2U * RING_STREAM_SIZE + 1U)

/* The stream id as 32 lower-case hexadecimal digits, and a zero byte. */
void bus_stream_id(const Ring *ring, char ret[static BUS_STREAM_SIZE]);

/*
 * The address of an entry. An entry may come from a former run: a text that is no PCI address is
 * not sent (the bus would disconnect whoever sends invalid UTF-8), but the empty one in its
 * place.
 */
const char *bus_record_address(const Record *record);

/* Appends a RECORD_ERROR. stream is from bus_stream_id(). Returns 0 or an error of sd-bus. */
int bus_record_append(sd_bus_message *message, const Record *record, const char *stream);
