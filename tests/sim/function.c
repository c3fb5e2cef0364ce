/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "controller.h"
#include "device.h"
#include "tree.h"

int function_uevent(Controller *c, const SimFunction *f, const char *action, const char *more) {
        char devpath[128], properties[7168];

        tree_devpath(f, devpath);
        tree_properties(&c->sim, f, properties, sizeof(properties));
        snprintf(properties + strlen(properties),
                 sizeof(properties) - strlen(properties),
                 "%s",
                 more);
        return uevents_send(c->uevents, action, devpath, "pci", properties);
}

/* The events of the VFIO device and its group. */
static void vfio_uevents(Controller *c, const SimFunction *f, const char *action) {
        char devpath[128], path[192], node[256];

        tree_devpath(f, devpath);
        snprintf(path, sizeof(path), "%s/vfio-dev/vfio%d", devpath, f->vfio_index);
        snprintf(
                node,
                sizeof(node),
                "DEVNAME=/dev/vfio/devices/vfio%d\nMAJOR=244\nMINOR=%d\nUSEC_INITIALIZED=1000000\n",
                f->vfio_index,
                f->vfio_index);
        uevents_send(c->uevents,
                     action,
                     path,
                     "vfio-dev",
                     f->set.path & SIM_PATH_CDEV ? node : "USEC_INITIALIZED=1000000\n");

        if (!(f->set.path & SIM_PATH_GROUP))
                return;
        snprintf(path, sizeof(path), "/devices/virtual/vfio/%u", f->group);
        snprintf(node,
                 sizeof(node),
                 "DEVNAME=/dev/vfio/%u\nMAJOR=243\nMINOR=%u\nUSEC_INITIALIZED=1000000\n",
                 f->group,
                 f->group);
        uevents_send(c->uevents, action, path, "vfio", node);
}

int function_add(Controller *c, const SimFunction *wanted, SimFunction **ret) {
        SimFunction *f = NULL;
        int r;

        for (unsigned i = 0; i < SIM_FUNCTIONS && !f; i++)
                if (!c->sim.state->functions[i].used)
                        f = c->sim.state->functions + i;
        if (!f)
                return -ENOSPC;

        sim_lock(&c->sim);
        *f = *wanted;
        f->used = true;
        f->vfio_index = -1;
        sim_unlock(&c->sim);
        r = tree_add(&c->sim, f);
        if (r < 0)
                return r;
        *ret = f;
        return function_uevent(c, f, "add", "");
}

static int lowest_vfio_index(const Controller *c) {
        for (int index = 0;; index++) {
                bool taken = false;

                for (unsigned i = 0; i < SIM_FUNCTIONS && !taken; i++)
                        taken = c->sim.state->functions[i].used &&
                                c->sim.state->functions[i].vfio_index == index;
                if (!taken)
                        return index;
        }
}

int function_bind(Controller *c, SimFunction *f, const char *driver) {
        int r;

        if (*f->driver)
                return -EBUSY;
        if (strlen(driver) >= sizeof(f->driver))
                return -ENAMETOOLONG;

        /* The inodes go into the function one by one: nobody knows the nodes before. */
        memcpy(f->driver, driver, strlen(driver) + 1);
        if (tree_is_vfio(driver))
                f->vfio_index = lowest_vfio_index(c);
        f->frozen = f->permanent; /* a driver that takes over starts with a reset */
        r = tree_bind(&c->sim, f, c->world);
        if (r >= 0 && tree_is_vfio(driver))
                r = kernel_watch(c, f);
        if (r < 0)
                return r;
        if (tree_is_vfio(driver))
                vfio_uevents(c, f, "add");
        return function_uevent(c, f, "bind", "");
}

/* The kernel takes the nodes away first, so that nobody opens them any more, and asks the holder then. */
int function_unbind_begin(Controller *c, SimFunction *f) {
        Slot *slot = c->slots + sim_slot(&c->sim, f);

        if (!*f->driver)
                return -ENODEV;
        if (f->leaving)
                return -EALREADY;
        f->leaving = true;
        if (f->vfio_index < 0)
                return 0;

        tree_unregister(&c->sim, f);
        vfio_uevents(c, f, "remove");
        kernel_reap(c, f);
        if (f->open != SIM_OPEN_NO)
                kernel_signal(c, f, IRQ_REQ, 1);
        if (slot->hold_obeys)
                function_unhold(c, f);
        return 0;
}

bool function_unbind_ready(Controller *c, SimFunction *f) {
        kernel_reap(c, f);
        return f->open == SIM_OPEN_NO && sim_now() >= f->closing_until;
}

void function_unbind_finish(Controller *c, SimFunction *f) {
        function_unhold(c, f); /* a group without a device */
        kernel_unwatch(c, f);

        sim_lock(&c->sim);
        memset(f->ino, 0, sizeof(f->ino));
        f->vfio_index = -1;
        f->group_open = false;
        f->container = 0;
        f->leaving = false;
        sim_unlock(&c->sim);

        tree_unbind(&c->sim, f);
        function_uevent(c, f, "unbind", "");
}

void function_remove(Controller *c, SimFunction *f) {
        char devpath[128], properties[7168];

        /* As in the kernel, the attributes are gone when the event comes. */
        tree_devpath(f, devpath);
        tree_properties(&c->sim, f, properties, sizeof(properties));
        tree_remove(&c->sim, f);
        uevents_send(c->uevents, "remove", devpath, "pci", properties);
        f->used = false;
}

void function_vanish(Controller *c, SimFunction *f) {
        sim_lock(&c->sim);
        f->open = SIM_OPEN_NO;
        memset(f->ino, 0, sizeof(f->ino));
        sim_unlock(&c->sim);

        if (f->vfio_index >= 0 && !f->leaving) {
                tree_unregister(&c->sim, f);
                vfio_uevents(c, f, "remove");
        }
        if (*f->driver)
                function_unbind_finish(c, f);
        function_remove(c, f);
}

static int open_below(Controller *c, const char *path) {
        char full[PATH_MAX];
        int fd;

        snprintf(full, sizeof(full), "%s%s", c->sim.dir, path);
        fd = open(full, O_RDWR | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int hold(Controller *c, SimFunction *f, Slot *slot) {
        bool group = f->set.path & SIM_PATH_GROUP;
        char path[64];
        uint64_t until;
        int r = 0;

        if (group) {
                snprintf(path, sizeof(path), "/dev/vfio/%u", f->group);
                slot->held_group = open_below(c, path);
                snprintf(path, sizeof(path), "/sim/device/%u", sim_slot(&c->sim, f));
        } else
                snprintf(path, sizeof(path), "/dev/vfio/devices/vfio%d", f->vfio_index);
        slot->held_device = open_below(c, path);
        if (slot->held_device < 0)
                return slot->held_device;

        sim_lock(&c->sim);
        if (group)
                r = sim_group_open(&c->sim, f, slot->held_group);
        if (r == 0)
                r = sim_device_open(&c->sim,
                                    f,
                                    group ? SIM_OPEN_GROUP : SIM_OPEN_CDEV,
                                    slot->held_device,
                                    &until);
        sim_unlock(&c->sim);
        return r;
}

int function_hold(Controller *c, SimFunction *f, bool obeys) {
        Slot *slot = c->slots + sim_slot(&c->sim, f);
        int r;

        if (slot->held_device >= 0)
                return -EALREADY;
        if (f->vfio_index < 0)
                return -ENODEV;
        kernel_reap(c, f);
        slot->hold_obeys = obeys;
        r = hold(c, f, slot);
        if (r < 0)
                function_unhold(c, f);
        return r;
}

int function_unhold(Controller *c, SimFunction *f) {
        Slot *slot = c->slots + sim_slot(&c->sim, f);

        if (slot->held_device < 0 && slot->held_group < 0)
                return -ENOENT;
        if (slot->held_device >= 0)
                close(slot->held_device);
        if (slot->held_group >= 0)
                close(slot->held_group);
        slot->held_device = slot->held_group = -EBADF;
        slot->hold_obeys = false;
        kernel_reap(c, f);
        return 0;
}
