/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * All functions that have an object: the VFIO-bound zPCI functions that are not ignored, by FID and
 * by address.
 *
 * A FID that comes back at another address is removed and added. Another FID at the same address:
 * the old object goes first.
 */

#include "function.h"

typedef struct Registry Registry;

typedef struct RegistryListener {
        /* It is in the registry now. */
        void (*added)(Function *function, void *userdata);
        /*
         * It will leave the registry. now is what sysfs says of it, NULL if it is not there any
         * more.
         */
        void (*leaving)(Function *function, const SysfsFunction *now, void *userdata);
        /* It leaves the registry now: its device is closed, or another function takes its place. */
        void (*removing)(Function *function, void *userdata);
        void *userdata;
} RegistryListener;

/* context and listener must outlive it. Returns 0 or -ENOMEM. */
int registry_new(const FunctionContext *context, const RegistryListener *listener, Registry **ret);
Registry *registry_free(Registry *registry);
DEFINE_TRIVIAL_CLEANUP_FUNC(Registry *, registry_free);

/*
 * Goes on with the functions of a former run, as it knew them: what the service manager kept of
 * their devices is taken back, whatever has become of them. A scan has to follow, which corrects
 * them. Returns 0 or -ENOMEM.
 */
int registry_restore(Registry *registry, const Handover *handover);
/* sysfs says this of a zPCI function. Adds, corrects or removes it. Returns 0 or -ENOMEM. */
int registry_correct(Registry *registry, const SysfsFunction *sysfs);
/*
 * What sysfs says of the function at this address is wrong. One that is known stays as it was: what
 * was read of it before was right. Returns whether one is.
 */
bool registry_keep(Registry *registry, const char *address);
/* No zPCI function has this address. */
void registry_remove(Registry *registry, const char *address);
/*
 * The worker is done with something for this function, be it in the registry or not. One that is
 * leaving leaves now, if its device is closed.
 */
void registry_became_idle(Registry *registry, const Function *function);
/* What is neither corrected nor kept between these two is removed. */
void registry_scan_begin(Registry *registry);
void registry_scan_end(Registry *registry);

/* NULL if there is none. */
Function *registry_by_fid(const Registry *registry, uint32_t fid);
Function *registry_by_address(const Registry *registry, const char *address);

/* By the function handle that it has just now, whatever was known of it. */
Function *registry_by_handle(const Registry *registry, uint32_t fh);

size_t registry_size(const Registry *registry);
Function *registry_get(const Registry *registry, size_t index); /* in the order of FIDs */
