/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "context.h"

/*
 * Starts pkttyagent(1), so that polkit can ask on this terminal for a password. Does nothing where
 * there is nobody to ask or no need to: without a terminal, as root, on another machine, or if
 * there is one already. Failures show later, by what polkit says.
 */
void agent_open(Context *context);

/* Ends it. The terminal is as it was. */
void agent_close(Context *context);
