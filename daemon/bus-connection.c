/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>

#include "bus-connection.h"
#include "names.h"

#define PATIENCE_USEC                                                                              \
        (5 * USEC_PER_SEC) /* for how long a silent bus keeps the daemon from starting */
#define RETRY_MIN_USEC (1 * USEC_PER_SEC)
#define RETRY_MAX_USEC (60 * USEC_PER_SEC)
#define NAME_RETRY_USEC                                                                            \
        (100 * USEC_PER_MSEC)   /* a bus may not have noticed yet that our former run ended … */
#define NAME_TRIES          10U /* … but it does soon */
#define TIMER_ACCURACY_USEC (10 * USEC_PER_MSEC)

typedef enum Phase {
        PHASE_AWAY,       /* no connection; the connect timer runs */
        PHASE_CONNECTING, /* until the name is ours */
        PHASE_OWNED,      /* the name is ours */
        PHASE_ENDED,      /* the name is another's */
} Phase;

struct BusConnection {
        sd_event *event;
        Log *log;
        BusConnectionListener listener;

        Phase phase;
        sd_bus *bus; /* a closed one in PHASE_AWAY */
        sd_event_source *connect_timer;
        sd_event_source *name_timer;
        sd_event_source *patience_timer;
        uint64_t retry_usec;
        unsigned name_tries;
        bool warned; /* of this outage */
};

static void start_timer(sd_event_source *timer, uint64_t delay_usec) {
        (void) sd_event_source_set_time_relative(timer, delay_usec);
        (void) sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static void connection_warn(BusConnection *bc, int error, const char *what) {
        if (bc->warned)
                return;

        bc->warned = true;
        (void) log_warning(
                bc->log,
                error,
                "%s; error records go to the journal, and to the bus as soon as that works",
                what);
}

/* There is no working connection, whatever the reason. Another attempt comes by itself. */
static void connection_lost(BusConnection *bc, int error, const char *what) {
        if (bc->phase != PHASE_CONNECTING && bc->phase != PHASE_OWNED)
                return;

        bc->phase = PHASE_AWAY;
        sd_bus_close(bc->bus); /* freed later: we may be in a callback of it */

        (void) sd_event_source_set_enabled(bc->name_timer, SD_EVENT_OFF);
        start_timer(bc->connect_timer, bc->retry_usec);
        bc->retry_usec = bc->retry_usec * 2 < RETRY_MAX_USEC ? bc->retry_usec * 2 : RETRY_MAX_USEC;

        connection_warn(bc, error, what);
        bc->listener.away(bc->listener.userdata);
}

static void connection_owned(BusConnection *bc) {
        if (bc->warned)
                log_info(bc->log, "The system bus works again");

        bc->phase = PHASE_OWNED;
        bc->warned = false;
        bc->retry_usec = RETRY_MIN_USEC;

        bc->listener.owned(bc->bus, bc->listener.userdata);
}

static void connection_name_exists(BusConnection *bc) {
        if (++bc->name_tries < NAME_TRIES) {
                start_timer(bc->name_timer, NAME_RETRY_USEC);
                return;
        }

        bc->phase = PHASE_ENDED;
        bc->listener.name_taken(bc->listener.userdata);
}

static int on_name(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        BusConnection *bc = userdata;
        uint32_t result;
        int r;

        assert(bc);

        if (bc->phase != PHASE_CONNECTING)
                return 0;

        if (sd_bus_message_is_method_error(m, SD_BUS_ERROR_ACCESS_DENIED))
                connection_lost(bc,
                                -EACCES,
                                "The system bus refuses us the name " ERRORD_BUS_NAME
                                ", is its policy file " ERRORD_BUS_NAME ".conf installed?");
        else if (sd_bus_message_is_method_error(m, NULL))
                connection_lost(
                        bc,
                        -sd_bus_message_get_errno(m),
                        "The system bus does not answer when asked for the name " ERRORD_BUS_NAME);
        else {
                r = sd_bus_message_read(m, "u", &result);
                if (r < 0)
                        connection_lost(bc, r, "The system bus speaks nonsense");
                else if (result == 1 ||
                         result == 4) /* DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER, …_ALREADY_OWNER */
                        connection_owned(bc);
                else
                        connection_name_exists(bc);
        }

        return 0;
}

static void connection_request_name(BusConnection *bc) {
        int r;

        /* No queue, no replacement: two daemons would take records from each other. */
        r = sd_bus_request_name_async(bc->bus, NULL, ERRORD_BUS_NAME, 0, on_name, bc);
        if (r < 0)
                connection_lost(bc, r, "Cannot ask the system bus for the name " ERRORD_BUS_NAME);
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        BusConnection *bc = userdata;

        assert(bc);

        connection_lost(bc, 0, "The system bus closed the connection");
        return 0;
}

/* Nothing here waits for the bus: all of it is queued until the connection stands. */
static int connection_open(BusConnection *bc) {
        int r;

        bc->bus = sd_bus_close_unref(bc->bus);

        r = sd_bus_open_system_with_description(&bc->bus, ERRORD_PROGRAM);
        if (r < 0)
                return r;

        /* Closing on exit would flush, and wait for a bus that hangs. */
        r = sd_bus_set_close_on_exit(bc->bus, false);
        if (r < 0)
                return r;

        r = sd_bus_match_signal_async(bc->bus,
                                      NULL,
                                      "org.freedesktop.DBus.Local",
                                      "/org/freedesktop/DBus/Local",
                                      "org.freedesktop.DBus.Local",
                                      "Disconnected",
                                      on_disconnected,
                                      NULL,
                                      bc);
        if (r < 0)
                return r;

        r = bc->listener.connecting(bc->bus, bc->listener.userdata);
        if (r < 0)
                return r;

        /* In a storm of errors too, callers are answered: they and the drains have turns by turns. */
        return sd_bus_attach_event(bc->bus, bc->event, SD_EVENT_PRIORITY_IMPORTANT);
}

static int on_connect_time(sd_event_source *source, uint64_t usec, void *userdata) {
        BusConnection *bc = userdata;
        int r;

        assert(bc);

        bc->phase = PHASE_CONNECTING;
        bc->name_tries = 0;

        r = connection_open(bc);
        if (r < 0)
                connection_lost(
                        bc, r, "Cannot connect to the system bus, is dbus.service running?");
        else
                connection_request_name(bc);

        return 0;
}

static int on_name_time(sd_event_source *source, uint64_t usec, void *userdata) {
        BusConnection *bc = userdata;

        assert(bc);

        if (bc->phase == PHASE_CONNECTING)
                connection_request_name(bc);

        return 0;
}

/* The attempt goes on: it succeeds as soon as the bus wakes up. */
static int on_patience_time(sd_event_source *source, uint64_t usec, void *userdata) {
        BusConnection *bc = userdata;

        assert(bc);

        if (bc->phase == PHASE_CONNECTING) {
                connection_warn(bc, 0, "The system bus does not answer");
                bc->listener.away(bc->listener.userdata);
        }

        return 0;
}

void bus_connection_drop(BusConnection *bc, const char *what) {
        assert(bc);
        assert(what);

        connection_lost(bc, 0, what);
}

static int add_timer(BusConnection *bc,
                     sd_event_source **ret,
                     sd_event_time_handler_t handler,
                     uint64_t delay_usec,
                     int enabled) {
        int r;

        r = sd_event_add_time_relative(
                bc->event, ret, CLOCK_MONOTONIC, delay_usec, TIMER_ACCURACY_USEC, handler, bc);
        if (r < 0)
                return r;

        return sd_event_source_set_enabled(*ret, enabled);
}

int bus_connection_new(sd_event *event,
                       Log *log,
                       const BusConnectionListener *listener,
                       BusConnection **ret) {
        _cleanup_(bus_connection_freep) BusConnection *bc = NULL;
        int r;

        assert(event);
        assert(log);
        assert(listener);
        assert(ret);

        bc = calloc(1, sizeof(*bc));
        if (!bc)
                return -ENOMEM;

        bc->event = sd_event_ref(event);
        bc->log = log;
        bc->listener = *listener;
        bc->retry_usec = RETRY_MIN_USEC;

        r = add_timer(bc, &bc->connect_timer, on_connect_time, 0, SD_EVENT_ONESHOT);
        if (r < 0)
                return r;

        r = add_timer(bc, &bc->name_timer, on_name_time, 0, SD_EVENT_OFF);
        if (r < 0)
                return r;

        r = add_timer(bc, &bc->patience_timer, on_patience_time, PATIENCE_USEC, SD_EVENT_ONESHOT);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(bc);
        return 0;
}

BusConnection *bus_connection_free(BusConnection *bc) {
        if (!bc)
                return NULL;

        bc->bus = sd_bus_close_unref(bc->bus);
        bc->connect_timer = sd_event_source_disable_unref(bc->connect_timer);
        bc->name_timer = sd_event_source_disable_unref(bc->name_timer);
        bc->patience_timer = sd_event_source_disable_unref(bc->patience_timer);
        bc->event = sd_event_unref(bc->event);
        free(bc);
        return NULL;
}
