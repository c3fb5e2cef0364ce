/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The objects /org/zpci/Errord1/function/<FID>: org.zpci.Errord1.Function, one for each function
 * of the registry.
 */

#include <systemd/sd-bus.h>

#include "bus-model.h"
#include "names.h"

#define BUS_FUNCTION_PATH_SIZE (sizeof(ERRORD_FUNCTION_PREFIX "/00000000"))

/* The path of the object of a FID. */
void bus_function_path(uint32_t fid, char ret[static BUS_FUNCTION_PATH_SIZE]);

/* The function whose object this is, NULL if there is none. */
Function *bus_function_of_path(const BusModel *model, const char *path);

/*
 * Adds the objects to a connection, for its life. model must outlive it. Returns 0 or an error of
 * sd-bus.
 */
int bus_function_add(sd_bus *connection, BusModel *model);

/*
 * Signals about the object of a function that is in the registry. These return 0 or an error of
 * sd-bus; -ENOTCONN or -ECONNRESET if there is no connection any more.
 */
int bus_function_emit_added(sd_bus *connection, const Function *function);
int bus_function_emit_removed(sd_bus *connection, const Function *function);
int bus_function_emit_changed(sd_bus *connection, const Function *function, FunctionChange what);
