/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The service manager's fd store: what must survive the process (sd_pid_notify_with_fds(3),
 * FDSTORE=1). Without a service manager, or without FileDescriptorStoreMax= in the unit, nothing
 * survives and all else works.
 */

#include "util.h"

#define FDSTORE_RING "ring"

typedef struct FdStore FdStore;

/*
 * Takes over what the service manager kept for us. To be called once, before anything else opens
 * fds. Returns 0 or a negative errno.
 */
int fdstore_open(FdStore **ret);
/*
 * Closes what nobody took, and removes it from the store: names of another version, or duplicates.
 */
FdStore *fdstore_free(FdStore *store);
DEFINE_TRIVIAL_CLEANUP_FUNC(FdStore *, fdstore_free);

/* The fd of that name, which is the caller's from now on. -ENOENT if there is none (any more). */
int fdstore_take(FdStore *store, const char *name);

/* Makes the service manager forget whatever has this name. Returns as fdstore_put(). */
int fdstore_remove(const char *name);

/*
 * Gives a duplicate of fd to the store. Returns 1, 0 if there is no service manager, or a negative
 * errno.
 */
int fdstore_put(const char *name, int fd);
