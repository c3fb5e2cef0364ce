/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The methods of org.zpci.Errord1.Manager about inhibitors. Handlers of sd-bus, whose userdata is
 * the BusModel.
 */

#include <systemd/sd-bus.h>

int bus_call_inhibit(sd_bus_message *call, void *userdata, sd_bus_error *ret_error);
int bus_call_list_inhibitors(sd_bus_message *call, void *userdata, sd_bus_error *ret_error);
