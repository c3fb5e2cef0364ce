/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a client asks of the controller: little, because the rest of the device is in shared memory. */

#include <stdint.h>

#include "state.h"

typedef enum SimRequestKind {
        SIM_REQUEST_REAP, /* look whether the holders of this function are gone */
        SIM_REQUEST_IRQ,  /* an eventfd comes along: signal it from now on */
        SIM_REQUEST_IRQ_OFF,
        SIM_REQUEST_IRQ_LOOPBACK, /* signal it once */
        SIM_REQUEST_KMSG, /* this connection is a reader of /dev/kmsg from now on; no answer */
} SimRequestKind;

typedef struct SimRequest {
        uint32_t kind;
        uint32_t slot;
        uint32_t index; /* VFIO_PCI_ERR_IRQ_INDEX or VFIO_PCI_REQ_IRQ_INDEX */
        uint32_t reserved;
        uint64_t generation;
} SimRequest;

typedef struct SimReply {
        int32_t error; /* 0 or a negative errno */
        uint32_t reserved;
        uint64_t until; /* a last close that was found runs until then, 0: none */
} SimReply;

/* A kernel-log connection carries records, and these single bytes: from the client, where to go on, or that it has
 * found no record; from the controller, that it goes on there, that there is none indeed, and that records were
 * overwritten before they were read. */
#define SIM_KMSG_SEEK_FIRST '\1'
#define SIM_KMSG_SEEK_END   '\2'
#define SIM_KMSG_SOUGHT     '\3'
#define SIM_KMSG_OVERRUN    '\4'
#define SIM_KMSG_EMPTY      '\5'

/* Connects to the controller. Returns the fd or a negative errno. */
int sim_rpc_connect(const Sim *sim, int flags);

/* Sends one request, with 'fd' if that is not negative, and waits for the answer. */
int sim_rpc(const Sim *sim, const SimRequest *request, int fd, SimReply *ret);
