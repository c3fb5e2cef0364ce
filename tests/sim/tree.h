/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The part of sysfs, /dev and udev's database that a function shows. Return 0 or a negative errno. */

#include "state.h"

/* The folders and nodes that are there without any function. 'kmsg': with /dev/kmsg. */
int tree_init(Sim *sim, bool world, bool kmsg);

/* The PCI device with its IOMMU group, with no driver. */
int tree_add(Sim *sim, SimFunction *f);
void tree_remove(Sim *sim, SimFunction *f);

/* The driver link; for VFIO drivers also the vfio-dev and vfio devices and the nodes, whose inodes go into f->ino. */
int tree_bind(Sim *sim, SimFunction *f, bool world);
void tree_unbind(Sim *sim, SimFunction *f);

/* Removes the nodes and the vfio-dev child only, as the kernel does at the start of an unbind. */
void tree_unregister(Sim *sim, SimFunction *f);

/* Sets an attribute file of the function, or removes it (value NULL). */
int tree_attribute(
        Sim *sim, const SimFunction *f, const char *name, const void *value, size_t size);

/* Sets or (value NULL) removes a property in udev's database. */
int tree_property(Sim *sim, const SimFunction *f, const char *key, const char *value);

/* DEVPATH of the PCI device. */
void tree_devpath(const SimFunction *f, char ret[static 128]);

/* The lines of the uevent file and of udev's database, as events carry them. */
void tree_properties(Sim *sim, const SimFunction *f, char *ret, size_t size);

/* Whether this driver is a VFIO one. */
bool tree_is_vfio(const char *driver);
