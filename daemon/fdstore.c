/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>

#include "fdstore.h"
#include "service-manager.h"

/* A service manager that stands still for this long is not waited for. */
#define SYNC_USEC (5 * USEC_PER_SEC)

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

struct FdStore {
        sd_event *event;
        FdStoreListener listener;
        ServiceManager manager;
        bool failed; /* the listener was told */
        FdStoreEntry *entries;
        sd_event_source *writable; /* owns a socket; there while the service manager's is full */
        sd_event_source *deferred; /* answers when nobody else does */
        sd_event_source *barrier;  /* owns a pipe; there while a barrier is under way */
        sd_event_source *timeout;
        FdStoreSync *waiting; /* for the next barrier */
        FdStoreSync *under_way;
};

static void fdstore_flush(FdStore *store);

static FdStoreEntry *fdstore_find(const FdStore *store, const char *name) {
        for (FdStoreEntry *entry = store->entries; entry; entry = entry->next)
                if (strcmp(entry->name, name) == 0)
                        return entry;
        return NULL;
}

static FdStoreEntry *fdstore_add(FdStore *store, const char *name) {
        FdStoreEntry *entry;

        entry = malloc(sizeof(*entry));
        if (!entry)
                return NULL;

        *entry = (FdStoreEntry){ .fd = -EBADF, .next = store->entries };
        (void) snprintf(entry->name, sizeof(entry->name), "%s", name);
        store->entries = entry;
        return entry;
}

/* Forgets the names with which nothing is going on. */
static void fdstore_sweep(FdStore *store) {
        for (FdStoreEntry **link = &store->entries; *link;) {
                FdStoreEntry *entry = *link;

                if (entry->stored || entry->remove || entry->put) {
                        link = &entry->next;
                        continue;
                }
                *link = entry->next;
                (void) safe_close(entry->fd);
                free(entry);
        }
}

static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FdStore *store = userdata;

        assert(store);

        store->writable = sd_event_source_disable_unref(store->writable);
        fdstore_flush(store);
        return 0;
}

static void fdstore_say(FdStore *store, int error) {
        if (error < 0 && !store->failed)
                store->listener.failed(error, store->listener.userdata);
        store->failed = error < 0;
}

/* Returns whether the message is dealt with: a service manager that is gone keeps nothing. */
static bool fdstore_send(FdStore *store, const char *text, int fd) {
        int r, socket_fd;

        r = service_manager_send(&store->manager, text, strlen(text), fd, &socket_fd);
        if (r != -EAGAIN) {
                fdstore_say(store, r);
                return true;
        }

        r = sd_event_add_io(
                store->event, &store->writable, socket_fd, EPOLLOUT, on_writable, store);
        if (r < 0) {
                (void) close(socket_fd);
                return true;
        }
        (void) sd_event_source_set_io_fd_own(store->writable, true);
        (void) sd_event_source_set_priority(store->writable, PRIORITY_SYNC);
        (void) sd_event_source_set_description(store->writable, "fdstore-writable");
        return false;
}

static bool fdstore_send_entry(FdStore *store, FdStoreEntry *entry) {
        char text[FDSTORE_NAME_SIZE + 64];

        if (entry->remove) {
                (void) snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", entry->name);
                if (!fdstore_send(store, text, -EBADF))
                        return false;
                entry->remove = entry->stored = false;
        }

        if (entry->put) {
                (void) snprintf(text,
                                sizeof(text),
                                "FDSTORE=1\nFDNAME=%s%s",
                                entry->name,
                                entry->hangup ? "" : "\nFDPOLL=0");
                if (!fdstore_send(store, text, entry->fd))
                        return false;
                entry->fd = safe_close(entry->fd);
                entry->put = false;
                entry->stored = true;
        }

        return true;
}

/* Who waits is told; some of them begin to wait anew. */
static void fdstore_answer(FdStore *store) {
        FdStoreSync *syncs = TAKE_PTR(store->under_way);

        store->barrier = sd_event_source_disable_unref(store->barrier);
        store->timeout = sd_event_source_disable_unref(store->timeout);

        while (syncs) {
                FdStoreSync *sync = syncs;

                syncs = TAKE_PTR(sync->next);
                sync->done(sync);
        }

        fdstore_flush(store);
}

static int on_barrier(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        fdstore_answer(userdata);
        return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        fdstore_answer(userdata);
        return 0;
}

static int on_deferred(sd_event_source *source, void *userdata) {
        fdstore_answer(userdata);
        return 0;
}

/* Watches the end of a pipe of which the service manager is to close the other. Takes the fd. */
static int fdstore_watch_barrier(FdStore *store, int *fd) {
        int r;

        r = sd_event_add_io(store->event, &store->barrier, *fd, 0, on_barrier, store);
        if (r < 0)
                return r;
        r = sd_event_source_set_io_fd_own(store->barrier, true);
        if (r < 0)
                return r;
        *fd = -EBADF;
        (void) sd_event_source_set_priority(store->barrier, PRIORITY_SYNC);
        (void) sd_event_source_set_description(store->barrier, "fdstore-barrier");

        r = sd_event_add_time_relative(
                store->event, &store->timeout, CLOCK_MONOTONIC, SYNC_USEC, 0, on_timeout, store);
        if (r < 0)
                return r;
        return sd_event_source_set_description(store->timeout, "fdstore-timeout");
}

static void fdstore_begin_barrier(FdStore *store) {
        _cleanup_close_ int reading = -EBADF, writing = -EBADF;
        int fds[2], r = -ENOTCONN;

        if (service_manager_exists(&store->manager) && pipe2(fds, O_CLOEXEC) >= 0) {
                reading = fds[0];
                writing = fds[1];
                r = fdstore_watch_barrier(store, &reading);
        }
        if (r >= 0 && !fdstore_send(store, "BARRIER=1", writing)) {
                /* Not sent: there is room again soon. */
                store->barrier = sd_event_source_disable_unref(store->barrier);
                store->timeout = sd_event_source_disable_unref(store->timeout);
                return;
        }

        store->under_way = TAKE_PTR(store->waiting);
        if (r < 0)
                (void) sd_event_source_set_enabled(store->deferred, SD_EVENT_ONESHOT);
}

static void fdstore_flush(FdStore *store) {
        if (store->writable)
                return;

        for (FdStoreEntry *entry = store->entries; entry; entry = entry->next)
                if (!fdstore_send_entry(store, entry))
                        return;
        fdstore_sweep(store);

        if (store->waiting && !store->under_way)
                fdstore_begin_barrier(store);
}

static int fdstore_take_over(FdStore *store, int n, char **names) {
        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;
                FdStoreEntry *entry = fdstore_find(store, names[i]);

                /* Of two of the same name nobody knows which is right. */
                if (entry || strlen(names[i]) >= FDSTORE_NAME_SIZE) {
                        (void) close(fd);
                        continue;
                }
                entry = fdstore_add(store, names[i]);
                if (!entry)
                        return -ENOMEM;
                entry->fd = fd;
                entry->stored = true;
        }

        return 0;
}

int fdstore_new(sd_event *event, const FdStoreListener *listener, FdStore **ret) {
        _cleanup_(fdstore_freep) FdStore *store = NULL;
        char **names = NULL;
        int n, r;

        assert(event);
        assert(listener);
        assert(ret);

        store = calloc(1, sizeof(*store));
        if (!store)
                return -ENOMEM;
        store->event = sd_event_ref(event);
        store->listener = *listener;

        r = service_manager_find(&store->manager);
        if (r < 0)
                return r;
        r = sd_event_add_defer(event, &store->deferred, on_deferred, store);
        if (r >= 0)
                r = sd_event_source_set_enabled(store->deferred, SD_EVENT_OFF);
        if (r < 0)
                return r;

        n = sd_listen_fds_with_names(1, &names);
        r = n < 0 ? n : fdstore_take_over(store, n, names);
        for (char **name = names; name && *name; name++)
                free(*name);
        free(names);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(store);
        return 0;
}

FdStore *fdstore_free(FdStore *store) {
        if (!store)
                return NULL;

        while (store->entries) {
                FdStoreEntry *entry = store->entries;

                store->entries = entry->next;
                (void) safe_close(entry->fd);
                free(entry);
        }
        (void) sd_event_source_disable_unref(store->writable);
        (void) sd_event_source_disable_unref(store->deferred);
        (void) sd_event_source_disable_unref(store->barrier);
        (void) sd_event_source_disable_unref(store->timeout);
        (void) sd_event_unref(store->event);
        free(store);
        return NULL;
}

int fdstore_take(FdStore *store, const char *name) {
        FdStoreEntry *entry;

        assert(store);
        assert(name);

        entry = fdstore_find(store, name);
        if (!entry || entry->put || entry->fd < 0)
                return -ENOENT;
        return TAKE_FD(entry->fd);
}

void fdstore_settle(FdStore *store) {
        assert(store);

        for (FdStoreEntry *entry = store->entries; entry; entry = entry->next)
                if (entry->fd >= 0 && !entry->put) {
                        entry->fd = safe_close(entry->fd);
                        entry->remove = true;
                }
        fdstore_flush(store);
}

int fdstore_put(FdStore *store, const char *name, int fd, bool hangup) {
        _cleanup_close_ int copy = -EBADF;
        FdStoreEntry *entry;

        assert(store);
        assert(name);
        assert(strlen(name) < FDSTORE_NAME_SIZE);
        assert(fd >= 0);

        if (!service_manager_exists(&store->manager))
                return 0;

        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return -errno;
        entry = fdstore_find(store, name);
        if (!entry)
                entry = fdstore_add(store, name);
        if (!entry)
                return -ENOMEM;

        (void) safe_close(entry->fd);
        entry->fd = TAKE_FD(copy);
        entry->put = true;
        entry->remove = entry->stored;
        entry->hangup = hangup;
        fdstore_flush(store);
        return 0;
}

void fdstore_remove(FdStore *store, const char *name) {
        FdStoreEntry *entry;

        assert(store);
        assert(name);

        entry = fdstore_find(store, name);
        if (!entry)
                return;

        entry->fd = safe_close(entry->fd);
        entry->put = false;
        entry->remove = entry->stored;
        fdstore_flush(store);
}

bool fdstore_has(const FdStore *store, const char *name) {
        FdStoreEntry *entry;

        assert(store);
        assert(name);

        entry = fdstore_find(store, name);
        return entry && (entry->put || (entry->stored && !entry->remove));
}

void fdstore_sync(FdStore *store, FdStoreSync *sync) {
        assert(store);
        assert(sync);

        sync->next = store->waiting;
        store->waiting = sync;
        fdstore_flush(store);
}
