/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The methods of org.zpci.Errord1.Function: Claim(), Release() and Reset(). Handlers of sd-bus, of a
 * vtable that was added with the BusModel. Their userdata, the function, is not what they use: it
 * may be gone when they are allowed to.
 */

#include <systemd/sd-bus.h>

int bus_call_claim(sd_bus_message *call, void *userdata, sd_bus_error *ret_error);
int bus_call_release(sd_bus_message *call, void *userdata, sd_bus_error *ret_error);
int bus_call_reset(sd_bus_message *call, void *userdata, sd_bus_error *ret_error);
