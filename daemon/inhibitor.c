/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "inhibitor.h"

/* Before calls of the bus: whoever closed it expects that it is over when he calls. */
#define PRIORITY_HANGUP (SD_EVENT_PRIORITY_IMPORTANT - 1)

typedef struct Entry Entry;
struct Entry {
        Inhibitor inhibitor; /* the first member: a pointer to it is one to the entry */
        Inhibitors *inhibitors;
        sd_event_source *source; /* owns the reading end */
        Entry *next;
};

struct Inhibitors {
        sd_event *event;
        FdStore *store;
        InhibitorsListener listener;
        uint64_t last_id;
        Entry *entries; /* the oldest first */
};

static void inhibitor_name(const Inhibitor *inhibitor, char ret[static FDSTORE_NAME_SIZE]) {
        (void) snprintf(ret, FDSTORE_NAME_SIZE, "inhibitor-%" PRIu64, inhibitor->id);
}

static Entry *entry_free(Entry *entry) {
        handover_inhibitor_done(&entry->inhibitor);
        (void) sd_event_source_disable_unref(entry->source);
        free(entry);
        return NULL;
}

DEFINE_TRIVIAL_CLEANUP_FUNC(Entry *, entry_free);

/* Without its pipe. */
static int entry_new(Inhibitors *inhibitors, const Inhibitor *terms, Entry **ret) {
        _cleanup_(entry_freep) Entry *entry = NULL;
        int r;

        entry = malloc(sizeof(*entry));
        if (!entry)
                return -ENOMEM;
        *entry = (Entry){ .inhibitors = inhibitors };

        r = handover_copy_inhibitor(&entry->inhibitor, terms);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(entry);
        return 0;
}

static int on_hangup(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Entry *entry = userdata;
        Inhibitors *inhibitors = entry->inhibitors;
        char name[FDSTORE_NAME_SIZE];
        Entry **link;

        for (link = &inhibitors->entries; *link != entry; link = &(*link)->next)
                ;
        *link = entry->next;

        inhibitor_name(&entry->inhibitor, name);
        fdstore_remove(inhibitors->store, name);
        (void) entry_free(entry);
        inhibitors->listener.changed(inhibitors, inhibitors->listener.userdata);
        return 0;
}

/* Begins to wait for its end. Takes the fd, the reading end. */
static int entry_watch(Entry *entry, int *fd) {
        int r;

        /* No event is asked for: what somebody may write into it is not read, and a hang-up is always
         * told. */
        r = sd_event_add_io(entry->inhibitors->event, &entry->source, *fd, 0, on_hangup, entry);
        if (r < 0)
                return r;
        r = sd_event_source_set_io_fd_own(entry->source, true);
        if (r < 0)
                return r;
        *fd = -EBADF;
        r = sd_event_source_set_priority(entry->source, PRIORITY_HANGUP);
        if (r < 0)
                return r;
        return sd_event_source_set_description(entry->source, "inhibitor");
}

static void inhibitors_append(Inhibitors *inhibitors, Entry *entry) {
        Entry **link;

        for (link = &inhibitors->entries; *link; link = &(*link)->next)
                ;
        *link = entry;
}

int inhibitors_new(sd_event *event,
                   FdStore *store,
                   const InhibitorsListener *listener,
                   Inhibitors **ret) {
        Inhibitors *inhibitors;

        assert(event);
        assert(store);
        assert(listener);
        assert(ret);

        inhibitors = malloc(sizeof(*inhibitors));
        if (!inhibitors)
                return -ENOMEM;

        *inhibitors = (Inhibitors){
                .event = sd_event_ref(event),
                .store = store,
                .listener = *listener,
        };
        *ret = inhibitors;
        return 0;
}

Inhibitors *inhibitors_free(Inhibitors *inhibitors) {
        if (!inhibitors)
                return NULL;

        while (inhibitors->entries) {
                Entry *entry = inhibitors->entries;

                inhibitors->entries = entry->next;
                (void) entry_free(entry);
        }
        (void) sd_event_unref(inhibitors->event);
        free(inhibitors);
        return NULL;
}

static unsigned inhibitors_of_user(const Inhibitors *inhibitors, uid_t uid) {
        unsigned n = 0;

        for (const Entry *entry = inhibitors->entries; entry; entry = entry->next)
                if (entry->inhibitor.uid == uid)
                        n++;
        return n;
}

int inhibitors_add(Inhibitors *inhibitors, const Inhibitor *terms, int *ret_fd) {
        _cleanup_close_ int reading = -EBADF, writing = -EBADF;
        _cleanup_(entry_freep) Entry *entry = NULL;
        char name[FDSTORE_NAME_SIZE];
        int fds[2], r;

        assert(inhibitors);
        assert(terms);
        assert(ret_fd);

        if (inhibitors_of_user(inhibitors, terms->uid) >= INHIBITORS_PER_USER)
                return -EDQUOT;
        r = entry_new(inhibitors, terms, &entry);
        if (r < 0)
                return r;
        entry->inhibitor.id = ++inhibitors->last_id;

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        reading = fds[0];
        writing = fds[1];

        /* Without it there, the inhibitor would end with this run. */
        inhibitor_name(&entry->inhibitor, name);
        r = fdstore_put(inhibitors->store, name, reading, true);
        if (r < 0)
                return r;
        r = entry_watch(entry, &reading);
        if (r < 0) {
                fdstore_remove(inhibitors->store, name);
                return r;
        }

        inhibitors_append(inhibitors, TAKE_PTR(entry));
        *ret_fd = TAKE_FD(writing);
        inhibitors->listener.changed(inhibitors, inhibitors->listener.userdata);
        return 0;
}

int inhibitors_restore(Inhibitors *inhibitors, const Handover *handover) {
        assert(inhibitors);
        assert(handover);

        for (size_t i = 0; i < handover->n_inhibitors; i++) {
                const Inhibitor *terms = &handover->inhibitors[i];
                _cleanup_(entry_freep) Entry *entry = NULL;
                _cleanup_close_ int fd = -EBADF;
                char name[FDSTORE_NAME_SIZE];
                int r;

                if (terms->id > inhibitors->last_id)
                        inhibitors->last_id = terms->id;

                /* It hung up while nobody was there, or it is one of those that make no sense. */
                inhibitor_name(terms, name);
                fd = fdstore_take(inhibitors->store, name);
                if (fd < 0)
                        continue;

                r = entry_new(inhibitors, terms, &entry);
                if (r >= 0)
                        r = entry_watch(entry, &fd);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) /* it is no pipe */
                        fdstore_remove(inhibitors->store, name);
                else
                        inhibitors_append(inhibitors, TAKE_PTR(entry));
        }

        return 0;
}

int inhibitors_hand_over(const Inhibitors *inhibitors, Handover *handover) {
        assert(inhibitors);
        assert(handover);

        for (const Entry *entry = inhibitors->entries; entry; entry = entry->next) {
                HandoverInhibitor *inhibitor = handover_add_inhibitor(handover);
                int r;

                if (!inhibitor)
                        return -ENOMEM;
                r = handover_copy_inhibitor(inhibitor, &entry->inhibitor);
                if (r < 0)
                        return r;
        }

        return 0;
}

const Inhibitor *inhibitors_find(const Inhibitors *inhibitors, const char *address) {
        assert(inhibitors);
        assert(address);

        for (const Entry *entry = inhibitors->entries; entry; entry = entry->next)
                for (size_t i = 0; i < entry->inhibitor.n_addresses; i++)
                        if (strcmp(entry->inhibitor.addresses[i], address) == 0)
                                return &entry->inhibitor;
        return NULL;
}

const Inhibitor *inhibitors_next(const Inhibitors *inhibitors, const Inhibitor *previous) {
        const Entry *entry;

        assert(inhibitors);

        entry = previous ? ((const Entry *) previous)->next : inhibitors->entries;
        return entry ? &entry->inhibitor : NULL;
}
