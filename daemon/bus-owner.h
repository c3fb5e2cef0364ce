/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What ends an attachment without a word of its owner: that he leaves the bus, by whatever end. The
 * device of a guest that is dead is not kept open.
 */

#include <systemd/sd-bus.h>

#include "bus-model.h"

/*
 * A connection to the bus, for its life. Those owners of whom a former connection or run knew are
 * asked after, or are gone if this is another bus. Returns 0, or the error with which one of them
 * could not be asked after; the others were.
 */
int bus_owner_watch(sd_bus *connection, BusModel *model);
/*
 * Asks whether the owner of an attached function is still there, and learns when he leaves; then the
 * attachment ends. Returns 0 or an error of sd-bus: then nobody tells of his end on this connection.
 */
int bus_owner_ask(BusModel *model, sd_bus *connection, const Function *function);
/* All owners have left: there is no bus, or another one. */
void bus_owner_all_left(BusModel *model);
