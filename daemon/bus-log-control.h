/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The object /org/freedesktop/LogControl1, see org.freedesktop.LogControl1(5) and systemctl(1),
 * service-log-level.
 */

#include <systemd/sd-bus.h>

#include "log.h"

/*
 * Adds the object to a connection, for its life. log must outlive it. Returns 0 or an error of
 * sd-bus.
 */
int bus_log_control_add(sd_bus *connection, Log *log);
