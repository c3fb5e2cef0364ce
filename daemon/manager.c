/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "manager-private.h"
#include "names.h"

/* Opening, resetting and closing wait for the platform, not for a CPU. */
#define WORKER_THREADS 8U

/*
 * An adapter that hangs must not keep the daemon from ending; the unit's TimeoutStopSec= is longer.
 */
#define STOP_USEC (10 * USEC_PER_SEC)

/* Past that: for a journald that is busy, if no other run goes on with the records … */
#define JOURNAL_USEC (5 * USEC_PER_SEC)
/* … and for what threads do that nobody waits for. */
#define THREADS_USEC (500 * USEC_PER_MSEC)

/* Takes back the ring of the former run, or makes one, and gives it to the service manager. */
static int manager_open_ring(Manager *m) {
        RingOrigin origin;
        int fd, r;

        fd = fdstore_take(m->store, FDSTORE_RING);
        r = ring_open(fd, m->config.records, &m->ring, &origin);
        /* The service manager has it still, for the next run, which it is not to be taken from. */
        if (fd >= 0 && (r == -ENOMEM || r == -ENOSPC))
                return log_error(
                        m->log, r, "There is no memory for the records that the former run left");
        if (r < 0 && fd >= 0) {
                (void) log_warning(
                        m->log,
                        r,
                        "The records that the former run left cannot be read (%s); a new "
                        "stream begins",
                        r == -EPROTO    ? "a newer version wrote them"
                        : r == -EBADMSG ? "they are damaged"
                                        : "they cannot be opened");
                r = ring_open(-EBADF, m->config.records, &m->ring, &origin);
        }
        if (r < 0)
                return log_error(m->log, r, "Cannot make the ring of records");

        if (origin == RING_CONTINUED)
                log_info(m->log, "Going on with the records of the former run");
        else {
                r = fdstore_put(m->store, FDSTORE_RING, ring_fd(m->ring), false);
                if (r < 0)
                        (void) log_warning(
                                m->log,
                                r,
                                "The service manager does not keep the records for the next run");
        }
        return 0;
}

static int manager_make_parts(Manager *m) {
        int r;

        m->context.event = m->event;
        m->context.ring = m->ring;
        m->context.log = m->log;
        m->context.config = &m->config;
        m->context.store = m->store;
        m->context.inhibitors = m->inhibitors;

        r = worker_new(m->event, WORKER_THREADS, &m->worker);
        if (r < 0)
                return log_error(m->log, r, "Cannot start threads");
        m->context.worker = m->worker;

        r = journal_check_new(
                &(JournalCheckContext){
                        .event = m->event,
                        .ring = m->ring,
                        .journal = m->journal,
                        .worker = m->worker,
                        .log = m->log,
                },
                &m->journal_check);
        if (r < 0)
                return log_error(m->log, r, "Cannot read back what the journal has");

        r = registry_new(&m->context, &m->registry_listener, &m->registry);
        if (r < 0)
                return log_error(m->log, r, "Cannot make the registry of functions");

        r = observer_new(&m->context, m->registry, &m->observer);
        if (r < 0)
                return log_error(m->log, r, "Cannot make the observer");

        r = bus_new(&(BusContext){ .event = m->event,
                                   .ring = m->ring,
                                   .inhibitors = m->inhibitors,
                                   .worker = m->worker,
                                   .log = m->log,
                                   .former_bus_id = m->former.bus_id },
                    &m->bus_listener,
                    &m->bus);
        if (r < 0)
                return log_error(m->log, r, "Cannot make the connection to the system bus");
        bus_set_registry(m->bus, m->registry);
        bus_set_observer(m->bus, m->observer);
        return 0;
}

int manager_new(const ManagerOptions *options, Log *log, Manager **ret) {
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        assert(options);
        assert(log);
        assert(ret);

        m = malloc(sizeof(*m));
        if (!m)
                return log_error(log, -ENOMEM, "Cannot start");
        *m = (Manager){ .options = options, .log = log, .handover_fd = -EBADF };
        manager_listen(m);

        r = sd_event_new(&m->event);
        if (r < 0)
                return log_error(log, r, "Cannot make an event loop");
        r = manager_catch_signals(m);
        if (r < 0)
                return log_error(log, r, "Cannot catch signals");

        r = journal_new(m->event, JOURNAL_SOCKET, &m->journal);
        if (r < 0)
                return log_error(log, r, "Cannot make the connection to the journal");
        log_set_sink(log, journal_send_or_queue, m->journal);
        r = notify_new(m->event, &m->notify);
        if (r < 0)
                return log_error(log, r, "Cannot talk to the service manager ($NOTIFY_SOCKET)");
        r = manager_watch_status(m);
        if (r < 0)
                return log_error(log, r, "Cannot keep the service manager informed");

        r = fdstore_new(m->event, &m->store_listener, &m->store);
        if (r < 0)
                return log_error(log, r, "Cannot take over what the service manager kept");

        r = manager_configure(m);
        if (r < 0)
                return r;
        r = manager_open_ring(m);
        if (r < 0)
                return r;
        r = inhibitors_new(m->event, m->store, &m->inhibitors_listener, &m->inhibitors);
        if (r >= 0)
                r = manager_take_over(m);
        if (r < 0)
                return log_error(log, r, "Cannot keep what has to survive a restart");
        r = journal_pump_new(m->event, m->ring, m->journal, &m->journal_pump);
        if (r < 0)
                return log_error(log, r, "Cannot write records to the journal");
        r = manager_make_parts(m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(m);
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;

        m->uevent = uevent_close(m->uevent);
        sysfs_problems_done(&m->problems);
        if (m->bus)
                bus_set_registry(m->bus, NULL);
        m->bus = bus_free(m->bus);
        m->observer = observer_free(m->observer);
        /* The threads first: they may still work on functions. */
        m->worker = worker_free(m->worker);
        m->registry = registry_free(m->registry);
        m->journal_check = journal_check_free(m->journal_check);
        m->inhibitors = inhibitors_free(m->inhibitors);
        handover_done(&m->former);
        m->handover_timer = sd_event_source_disable_unref(m->handover_timer);
        m->handover_fd = safe_close(m->handover_fd);
        m->status_source = sd_event_source_disable_unref(m->status_source);
        m->journal_pump = journal_pump_free(m->journal_pump);
        log_set_sink(m->log, NULL, NULL);
        m->journal = journal_free(m->journal);
        m->ring = ring_free(m->ring);
        m->store = fdstore_free(m->store);
        m->notify = notify_free(m->notify);
        m->event = sd_event_unref(m->event);
        config_done(&m->config);
        free(m);
        return NULL;
}

void manager_start(Manager *m) {
        int r;

        r = registry_restore(m->registry, &m->former);
        if (r < 0)
                (void) log_error(m->log, r, "Cannot go on with the functions of the former run");
        handover_done(&m->former);

        /* Before uevents: the line of an error whose uevent is heard must not be from before the start. */
        manager_watch_witness(m);
        observer_watch_kernel_log(m->observer);

        r = uevent_open(m->event, &m->uevent_listener, &m->uevent);
        if (r >= 0)
                r = uevent_scan(m->uevent);
        if (r < 0) {
                m->result = log_error(m->log, r, "Cannot look for PCI functions with udev");
                (void) sd_event_exit(m->event, 0);
                return;
        }

        m->started = true;
        fdstore_settle(m->store);
        m->handover_due = true;
        manager_hand_over(m);
        manager_say_start(m);
        manager_status_changed(m);
        notify_ready(m->notify);
}

void manager_check_stopped(Manager *m) {
        if (!m->stop_begun || m->n_busy > 0)
                return;

        (void) sd_event_exit(m->event, 0);
}

static int on_stop_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        assert(m);

        (void) log_warning(
                m->log, 0, "%u devices are not closed yet, ending all the same", m->n_busy);
        return sd_event_exit(m->event, 0);
}

static void on_restart_known(bool restart, void *userdata) {
        Manager *m = userdata;

        assert(m);

        m->context.restarts = restart;
        m->stop_begun = true;
        for (size_t i = 0; i < registry_size(m->registry); i++)
                function_stop(registry_get(m->registry, i));
        manager_check_stopped(m);
}

void manager_stop(Manager *m) {
        if (m->stopping)
                return;

        manager_hand_over(m);
        m->stopping = true;
        notify_stopping(m->notify);
        (void) sd_event_add_time_relative(
                m->event, NULL, CLOCK_MONOTONIC, STOP_USEC, 0, on_stop_timer, m);

        /* What appears from now on is for the next run. */
        m->uevent = uevent_close(m->uevent);
        bus_ask_restart(m->bus, on_restart_known, m);
}

int manager_run(Manager *m) {
        uint64_t journal_until, journal_rest, bus_rest;
        int r;

        assert(m);

        r = sd_event_loop(m->event);
        if (r < 0)
                return log_error(m->log, r, "The event loop failed");

        observer_finish(m->observer);
        journal_until = now_usec(CLOCK_MONOTONIC) + (m->context.restarts ? 0 : JOURNAL_USEC);
        journal_rest = journal_pump_finish(m->journal_pump, journal_until);
        bus_rest = bus_finish(m->bus);
        if (journal_rest > 0 || bus_rest > 0)
                (void) log_warning(m->log,
                                   0,
                                   "%llu records did not get to the journal, %llu not to the bus",
                                   (unsigned long long) journal_rest,
                                   (unsigned long long) bus_rest);
        while (journal_flush(m->journal) > 0 && journal_wait(m->journal, journal_until))
                ;
        m->hangs = !worker_end(m->worker, THREADS_USEC);
        return m->result;
}

bool manager_hangs(const Manager *m) {
        assert(m);

        return m->hangs;
}
