/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The client's side of the simulated kernel: what open and ioctl of a VFIO node do. Structures are
 * written by byte offset, from the kernel's documentation, so that the simulator checks the daemon's
 * headers instead of sharing their mistakes. All return a negative errno on failure. */

#include <stdbool.h>
#include <stdint.h>

#include "device.h"

/* Opens "/dev/<...>" of the testbed. Returns the fd. */
int sim_vfio_open(Sim *sim, const char *path, int flags);

/* Answers any ioctl of VFIO on a node of the testbed. Returns its result. */
int sim_vfio_ioctl(Sim *sim, int fd, const SimRef *ref, unsigned long request, void *arg);

/* VFIO_DEVICE_GET_INFO, VFIO_DEVICE_FEATURE, VFIO_DEVICE_SET_IRQS and VFIO_DEVICE_GET_IRQ_INFO. */
int sim_vfio_info(Sim *sim, SimFunction *f, uint8_t *arg);
int sim_vfio_feature(Sim *sim, SimFunction *f, uint8_t *arg);
int sim_vfio_set_irqs(Sim *sim, SimFunction *f, const uint8_t *arg);
int sim_vfio_irq_info(const SimFunction *f, uint8_t *arg);

/* Called after a close of an fd of the node 'ref': if it was the last one, waits for what that does. */
void sim_vfio_closed(Sim *sim, const SimRef *ref);

static inline uint32_t get_u32(const uint8_t *p) {
        uint32_t v;

        __builtin_memcpy(&v, p, sizeof(v));
        return v;
}

static inline void put_u16(uint8_t *p, uint16_t v) {
        __builtin_memcpy(p, &v, sizeof(v));
}

static inline void put_u32(uint8_t *p, uint32_t v) {
        __builtin_memcpy(p, &v, sizeof(v));
}

static inline void put_u64(uint8_t *p, uint64_t v) {
        __builtin_memcpy(p, &v, sizeof(v));
}
