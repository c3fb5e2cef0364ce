/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "config-build.h"
#include "manager-private.h"
#include "names.h"

#define CONSEQUENCE                                                                                \
        "errors of functions that are not held are published with code and FID, from the kernel log"

void manager_take_witness(Manager *m) {
        int status;

        assert(m);

        if (!m->config.witness) {
                (void) strcpy(m->witness_state, "off");
                return;
        }

        m->witness_ring = fdstore_take(m->store, WITNESS_FD_RING);
        m->witness_counters = fdstore_take(m->store, WITNESS_FD_COUNTERS);
        /* The service manager has one of its own, and it is enough that it does. */
        (void) safe_close(fdstore_take(m->store, WITNESS_FD_LINK));
        if (m->witness_ring >= 0 && m->witness_counters >= 0)
                return;

        status = fdstore_take(m->store, WITNESS_FD_STATUS);
        if (status < 0 || witness_read_status(status, m->witness_state) < 0)
                (void) strcpy(m->witness_state, BUILD_WITNESS ? "not-started" : "not-built");
}

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

void manager_watch_witness(Manager *m) {
        int r;

        assert(m);

        if (m->witness_ring < 0 || m->witness_counters < 0) {
                observer_set_witness(m->observer, m->witness_state);
                if (strcmp(m->witness_state, "off") == 0)
                        log_info(m->log, "The witness is switched off; " CONSEQUENCE);
                else
                        log_notice(m->log,
                                   "The witness does not run: %s (%s); " CONSEQUENCE,
                                   m->witness_state,
                                   explain(m->witness_state));
                return;
        }

        r = observer_watch_witness(
                m->observer, TAKE_FD(m->witness_ring), TAKE_FD(m->witness_counters));
        if (r < 0)
                (void) log_warning(m->log, r, "Cannot listen to the witness; " CONSEQUENCE);
        else
                log_info(m->log,
                         "The witness runs: full records of all functions, whoever holds them");
}
