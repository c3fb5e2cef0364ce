/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Emits every entry of the ring as a signal: a post source of the event loop with a cursor in the
 * ring.
 *
 * sd-bus keeps what the bus does not take in our own memory, which a crash would lose. So the
 * stored cursor moves only when its write queue is empty, and no more than BUS_PUMP_IN_FLIGHT
 * entries are ahead of the cursor. A connection that ends takes them along: the next one begins
 * at the cursor.
 */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "log.h"
#include "ring.h"

#define BUS_PUMP_IN_FLIGHT 64U

typedef struct BusPump BusPump;

/* ring and log must outlive it. Returns 0, -ENOMEM, or an error of sd-event. */
int bus_pump_new(sd_event *event, Ring *ring, Log *log, BusPump **ret);
BusPump *bus_pump_free(BusPump *pump);
DEFINE_TRIVIAL_CLEANUP_FUNC(BusPump *, bus_pump_free);

/*
 * The connection on which the name is ours, which must outlive its use; NULL while there is none.
 */
void bus_pump_set_connection(BusPump *pump, sd_bus *connection);

/*
 * Does what the post source does: emits as many entries as may be in flight. Returns how many
 * entries of the ring the bus has not got.
 */
uint64_t bus_pump_run(BusPump *pump);
