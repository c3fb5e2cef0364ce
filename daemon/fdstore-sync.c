/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "fdstore-private.h"

/* A service manager that stands still for this long is not waited for. */
#define SYNC_USEC (5 * USEC_PER_SEC)

/* There is none under way any more, whoever ended it. */
static void fdstore_end_barrier(FdStore *store) {
        store->barrier = sd_event_source_disable_unref(store->barrier);
        (void) sd_event_source_set_enabled(store->deferred, SD_EVENT_OFF);
}

/* Who waits is told; some of them begin to wait anew. */
static void fdstore_answer(FdStore *store, FdStoreRound *round) {
        FdStoreSync *syncs = TAKE_PTR(round->syncs);

        (void) sd_event_source_set_enabled(round->timeout, SD_EVENT_OFF);
        while (syncs) {
                FdStoreSync *sync = syncs;

                syncs = TAKE_PTR(sync->next);
                sync->done(sync);
        }

        fdstore_flush(store);
}

static int on_barrier(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FdStore *store = userdata;

        assert(store);

        fdstore_end_barrier(store);
        fdstore_answer(store, &store->under_way);
        return 0;
}

static int on_deferred(sd_event_source *source, void *userdata) {
        return on_barrier(source, -EBADF, 0, userdata);
}

/* It did not answer, or had no room for the question. */
static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        FdStore *store = userdata;

        assert(store);

        if (source == store->under_way.timeout)
                return on_barrier(source, -EBADF, 0, store);

        fdstore_answer(store, &store->waiting);
        return 0;
}

static int fdstore_new_timeout(FdStore *store, sd_event_source **ret) {
        int r;

        r = sd_event_add_time_relative(
                store->event, ret, CLOCK_MONOTONIC, SYNC_USEC, 0, on_timeout, store);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(*ret, "fdstore-timeout");
        return sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

int fdstore_new_syncs(FdStore *store) {
        int r;

        assert(store);

        r = fdstore_new_timeout(store, &store->waiting.timeout);
        if (r >= 0)
                r = fdstore_new_timeout(store, &store->under_way.timeout);
        if (r >= 0)
                r = sd_event_add_defer(store->event, &store->deferred, on_deferred, store);
        if (r >= 0)
                r = sd_event_source_set_priority(store->deferred, PRIORITY_SYNC);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(store->deferred, "fdstore-deferred");
        return sd_event_source_set_enabled(store->deferred, SD_EVENT_OFF);
}

void fdstore_free_syncs(FdStore *store) {
        assert(store);

        (void) sd_event_source_disable_unref(store->waiting.timeout);
        (void) sd_event_source_disable_unref(store->under_way.timeout);
        (void) sd_event_source_disable_unref(store->deferred);
        (void) sd_event_source_disable_unref(store->barrier);
}

/*
 * Gives the service manager one end of a pipe, which it closes once it has come so far, and watches
 * the other.
 */
static int fdstore_send_barrier(FdStore *store) {
        _cleanup_close_ int reading = -EBADF, writing = -EBADF;
        int fds[2], r;

        if (!service_manager_exists(&store->manager))
                return -ENOTCONN;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return fdstore_retry(store, -errno);
        reading = fds[0];
        writing = fds[1];

        r = fdstore_send(store, "BARRIER=1", writing);
        if (r < 0)
                return r;

        r = sd_event_add_io(store->event, &store->barrier, reading, 0, on_barrier, store);
        if (r < 0)
                return fdstore_retry(store, r);
        (void) sd_event_source_set_io_fd_own(store->barrier, true);
        reading = -EBADF;
        (void) sd_event_source_set_priority(store->barrier, PRIORITY_SYNC);
        (void) sd_event_source_set_description(store->barrier, "fdstore-barrier");
        return 0;
}

void fdstore_begin_barrier(FdStore *store) {
        FdStoreRound round;
        int r;

        assert(store);

        if (!store->waiting.syncs || store->under_way.syncs)
                return;

        r = fdstore_send_barrier(store);
        if (r == -EAGAIN)
                return;

        round = store->under_way;
        store->under_way = store->waiting;
        store->waiting = round;
        if (r < 0)
                (void) sd_event_source_set_enabled(store->deferred, SD_EVENT_ONESHOT);
}

void fdstore_sync(FdStore *store, FdStoreSync *sync) {
        FdStoreSync **link;

        assert(store);
        assert(sync);

        if (!store->waiting.syncs) {
                (void) sd_event_source_set_time_relative(store->waiting.timeout, SYNC_USEC);
                (void) sd_event_source_set_enabled(store->waiting.timeout, SD_EVENT_ONESHOT);
        }

        sync->next = NULL;
        for (link = &store->waiting.syncs; *link; link = &(*link)->next)
                ;
        *link = sync;
        fdstore_flush(store);
}
