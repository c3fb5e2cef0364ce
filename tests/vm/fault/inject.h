/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "device.h"

/* Makes a real error of the function, and waits until the kernel leaves the rest to whoever holds it. pec: 2 (DMA below
 * the aperture) or 4 (inside it, not mapped). nth: another number is another address. Returns the address at which the
 * DMA fails. */
uint64_t inject_error(const struct device *device, unsigned pec, unsigned nth);
