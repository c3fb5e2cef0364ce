/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "bus-job.h"

#define PATIENCE_USEC (500 * USEC_PER_MSEC)

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"

struct BusJob {
        sd_bus *connection;
        BusJobListener listener;
        sd_bus_slot *slot; /* of the question that is open */
        sd_event_source *timer;
        bool answered;
};

static void job_answer(BusJob *job, bool restart) {
        if (job->answered)
                return;

        job->answered = true;
        job->timer = sd_event_source_disable_unref(job->timer);
        job->listener.answer(restart, job->listener.userdata);
}

/* Sends a question, which has to have no other side effect than its answer: not even a start. */
static int job_send(BusJob *job, sd_bus_message *call, sd_bus_message_handler_t callback) {
        int r;

        r = sd_bus_message_set_auto_start(call, false);
        if (r < 0)
                return r;

        job->slot = sd_bus_slot_unref(job->slot);
        return sd_bus_call_async(job->connection, &job->slot, call, callback, job, PATIENCE_USEC);
}

static int job_get(BusJob *job,
                   const char *path,
                   const char *interface,
                   const char *property,
                   sd_bus_message_handler_t callback) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = sd_bus_message_new_method_call(job->connection,
                                           &call,
                                           SYSTEMD_NAME,
                                           path,
                                           "org.freedesktop.DBus.Properties",
                                           "Get");
        if (r >= 0)
                r = sd_bus_message_append(call, "ss", interface, property);
        return r < 0 ? r : job_send(job, call, callback);
}

static int on_type(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        BusJob *job = userdata;
        const char *type;

        /* "restart" or "try-restart"; a job to start the unit may wait already. */
        if (sd_bus_message_is_method_error(reply, NULL) ||
            sd_bus_message_read(reply, "v", "s", &type) < 0)
                job_answer(job, true);
        else
                job_answer(job, strstr(type, "start") != NULL);
        return 0;
}

static int on_job(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        BusJob *job = userdata;
        const char *path;
        uint32_t id;

        if (sd_bus_message_is_method_error(reply, NULL) ||
            sd_bus_message_read(reply, "v", "(uo)", &id, &path) < 0)
                job_answer(job, true);
        else if (id == 0) /* somebody just killed it, and it ends well: that is no restart */
                job_answer(job, false);
        else if (job_get(job, path, SYSTEMD_NAME ".Job", "JobType", on_type) < 0)
                job_answer(job, true);
        return 0;
}

static int on_unit(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        BusJob *job = userdata;
        const char *path;

        if (sd_bus_message_is_method_error(reply, NULL) ||
            sd_bus_message_read(reply, "o", &path) < 0 ||
            job_get(job, path, SYSTEMD_NAME ".Unit", "Job", on_job) < 0)
                job_answer(job, true);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        job_answer(userdata, true);
        return 0;
}

int bus_job_ask(sd_bus *connection, const BusJobListener *listener, BusJob **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_(bus_job_freep) BusJob *job = NULL;
        int r;

        assert(connection);
        assert(listener);
        assert(ret);

        job = malloc(sizeof(*job));
        if (!job)
                return -ENOMEM;
        *job = (BusJob){ .connection = connection, .listener = *listener };

        r = sd_event_add_time_relative(sd_bus_get_event(connection),
                                       &job->timer,
                                       CLOCK_MONOTONIC,
                                       PATIENCE_USEC,
                                       0,
                                       on_timer,
                                       job);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(job->timer, "bus-job");

        r = sd_bus_message_new_method_call(connection,
                                           &call,
                                           SYSTEMD_NAME,
                                           SYSTEMD_PATH,
                                           SYSTEMD_NAME ".Manager",
                                           "GetUnitByPID");
        if (r >= 0)
                r = sd_bus_message_append(call, "u", (uint32_t) getpid());
        if (r >= 0)
                r = job_send(job, call, on_unit);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(job);
        return 0;
}

BusJob *bus_job_free(BusJob *job) {
        if (!job)
                return NULL;

        (void) sd_bus_slot_unref(job->slot);
        (void) sd_event_source_disable_unref(job->timer);
        free(job);
        return NULL;
}
