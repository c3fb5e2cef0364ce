/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The life of one simulated VFIO device, as the kernel would run it: open, error, reset, close. Used by
 * the preload library (in the client) and by the controller. Unless said otherwise the caller holds the
 * lock, and functions return 0 or a negative errno. Whatever takes time returns at once and says until
 * when: the caller sleeps, without the lock. */

#include "state.h"

typedef struct SimRef {
        SimNode node;
        unsigned slot;
        uint64_t ino;
} SimRef;

/* Says which node of the testbed an fd is, by what fstat says of it: right for any duplicate in any
 * process. Returns false for all other files. Needs no lock. */
bool sim_identify(const Sim *sim, int fd, SimRef *ret);

/* The same for a path. */
bool sim_identify_path(const Sim *sim, const char *path, SimRef *ret);

/* The function that a node belongs to, or NULL if that is gone. */
SimFunction *sim_ref_function(Sim *sim, const SimRef *ref);

/* One word that all duplicates of an fd share (it is the file offset): which open of the function, or
 * which container, it stands for. */
uint64_t sim_fd_word(int fd);
int sim_fd_set_word(int fd, uint64_t word);

/* Marks the open file as held: lasts until its last duplicate is closed, in whatever process. */
int sim_fd_hold(int fd, bool shared);

/* Whether anybody holds this file, other than through this very open. */
bool sim_fd_is_held(int fd);

/* Open of the group: 'fd' is a fresh open of its node. -EBUSY if it is held. */
int sim_group_open(Sim *sim, SimFunction *f, int fd);

/* Open of the device: 'fd' is a fresh open of its file (group) or the client's (cdev). */
int sim_device_open(Sim *sim, SimFunction *f, SimOpen how, int fd, uint64_t *ret_until);
int sim_device_reset(SimFunction *f, uint64_t *ret_until);

/* The last duplicate was closed. */
void sim_device_release(SimFunction *f);

bool sim_device_frozen(SimFunction *f);

typedef enum SimVerdict {
        SIM_VERDICT_QUEUED,  /* held: queued, or dropped because the queue is full; signalled */
        SIM_VERDICT_KERNEL,  /* not held: the kernel recovers */
        SIM_VERDICT_LOGGED,  /* measurement event: kernel log only */
        SIM_VERDICT_NOTHING, /* in the error state already: nothing happens at all */
} SimVerdict;

/* The platform reports an error. 'force' also if the function is in the error state. */
SimVerdict sim_device_error(SimFunction *f, const uint8_t record[static SIM_RECORD], bool force);

static inline uint32_t sim_device_pending(const SimFunction *f) {
        return f->n_queued - f->n_taken;
}

/*
 * The oldest record, NULL if there is none; and takes it out. A kernel does both, and copies it to
 * the reader in between, in one go: no signal ends a process amid that. So here the record is
 * copied by the very last instructions before it is taken out, and is never lost with its reader.
 */
const uint8_t *sim_device_oldest(const SimFunction *f);
void sim_device_take(SimFunction *f);
