/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The controller: the side of the simulated kernel that is not any client's. One thread, one event loop. */

#include <systemd/sd-event.h>

#include "kmsg.h"
#include "state.h"
#include "uevent.h"

enum {
        IRQ_ERR,
        IRQ_REQ,
        _IRQ_MAX,
};

typedef struct Control Control;

/* What the controller itself keeps of a function. All fds are negative if there is none. */
typedef struct Slot {
        int look[SIM_NODE_DEVICE + 1]; /* opens of the nodes, to look whether anybody holds them */
        int irq[_IRQ_MAX];             /* the clients' eventfds */
        int held_group, held_device;   /* of the command "hold" */
        bool hold_obeys;               /* that holder lets go when it is asked to */
} Slot;

typedef struct Controller {
        sd_event *event;
        Sim sim;
        Uevents *uevents;
        Kmsg *kmsg;
        Control *control;
        bool world;
        int inotify;
        int kernel; /* listening socket of the clients' requests */
        Slot slots[SIM_FUNCTIONS];
} Controller;

/* kernel.c: requests of the clients, and who holds what. */
int kernel_start(Controller *c);

/* Looks whether the holders of the function are gone; if its device was open till now, does what the
 * kernel does at the last close. */
void kernel_reap(Controller *c, SimFunction *f);

/* Opens the fds that kernel_reap() looks with. */
int kernel_watch(Controller *c, SimFunction *f);
void kernel_unwatch(Controller *c, SimFunction *f);

/* Signals the client's eventfd, 'count' times. Returns false if there is none. */
bool kernel_signal(Controller *c, SimFunction *f, unsigned irq, uint64_t count);

/* function.c: life of the functions. Return 0 or a negative errno. */
int function_add(Controller *c, const SimFunction *wanted, SimFunction **ret);
int function_bind(Controller *c, SimFunction *f, const char *driver);

/* An unbind in two parts: between them the kernel waits until the device is closed. */
int function_unbind_begin(Controller *c, SimFunction *f);
bool function_unbind_ready(Controller *c, SimFunction *f);
void function_unbind_finish(Controller *c, SimFunction *f);
void function_remove(Controller *c, SimFunction *f);

/* Gone at once, whoever holds it. */
void function_vanish(Controller *c, SimFunction *f);

/* Holds the device as a virtual machine would; 'obeys' when it is asked to let go. */
int function_hold(Controller *c, SimFunction *f, bool obeys);
int function_unhold(Controller *c, SimFunction *f);

/* Sends a uevent of the PCI function, with further "KEY=VALUE\n" lines. */
int function_uevent(Controller *c, const SimFunction *f, const char *action, const char *more);

/* control.c: the line protocol. */
int control_start(Controller *c);
Control *control_free(Control *control);
