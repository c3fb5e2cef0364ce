/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Owners that have their VFIO devices drained: Attach() and Detach() of org.zpci.Errord1.Manager.
 * Handlers of sd-bus, whose userdata is the BusModel.
 */

#include <systemd/sd-bus.h>

#include "bus-model.h"

#define BUS_ATTACHMENTS_PER_USER 512U

int bus_call_attach(sd_bus_message *call, void *userdata, sd_bus_error *ret_error);
int bus_call_detach(sd_bus_message *call, void *userdata, sd_bus_error *ret_error);
