/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A VFIO device in memory, in place of daemon/vfio*.c: one function, and a kernel's queue of four. */

#include "vfio.h"

#define FAKE_QUEUE_LENGTH 4U

typedef struct FakeKernel {
        int open_error;   /* what vfio_open() returns */
        int reset_errors; /* how many times vfio_reset() answers EAGAIN, or … */
        int reset_error;  /* … what it returns otherwise */
        int read_error;   /* what vfio_read_error() returns */
        bool endless;     /* there is always one more record */
        bool spam;        /* whoever sees the queue empty is signalled again */
        bool unknown_revision;

        uint16_t queue[FAKE_QUEUE_LENGTH];
        unsigned n_queue;
        bool frozen;

        VfioDevice *device; /* while it is open */
        unsigned n_opens, n_closes, n_resets, n_taken_back;
        unsigned n_lost_by_close; /* records that were in the queue when it was closed */
} FakeKernel;

extern FakeKernel fake_kernel;

/* An error happens: queued or dropped, and signalled. */
void fake_error(uint16_t pec);
/* A device that somebody else opened, for vfio_attach(). */
VfioDevice *fake_owned(void);
/* The kernel asks for the device. */
void fake_request(void);
