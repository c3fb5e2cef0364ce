/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "device.h"

/* Has a virtio function fetch its first queue from an address that is not mapped. dma: where the queue is said to be,
 * page-aligned. Returns the address at which the fetch fails. */
uint64_t virtio_fault(const struct device *device, uint64_t dma);

/* The number of queues, read through the BAR: an answer shows that the function works. */
unsigned virtio_queues(const struct device *device);
