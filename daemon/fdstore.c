/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>

#include "fdstore-private.h"
#include "parse.h"

/* Until the next try, if memory or file descriptors are short. */
#define SHORTAGE_USEC (100 * USEC_PER_MSEC)

static FdStoreEntry *fdstore_find(const FdStore *store, const char *name) {
        for (FdStoreEntry *entry = store->entries; entry; entry = entry->next)
                if (strcmp(entry->name, name) == 0)
                        return entry;
        return NULL;
}

/* Once all is said. */
static bool entry_will_be_there(const FdStoreEntry *entry) {
        return entry->put || (entry->stored && !entry->remove);
}

static uint64_t fdstore_size(const FdStore *store) {
        uint64_t n = 0;

        for (const FdStoreEntry *entry = store->entries; entry; entry = entry->next)
                n += entry_will_be_there(entry);
        return n;
}

static FdStoreEntry *fdstore_add(FdStore *store, const char *name) {
        FdStoreEntry *entry, **link;

        entry = malloc(sizeof(*entry));
        if (!entry)
                return NULL;

        *entry = (FdStoreEntry){ .fd = -EBADF };
        (void) snprintf(entry->name, sizeof(entry->name), "%s", name);
        for (link = &store->entries; *link; link = &(*link)->next)
                ;
        *link = entry;
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

/* Comes back once there is room. Takes the socket. */
static int fdstore_wait_for_room(FdStore *store, int socket_fd) {
        int r;

        r = sd_event_add_io(
                store->event, &store->writable, socket_fd, EPOLLOUT, on_writable, store);
        if (r < 0) {
                (void) close(socket_fd);
                return r;
        }
        (void) sd_event_source_set_io_fd_own(store->writable, true);
        (void) sd_event_source_set_priority(store->writable, PRIORITY_SYNC);
        (void) sd_event_source_set_description(store->writable, "fdstore-writable");
        return -EAGAIN;
}

int fdstore_retry(FdStore *store, int error) {
        assert(store);

        switch (error) {
        case -EMFILE:
        case -ENFILE:
        case -ENOBUFS:
        case -ENOMEM:
        case -ETOOMANYREFS:
                (void) sd_event_source_set_time_relative(store->shortage, SHORTAGE_USEC);
                (void) sd_event_source_set_enabled(store->shortage, SD_EVENT_ONESHOT);
                return -EAGAIN;
        default:
                return error;
        }
}

int fdstore_send(FdStore *store, const char *text, int fd) {
        int r, socket_fd;

        assert(store);
        assert(text);

        r = service_manager_send(&store->manager, text, strlen(text), fd, &socket_fd);
        if (r == -EAGAIN)
                r = fdstore_wait_for_room(store, socket_fd);
        if (r != -EAGAIN)
                fdstore_say(store, r);
        return fdstore_retry(store, r);
}

/*
 * Returns whether it is dealt with, be it in vain: a service manager that cannot be told keeps
 * nothing.
 */
static bool fdstore_send_entry(FdStore *store, FdStoreEntry *entry) {
        char text[FDSTORE_NAME_SIZE + 64];
        int r;

        if (entry->remove) {
                (void) snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", entry->name);
                if (fdstore_send(store, text, -EBADF) == -EAGAIN)
                        return false;
                entry->remove = entry->stored = false;
        }

        if (entry->put) {
                (void) snprintf(text,
                                sizeof(text),
                                "FDSTORE=1\nFDNAME=%s%s",
                                entry->name,
                                entry->hangup ? "" : "\nFDPOLL=0");
                r = fdstore_send(store, text, entry->fd);
                if (r == -EAGAIN)
                        return false;
                entry->fd = safe_close(entry->fd);
                entry->put = false;
                entry->stored = r >= 0;
        }

        return true;
}

void fdstore_flush(FdStore *store) {
        assert(store);

        if (store->writable)
                return;

        for (FdStoreEntry *entry = store->entries; entry; entry = entry->next)
                if (!fdstore_send_entry(store, entry))
                        return;
        fdstore_sweep(store);
        fdstore_begin_barrier(store);
}

static int on_shortage(sd_event_source *source, uint64_t usec, void *userdata) {
        FdStore *store = userdata;

        assert(store);

        fdstore_flush(store);
        return 0;
}

static int fdstore_new_shortage(FdStore *store) {
        int r;

        r = sd_event_add_time_relative(
                store->event, &store->shortage, CLOCK_MONOTONIC, 0, 0, on_shortage, store);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(store->shortage, "fdstore-shortage");
        r = sd_event_source_set_priority(store->shortage, PRIORITY_SYNC);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(store->shortage, SD_EVENT_OFF);
}

static int fdstore_take_over(FdStore *store, int n, char **names) {
        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;
                FdStoreEntry *entry = fdstore_find(store, names[i]);

                if (strlen(names[i]) >= FDSTORE_NAME_SIZE) {
                        (void) close(fd);
                        continue;
                }
                /* Of two of the same name nobody knows which is right. */
                if (entry) {
                        (void) close(fd);
                        entry->fd = safe_close(entry->fd);
                        entry->remove = true;
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
        /* An older one says so in its own log only. */
        if (!getenv("FDSTORE") || parse_decimal(getenv("FDSTORE"), UINT64_MAX, &store->max) < 0)
                store->max = UINT64_MAX;
        r = fdstore_new_syncs(store);
        if (r < 0)
                return r;
        r = fdstore_new_shortage(store);
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
        (void) sd_event_source_disable_unref(store->shortage);
        fdstore_free_syncs(store);
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
        if (!fdstore_has(store, name) && fdstore_size(store) >= store->max)
                return -EXFULL;
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
        const FdStoreEntry *entry;

        assert(store);
        assert(name);

        entry = fdstore_find(store, name);
        return entry && entry_will_be_there(entry);
}
