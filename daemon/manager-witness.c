/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "config-build.h"
#include "manager-private.h"
#include "names.h"
#include "witness.h"

#define CONSEQUENCE                                                                                \
        "errors of functions that are not held are published with code and FID, from the kernel log"

static const char *explain(const char *state) {
        static const struct {
                const char *state, *meaning;
        } states[] = {
                { "not-permitted",
                  "the kernel refused the program, as it does under lockdown=confidentiality" },
                { "no-symbol",
                  "this kernel has not the function that is to be seen; all of s390x have it" },
                { "not-built", "built without it" },
                { "not-started", "only " ERRORD_PROGRAM ".service attaches it" },
        };

        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                if (strcmp(state, states[i].state) == 0)
                        return states[i].meaning;
        return "an error of bpf(2) or perf_event_open(2)";
}

/* Why the loader left nothing to listen to. */
static void manager_say_no_witness(Manager *m) {
        char state[WITNESS_STATUS_SIZE];
        int fd;

        fd = fdstore_take(m->store, WITNESS_FD_STATUS);
        if (fd < 0 || witness_read_status(fd, state) < 0)
                (void) strcpy(state, BUILD_WITNESS ? "not-started" : "not-built");
        observer_set_witness(m->observer, state);
        /* The next start is told anew. */
        fdstore_remove(m->store, WITNESS_FD_STATUS);

        /* Who starts the daemon by hand does not miss it. */
        (void) log_entry(m->log,
                         strcmp(state, "not-started") == 0 ? LOG_INFO : LOG_NOTICE,
                         0,
                         NULL,
                         "The witness does not run: %s (%s); " CONSEQUENCE,
                         state,
                         explain(state));
}

void manager_watch_witness(Manager *m) {
        int ring, counters, r;

        assert(m);

        if (!m->config.witness) {
                observer_set_witness(m->observer, "off");
                log_info(m->log, "The witness is switched off; " CONSEQUENCE);
                return;
        }

        /* The service manager has a link of its own, and it is enough that it does. */
        (void) safe_close(fdstore_take(m->store, WITNESS_FD_LINK));
        ring = fdstore_take(m->store, WITNESS_FD_RING);
        counters = fdstore_take(m->store, WITNESS_FD_COUNTERS);
        if (ring < 0 || counters < 0) {
                (void) safe_close(ring);
                (void) safe_close(counters);
                manager_say_no_witness(m);
                return;
        }

        r = observer_watch_witness(m->observer, ring, counters);
        if (r < 0)
                (void) log_warning(m->log, r, "Cannot listen to the witness; " CONSEQUENCE);
        else
                log_info(m->log,
                         "The witness runs: full records of all functions, whoever holds them");
}
