/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "release.h"
#include "util.h"

struct ReleaseBatch {
        sd_bus *bus;
        uint64_t grace_usec;
        const char *holder;
        size_t n_pending;
};

static void release_end(Release *release, ReleaseOutcome outcome, const char *problem) {
        release->outcome = outcome;
        (void) snprintf(release->problem, sizeof(release->problem), "%s", problem ? problem : "");
        release->batch->n_pending--;
}

static void release_fail(Release *release, int error) {
        release_end(release, RELEASE_FAILED, strerror(-error));
}

/* A function that is not bound to VFIO or ignored, or went away meanwhile, is nobody's. */
static void release_end_by_error(Release *release, const sd_bus_error *error) {
        if (sd_bus_error_has_names(error,
                                   ERRORD_ERROR_NO_FUNCTION,
                                   ERRORD_ERROR_NOT_BOUND,
                                   SD_BUS_ERROR_UNKNOWN_OBJECT))
                release_end(release, RELEASE_UNKNOWN, NULL);
        else if (sd_bus_error_has_names(
                         error, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                release_end(release, RELEASE_NO_DAEMON, NULL);
        else
                release_end(release, RELEASE_FAILED, error->message ? error->message : error->name);
}

static int release_on_released(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(answer);
        Release *release = userdata;

        if (error)
                release_end_by_error(release, error);
        else
                release_end(release, RELEASE_DONE, NULL);
        return 0;
}

static int call_new(const Release *release,
                    const char *path,
                    const char *interface,
                    const char *method,
                    sd_bus_message **ret) {
        int r = sd_bus_message_new_method_call(
                release->batch->bus, ret, ERRORD_BUS_NAME, path, interface, method);

        return r < 0 ? r : sd_bus_message_set_auto_start(*ret, false);
}

static int release_call(Release *release, const char *path) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        const ReleaseBatch *batch = release->batch;
        int r;

        r = call_new(release, path, ERRORD_FUNCTION_INTERFACE, "Release", &call);
        if (r < 0)
                return r;

        r = sd_bus_message_append(call, "t", batch->grace_usec);
        if (r < 0)
                return r;

        if (batch->holder)
                r = sd_bus_message_append(call, "a{sv}", 1, "who", "s", batch->holder);
        else
                r = sd_bus_message_append(call, "a{sv}", 0);
        if (r < 0)
                return r;

        return sd_bus_call_async(batch->bus, NULL, call, release_on_released, release, 0);
}

static int release_on_found(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(answer);
        Release *release = userdata;
        const char *path;
        int r;

        if (error) {
                release_end_by_error(release, error);
                return 0;
        }

        r = sd_bus_message_read(answer, "o", &path);
        if (r >= 0)
                r = release_call(release, path);
        if (r < 0)
                release_fail(release, r);
        return 0;
}

static int release_find(Release *release) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = call_new(release,
                     ERRORD_MANAGER_PATH,
                     ERRORD_MANAGER_INTERFACE,
                     "GetFunctionByAddress",
                     &call);
        if (r < 0)
                return r;

        r = sd_bus_message_append(call, "s", release->address);
        if (r < 0)
                return r;

        return sd_bus_call_async(release->batch->bus, NULL, call, release_on_found, release, 0);
}

static int wait_for_answers(sd_bus *bus, const ReleaseBatch *batch, uint64_t deadline_usec) {
        while (batch->n_pending > 0) {
                uint64_t now = now_usec(CLOCK_MONOTONIC);
                int r;

                if (now >= deadline_usec)
                        return -ETIMEDOUT;

                r = sd_bus_process(bus, NULL);
                if (r < 0)
                        return r;
                if (sd_bus_is_open(bus) <= 0) /* what is pending ends with it, as if answered */
                        return -ECONNRESET;
                if (r == 0)
                        r = sd_bus_wait(bus, deadline_usec - now);
                if (r < 0 && r != -EINTR)
                        return r;
        }

        return 0;
}

int release_all(sd_bus *bus,
                uint64_t grace_usec,
                const char *holder,
                uint64_t deadline_usec,
                Release *releases,
                size_t n) {
        ReleaseBatch batch = {
                .bus = bus,
                .grace_usec = grace_usec,
                .holder = holder,
                .n_pending = n,
        };
        int r;

        assert(bus);
        assert(releases || n == 0);

        for (size_t i = 0; i < n; i++) {
                releases[i].outcome = RELEASE_PENDING;
                releases[i].batch = &batch;
                r = release_find(&releases[i]);
                if (r < 0)
                        release_fail(&releases[i], r);
        }

        r = wait_for_answers(bus, &batch, deadline_usec);
        sd_bus_close(bus); /* without a flush, which would wait; nothing calls back any more */
        return r;
}
