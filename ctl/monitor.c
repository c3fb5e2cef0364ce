/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "bus-json.h"
#include "client.h"
#include "follow.h"
#include "monitor.h"
#include "names.h"
#include "text.h"

#define RETRY_MIN_USEC (100 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (5 * USEC_PER_SEC)

/*
 * A bus drops signals for whom it cannot serve, and says nothing: look once after things went
 * quiet.
 */
#define CHECK_USEC (1 * USEC_PER_SEC)

#define NEVER UINT64_MAX

struct Monitor {
        Context *context;
        const MonitorListener *listener;
        Follow follow;
        bool behind;         /* ask the daemon for what we do not know */
        bool away;           /* that was said */
        uint64_t check_usec; /* when to be behind, or NEVER */
        int error;           /* a negative errno that ends it all */
};

static void monitor_event(Monitor *m, MonitorEvent event, json_object *object) {
        m->listener->event(event, object, m->listener->userdata);
}

static void monitor_missed(Monitor *m, uint64_t count) {
        _cleanup_(json_putp) json_object *object = json_object_new_object();

        if (!object || value_add_number(object, "count", count) < 0) {
                m->error = -ENOMEM;
                return;
        }
        monitor_event(m, MONITOR_MISSED, object);
}

static void monitor_away(Monitor *m, const char *what) {
        if (!m->away)
                say("%s", what);
        m->away = true;
}

static void monitor_back(Monitor *m) {
        if (m->away)
                say(_("zpci-errord is there again"));
        m->away = false;
}

/* An error from a signal or an answer; behind is set if others come before it. */
static void monitor_error(Monitor *m, json_object *error) {
        switch (follow_step(
                &m->follow, value_text(error, "stream_id"), value_number(error, "sequence"))) {
        case FOLLOW_NEXT:
                monitor_event(m, MONITOR_ERROR, error);
                break;
        case FOLLOW_KNOWN:
                break;
        case FOLLOW_GAP:
                m->behind = true;
                break;
        }
}

/* What cannot be read is no reason to end: the check finds what it was. */
static int on_error(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(json_putp) json_object *error = json_object_new_object();
        Monitor *m = userdata;

        assert(m);

        m->check_usec = now_usec(CLOCK_MONOTONIC) + CHECK_USEC;
        if (!error)
                m->error = -ENOMEM;
        else if (bus_json_read_error(message, error) >= 0)
                monitor_error(m, error);
        return 0;
}

static void monitor_signal(Monitor *m,
                           sd_bus_message *message,
                           MonitorEvent event,
                           const char *types,
                           const char *const keys[]) {
        _cleanup_(json_putp) json_object *object = json_object_new_object();

        if (!object)
                m->error = -ENOMEM;
        else if (bus_json_read(message, types, keys, object) >= 0)
                monitor_event(m, event, object);
}

static int on_lost(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        static const char *const keys[] = { "address", "fid", "count" };

        monitor_signal(userdata, message, MONITOR_LOST, "sut", keys);
        return 0;
}

static int on_recovery(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        static const char *const keys[] = { "address", "fid", "recovery" };

        monitor_signal(userdata, message, MONITOR_RECOVERY, "sus", keys);
        return 0;
}

static int on_owner(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        const char *name, *former, *owner;
        Monitor *m = userdata;

        assert(m);

        if (sd_bus_message_read(message, "sss", &name, &former, &owner) < 0)
                return 0;

        if (owner[0])
                m->behind = true;
        else
                monitor_away(m, _("zpci-errord left the bus; waiting for it"));
        return 0;
}

/* The matches are in force when this returns, so whatever the daemon is asked later is no older. */
static int monitor_subscribe(Monitor *m) {
        static const struct {
                const char *member;
                sd_bus_message_handler_t handler;
        } signals[] = {
                { "ErrorReported", on_error },
                { "RecordsLost", on_lost },
                { "RecoveryChanged", on_recovery },
        };
        sd_bus *bus = m->context->bus;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(signals); i++) {
                r = sd_bus_match_signal(bus,
                                        NULL,
                                        ERRORD_BUS_NAME,
                                        NULL,
                                        ERRORD_FUNCTION_INTERFACE,
                                        signals[i].member,
                                        signals[i].handler,
                                        m);
                if (r < 0)
                        return r;
        }

        return sd_bus_add_match(bus,
                                NULL,
                                "type='signal',sender='org.freedesktop.DBus',"
                                "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                                "arg0='" ERRORD_BUS_NAME "'",
                                on_owner,
                                m);
}

static int monitor_read_errors(Monitor *m, sd_bus_message *reply) {
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "(" BUS_JSON_ERROR_TYPES ")");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(reply, 'r', BUS_JSON_ERROR_TYPES)) > 0) {
                _cleanup_(json_putp) json_object *error = json_object_new_object();

                if (!error)
                        return -ENOMEM;

                r = bus_json_read_error(reply, error);
                if (r < 0)
                        return r;
                monitor_error(m, error);

                r = sd_bus_message_exit_container(reply);
                if (r < 0)
                        return r;
        }
        return r;
}

/* Asks for what comes after what is known. Returns 1 if there is more to ask for, 0 if not. */
static int monitor_ask(Monitor *m, sd_bus_error *ret_error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint64_t oldest, last, missed, before;
        const char *stream;
        int r;

        r = client_get_records(m->context, m->follow.stream, m->follow.last, 0, ret_error, &reply);
        if (r < 0)
                return r;

        r = sd_bus_message_read(reply, "stt", &stream, &oldest, &last);
        if (r < 0)
                return r;

        missed = follow_answer(&m->follow, stream, oldest);
        if (missed > 0)
                monitor_missed(m, missed);

        before = m->follow.last;
        r = monitor_read_errors(m, reply);
        if (r < 0)
                return r;
        return m->follow.last < last && m->follow.last > before;
}

static void monitor_catch_up(Monitor *m) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        m->behind = false;
        m->check_usec = NEVER;

        do
                r = monitor_ask(m, &error);
        while (r > 0 && m->error >= 0);

        m->behind = false; /* an answer has no gaps but those that were told */
        if (r >= 0) {
                monitor_back(m);
                return;
        }
        if (r == -ENOMEM)
                m->error = r;
        else if (client_is_absent(&error))
                monitor_away(m, _("zpci-errord left the bus; waiting for it"));
        else {
                /* A broken connection is found by whoever processes it. */
                if (sd_bus_is_open(m->context->bus) > 0 && !m->away)
                        (void) client_fail(m->context, r, &error);
                m->away = true;
                m->check_usec = now_usec(CLOCK_MONOTONIC) + CHECK_USEC;
        }
}

/* Learns where the stream is: what was before is not asked for. */
static int monitor_start(Monitor *m) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint64_t oldest, last;
        const char *stream;
        int r;

        r = client_open(m->context);
        if (r != EXIT_DONE)
                return r;

        r = monitor_subscribe(m);
        if (r >= 0)
                r = client_get_records(m->context, "", UINT64_MAX, 1, &error, &reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "stt", &stream, &oldest, &last);
        if (r < 0)
                return client_fail(m->context, r, &error);

        follow_start(&m->follow, stream, last);
        if (m->context->legend)
                say(_("Waiting for errors, from record %llu on. Ctrl-C ends this"),
                    (unsigned long long) last + 1);
        return EXIT_DONE;
}

static void monitor_reconnect(Monitor *m) {
        uint64_t delay = RETRY_MIN_USEC;

        monitor_away(m, _("The bus closed the connection; waiting for it"));

        for (;;) {
                const struct timespec pause = {
                        .tv_sec = (time_t) (delay / USEC_PER_SEC),
                        .tv_nsec = (long) (delay % USEC_PER_SEC * 1000U),
                };

                client_disconnect(m->context);
                if (client_connect(m->context) >= 0 && monitor_subscribe(m) >= 0)
                        break;

                (void) nanosleep(&pause, NULL);
                delay = delay * 2 < RETRY_MAX_USEC ? delay * 2 : RETRY_MAX_USEC;
        }

        m->behind = true;
}

static uint64_t time_left(uint64_t deadline) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);

        if (deadline == NEVER)
                return NEVER;
        return deadline > now ? deadline - now : 0;
}

/* Until the connection breaks, or there is a reason to end. */
static int monitor_process(Monitor *m) {
        int r;

        for (;;) {
                r = sd_bus_process(m->context->bus, NULL);
                if (m->error < 0)
                        return m->error;
                if (r < 0)
                        return r;
                if (r > 0)
                        continue;

                if (m->behind) {
                        monitor_catch_up(m);
                        continue;
                }

                r = m->listener->idle(m->listener->userdata);
                if (r != EXIT_DONE)
                        return r;

                r = sd_bus_wait(m->context->bus, time_left(m->check_usec));
                if (r < 0 && r != -EINTR)
                        return r;
                m->behind = time_left(m->check_usec) == 0;
        }
}

int monitor_run(Context *context, const MonitorListener *listener) {
        Monitor m = { .context = context, .listener = listener, .check_usec = NEVER };
        int r;

        assert(context);
        assert(listener);

        r = monitor_start(&m);
        if (r != EXIT_DONE)
                return r;

        while ((r = monitor_process(&m)) < 0) {
                if (m.error < 0)
                        return fail_memory();
                monitor_reconnect(&m);
        }
        return r;
}
