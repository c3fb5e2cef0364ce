/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "fdstore.h"

struct FdStore {
        char **names; /* ends with NULL, as the fds do not */
        int n_fds;
        int fds[];
};

int fdstore_open(FdStore **ret) {
        FdStore *store;
        char **names = NULL;
        int n;

        assert(ret);

        n = sd_listen_fds_with_names(1, &names);
        if (n < 0)
                return n;

        store = malloc(sizeof(*store) + (size_t) n * sizeof(int));
        if (!store)
                return -ENOMEM;

        *store = (FdStore){ .names = names, .n_fds = n };
        for (int i = 0; i < n; i++)
                store->fds[i] = SD_LISTEN_FDS_START + i;

        *ret = store;
        return 0;
}

int fdstore_take(FdStore *store, const char *name) {
        assert(store);
        assert(name);

        for (int i = 0; i < store->n_fds; i++)
                if (store->fds[i] >= 0 && strcmp(store->names[i], name) == 0)
                        return TAKE_FD(store->fds[i]);

        return -ENOENT;
}

int fdstore_remove(const char *name) {
        _cleanup_free_ char *message = NULL;

        assert(name);

        if (asprintf(&message, "FDSTOREREMOVE=1\nFDNAME=%s", name) < 0)
                return -ENOMEM;

        return sd_notify(0, message);
}

/* Whether the one of this name is in use: removing goes by name, and would take that one too. */
static bool fdstore_is_taken(const FdStore *store, const char *name) {
        for (int i = 0; i < store->n_fds; i++)
                if (store->fds[i] < 0 && strcmp(store->names[i], name) == 0)
                        return true;

        return false;
}

FdStore *fdstore_free(FdStore *store) {
        if (!store)
                return NULL;

        for (int i = 0; i < store->n_fds; i++)
                if (store->fds[i] >= 0 && !fdstore_is_taken(store, store->names[i]))
                        (void) fdstore_remove(store->names[i]);

        for (int i = 0; i < store->n_fds; i++) {
                (void) safe_close(store->fds[i]);
                free(store->names[i]);
        }
        free(store->names);
        free(store);
        return NULL;
}

int fdstore_put(const char *name, int fd) {
        _cleanup_free_ char *message = NULL;

        assert(name);
        assert(fd >= 0);

        /* A memfd never hangs up, so there is nothing to poll it for. */
        if (asprintf(&message, "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name) < 0)
                return -ENOMEM;

        return sd_pid_notify_with_fds(0, 0, message, &fd, 1);
}
