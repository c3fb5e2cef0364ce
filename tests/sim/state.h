/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the simulator's controller and every process that loads its preload library share: one mapped
 * file that plays the kernel's memory. Nothing in it is a pointer, and nothing in it has to be cleaned
 * up when a process dies: locks of the kernel are points in time, and who holds a device is told by a
 * lock on the open file description, which the (real) kernel drops with its last duplicate. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_VERSION     1U
#define SIM_FUNCTIONS   1024U
#define SIM_CONTAINERS  65536U
#define SIM_QUEUE       4U  /* what the kernel keeps per function */
#define SIM_RECORD      32U /* bytes of a CCDF error record today */
#define SIM_PEC_PERMERR 0x3bU
#define SIM_PEC_FAILED  0x40U
#define SIM_GROUP_MAJOR 243U
#define SIM_CDEV_MAJOR  244U

typedef enum SimNode {
        SIM_NODE_GROUP,  /* /dev/vfio/<group> */
        SIM_NODE_CDEV,   /* /dev/vfio/devices/vfio<N> */
        SIM_NODE_DEVICE, /* what VFIO_GROUP_GET_DEVICE_FD gives: has no path in /dev */
        SIM_NODE_CONTAINER,
        SIM_NODE_IOMMU,
        _SIM_NODE_MAX,
} SimNode;

typedef enum SimPath {
        SIM_PATH_GROUP = 1 << 0,
        SIM_PATH_CDEV = 1 << 1,
} SimPath;

typedef enum SimUapi {
        SIM_UAPI_CCDF,       /* Linux 7.3 */
        SIM_UAPI_V13,        /* the proposal: nothing pending is an empty answer */
        SIM_UAPI_V13_ENOMSG, /* the proposal as its reviewer asked */
        SIM_UAPI_V13_REV2,   /* a later revision with a longer payload */
        SIM_UAPI_NONE,
} SimUapi;

typedef enum SimCaps {
        SIM_CAPS_NORMAL,
        SIM_CAPS_LOOP,    /* the last capability points back to the first */
        SIM_CAPS_OUTSIDE, /* the first one points behind the structure */
        SIM_CAPS_SHORT,   /* the structure ends in the middle of the first one */
        SIM_CAPS_NONE,
} SimCaps;

typedef enum SimOpen {
        SIM_OPEN_NO,
        SIM_OPEN_GROUP,
        SIM_OPEN_CDEV,
} SimOpen;

/* What a test asks of a function; all of it may change at any time. */
typedef struct SimSettings {
        uint32_t path; /* SimPath bits: which nodes the function gets when it is bound */
        uint32_t uapi;
        uint32_t caps;
        uint32_t base_version; /* of the ZPCI_BASE capability; 0 = as the uAPI has it */
        uint32_t err_length;   /* ccdf_err_length */
        uint32_t get_errno, open_errno, reset_errno;
        uint32_t open_ms, reset_ms, close_ms, get_ms;
        uint32_t eagain_ms;   /* how long the kernel handles an error after it signalled it */
        uint32_t err_irq;     /* 0: SET_IRQS refuses the ERR index, as kernels before 7.3 do */
        uint32_t endless;     /* 1: there is always one more record */
        uint32_t recovery_ok; /* 0: the kernel's own recovery fails */
} SimSettings;

typedef struct SimFunction {
        uint32_t used;
        char address[16];
        char driver[32]; /* empty: none */
        uint32_t fid, fh, uid, group;
        int32_t vfio_index; /* of vfio<N>, -1 while not bound to VFIO */
        uint16_t pchid, vfn;
        uint8_t pfgid, pft;
        uint8_t zpci;    /* 0: a plain PCI function */
        uint8_t leaving; /* somebody unbinds it: nobody may open it any more */
        SimSettings set;

        uint64_t ino[_SIM_NODE_MAX]; /* 0: no such node */

        uint8_t group_open, open, frozen, permanent;
        uint8_t err_armed, req_armed;
        uint32_t container;        /* of the open group, 0: none */
        uint64_t group_generation; /* names one open of the group */
        uint64_t generation;       /* names one period of the device being open */

        /* CLOCK_MONOTONIC, ns */
        uint64_t locked_until;  /* the device's lock: open and reset only try it */
        uint64_t closing_until; /* the last close still runs */
        uint64_t thawed_at;     /* a reset under way ends the error state then, 0: none */
        uint64_t opened_at;     /* the open that is under way returns then */

        /* Since it was opened. One store takes a record out, whenever its reader may be killed. */
        uint32_t n_queued, n_taken;
        uint8_t queue[SIM_QUEUE][SIM_RECORD]; /* the oldest at n_taken % SIM_QUEUE */
        uint8_t last_record[SIM_RECORD];

        uint64_t opens, closes, resets, again, busy, errors, signals, records_read, dropped,
                close_resets_skipped;
} SimFunction;

typedef struct SimState {
        uint32_t version;
        uint32_t size;
        pthread_mutex_t mutex;         /* robust: a process may be killed at any time */
        uint64_t dev_major, dev_minor; /* of the file system the nodes are on */
        uint64_t iommu_ino, container_ino;
        uint32_t next_container;
        uint64_t next_generation;
        uint8_t container_iommu[SIM_CONTAINERS]; /* SET_IOMMU was called */
        SimFunction functions[SIM_FUNCTIONS];
} SimState;

typedef struct Sim {
        char *dir; /* the testbed: umockdev's root */
        SimState *state;
} Sim;

/* Makes the state file of the testbed 'dir' (mode as given) and maps it. Returns 0 or a negative errno. */
int sim_create(Sim *sim, const char *dir, unsigned mode);

/* Maps the state of an existing testbed. Returns 0 or a negative errno. */
int sim_attach(Sim *sim, const char *dir);

void sim_lock(Sim *sim);
void sim_unlock(Sim *sim);

uint64_t sim_now(void);
void sim_sleep_until(uint64_t when);

/* The function of this address, or NULL. Caller holds the lock. */
SimFunction *sim_find(Sim *sim, const char *address);

static inline unsigned sim_slot(const Sim *sim, const SimFunction *f) {
        return (unsigned) (f - sim->state->functions);
}

/* Nodes are told apart by the size of their (sparse) file, which is right in every process. */
static inline uint64_t sim_node_size(SimNode node, unsigned slot) {
        return ((uint64_t) node + 1) << 16 | slot;
}
