/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The object /org/zpci/Errord1: org.zpci.Errord1.Manager, and the ObjectManager of the functions.
 */

#include <systemd/sd-bus.h>

#include "bus-model.h"

/*
 * Adds the object to a connection, for its life. model must outlive it. Returns 0 or an error of
 * sd-bus.
 */
int bus_manager_add(sd_bus *connection, BusModel *model);
