/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of fdstore.c share, and nobody else sees. */

#include "fdstore.h"
#include "service-manager.h"

/* Somebody may be waiting for a device that the store has. */
#define PRIORITY_SYNC SD_EVENT_PRIORITY_IMPORTANT

typedef struct FdStoreEntry FdStoreEntry;
struct FdStoreEntry {
        char name[FDSTORE_NAME_SIZE];
        int fd;      /* what was kept and is not taken yet, or what is to be given */
        bool stored; /* the service manager has it */
        bool remove; /* … is to be told to forget it, before … */
        bool put;    /* … it is to be given fd */
        bool hangup;
        FdStoreEntry *next;
};

/* Those who wait together. */
typedef struct FdStoreRound {
        FdStoreSync *syncs;       /* the oldest first */
        sd_event_source *timeout; /* runs from the first of them on */
} FdStoreRound;

struct FdStore {
        sd_event *event;
        FdStoreListener listener;
        ServiceManager manager;
        uint64_t max;              /* fds that it keeps */
        bool failed;               /* the listener was told */
        FdStoreEntry *entries;     /* the oldest first */
        sd_event_source *writable; /* owns a socket; there while the service manager's is full */
        sd_event_source *shortage; /* runs while memory or fds are short */

        FdStoreRound waiting;      /* for the next barrier */
        FdStoreRound under_way;    /* for this one */
        sd_event_source *barrier;  /* owns a pipe; there while a barrier is under way */
        sd_event_source *deferred; /* answers when nobody else does */
};

/*
 * Tells the service manager something. Returns 0, -EAGAIN if it has no room, or we have no memory:
 * then all that is not said yet is said later; or another error, of which the listener knows.
 */
int fdstore_send(FdStore *store, const char *text, int fd);
/*
 * Something failed with this error. If that passes, comes back and returns -EAGAIN; otherwise returns
 * the error.
 */
int fdstore_retry(FdStore *store, int error);
/* Says all that is not said yet, as far as there is room. */
void fdstore_flush(FdStore *store);

/* fdstore-sync.c */

/* Returns 0 or an error of sd-event; fdstore_free_syncs() is needed in any case. */
int fdstore_new_syncs(FdStore *store);
void fdstore_free_syncs(FdStore *store);
/* All else is said: asks to be told once it is done, if somebody waits for that. */
void fdstore_begin_barrier(FdStore *store);
