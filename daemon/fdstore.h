/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The service manager's fd store: what must survive the process (sd_pid_notify_with_fds(3),
 * FDSTORE=1). Without a service manager, or without FileDescriptorStoreMax= in the unit, nothing
 * survives and all else works.
 *
 * An fd has a name, and a name one fd. Nothing here blocks: what is to be said to the service
 * manager waits until it listens, in order for each name, and of new names in their order.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "util.h"

#define FDSTORE_RING     "ring"
#define FDSTORE_HANDOVER "handover"

/* The longest name, with its end (sd_notify(3), FDNAME=). */
#define FDSTORE_NAME_SIZE 256U

typedef struct FdStore FdStore;

/* Whom to tell once the service manager did what it was told before. Part of its owner. */
typedef struct FdStoreSync FdStoreSync;
struct FdStoreSync {
        /* From the event loop, exactly once. */
        void (*done)(FdStoreSync *sync);
        FdStoreSync *next; /* the store's until then */
};

typedef struct FdStoreListener {
        /* The service manager cannot be told what to keep. Once, until it can again. */
        void (*failed)(int error, void *userdata);
        void *userdata;
} FdStoreListener;

/*
 * Takes over what the service manager kept for us. To be called once, before anything else opens
 * fds. *listener is copied. Returns 0, -ENOMEM, -EINVAL if $NOTIFY_SOCKET is no address, or an error
 * of sd-event or sd_listen_fds(3).
 */
int fdstore_new(sd_event *event, const FdStoreListener *listener, FdStore **ret);
/* Closes our fds. What the service manager has, it keeps. */
FdStore *fdstore_free(FdStore *store);
DEFINE_TRIVIAL_CLEANUP_FUNC(FdStore *, fdstore_free);

/*
 * The fd of that name, which is the caller's from now on; the service manager keeps its own.
 * -ENOENT if there is none (any more).
 */
int fdstore_take(FdStore *store, const char *name);
/*
 * Closes what nobody took, and has the service manager forget it: names of another version,
 * duplicates, and what belonged to something that is not there any more.
 */
void fdstore_settle(FdStore *store);

/*
 * Gives a duplicate of fd to the service manager, instead of what it may have under that name. If
 * hangup, it forgets the fd by itself on EPOLLHUP or EPOLLERR. Returns 0, -ENOMEM, -EXFULL if the
 * service manager has no room (and says in $FDSTORE how much it has, as systemd does from 254 on),
 * or an error of fcntl(2): then the name is not kept.
 */
int fdstore_put(FdStore *store, const char *name, int fd, bool hangup);
/* Has the service manager forget the fd of that name, if it has one. Cannot fail. */
void fdstore_remove(FdStore *store, const char *name);
/* Whether the service manager has an fd of that name, or will have. */
bool fdstore_has(const FdStore *store, const char *name);

/*
 * Calls back after the service manager did all that it was told until now, its closing of fds
 * included; or within five seconds, if it does not listen or answer.
 */
void fdstore_sync(FdStore *store, FdStoreSync *sync);
