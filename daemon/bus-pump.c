/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>

#include "bus-function.h"
#include "bus-pump.h"
#include "bus-record.h"
#include "names.h"

/* After a request for a device, before anything is drained. */
#define PRIORITY_URGENT (SD_EVENT_PRIORITY_IMPORTANT - 5)

/* Until the next try, if memory is short. */
#define SHORTAGE_USEC       (100 * USEC_PER_MSEC)
#define TIMER_ACCURACY_USEC (10 * USEC_PER_MSEC)

struct BusPump {
        Ring *ring;
        Log *log;
        sd_bus *connection; /* NULL while there is none */
        sd_event_source *post_source;
        sd_event_source *urgent_source;
        sd_event_source *more_source;
        sd_event_source *shortage_timer;
        uint64_t cursor;    /* what was emitted */
        unsigned in_flight; /* entries between the stored cursor and this one */
        uint64_t missed;    /* entries that were overwritten before we came to them, not yet said */
        char stream[BUS_STREAM_SIZE];
};

static const char *pump_signal(const Record *record) {
        switch (record->kind) {
        case RECORD_ERROR:
                return "ErrorReported";
        case RECORD_LOST:
                return "RecordsLost";
        case RECORD_RECOVERY:
                return "RecoveryChanged";
        default:
                return NULL; /* of a later version, perhaps */
        }
}

static int pump_append(const BusPump *pump, sd_bus_message *m, const Record *record) {
        const char *address = bus_record_address(record);
        const char *recovery;

        switch (record->kind) {
        case RECORD_ERROR:
                return bus_record_append(m, record, pump->stream);
        case RECORD_LOST:
                return sd_bus_message_append(m, "sut", address, record->identity.fid, record->lost);
        default:
                recovery = record_recovery_to_string(record->recovery);
                return recovery ? sd_bus_message_append(
                                          m, "sus", address, record->identity.fid, recovery)
                                : -EBADMSG;
        }
}

static int pump_emit(const BusPump *pump, const Record *record) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char path[BUS_FUNCTION_PATH_SIZE];
        const char *member;
        int r;

        member = pump_signal(record);
        if (!member)
                return -EBADMSG;

        /* The function may have gone meanwhile. What it reported is told all the same. */
        bus_function_path(record->identity.fid, path);

        r = sd_bus_message_new_signal(
                pump->connection, &m, path, ERRORD_FUNCTION_INTERFACE, member);
        if (r < 0)
                return r;

        r = pump_append(pump, m, record);
        if (r < 0)
                return r;

        return sd_bus_send(pump->connection, m, NULL);
}

/* What has left our memory need not be sent again. */
static void pump_acknowledge(BusPump *pump) {
        uint64_t n;

        if (pump->in_flight == 0 || sd_bus_get_n_queued_write(pump->connection, &n) < 0 || n > 0)
                return;

        ring_set_cursor(pump->ring, RING_READER_BUS, pump->cursor);
        pump->in_flight = 0;
}

/* Said when all has been caught up with: in a storm there would be one message for each turn. */
static void pump_say_missed(BusPump *pump) {
        if (pump->missed == 0)
                return;

        log_warning(
                pump->log,
                0,
                "%" PRIu64
                " ring entries were overwritten before the system bus took them; subscribers see "
                "a gap in the sequence numbers, the journal may have them",
                pump->missed);
        pump->missed = 0;
}

/* Returns false if it has to be tried again, and what has to come before that is on its way. */
static bool pump_handle(BusPump *pump, const Record *record) {
        int r;

        r = pump_emit(pump, record);
        if (r >= 0)
                return true;
        if (sd_bus_is_open(pump->connection) <= 0)
                return false; /* we are told of its end soon */
        if (r == -ENOMEM || r == -ENOBUFS) {
                (void) sd_event_source_set_time_relative(pump->shortage_timer, SHORTAGE_USEC);
                (void) sd_event_source_set_enabled(pump->shortage_timer, SD_EVENT_ONESHOT);
                return false;
        }

        log_warning(pump->log,
                    r,
                    "FID 0x%08x: cannot make a signal of ring entry %" PRIu64 ", passing it over",
                    record->identity.fid,
                    record->position);
        return true;
}

uint64_t bus_pump_run(BusPump *pump) {
        const Record *record = NULL;
        uint64_t cursor, missed;
        bool taken = true;

        assert(pump);

        if (!pump->connection)
                return ring_head(pump->ring) - ring_cursor(pump->ring, RING_READER_BUS);

        pump_acknowledge(pump);

        while (pump->in_flight < BUS_PUMP_IN_FLIGHT) {
                cursor = pump->cursor;
                record = ring_next(pump->ring, &cursor, &missed);
                if (!record) {
                        pump_say_missed(pump);
                        break;
                }

                taken = pump_handle(pump, record);
                if (!taken)
                        break;

                pump->cursor = cursor;
                pump->missed += missed;
                pump->in_flight++;
        }

        pump_acknowledge(pump);

        /*
         * All were taken: the others have their turn, then we go on. Otherwise the socket's
         * EPOLLOUT wakes us, or the timer.
         */
        if (record && taken && pump->in_flight == 0)
                (void) sd_event_source_set_enabled(pump->more_source, SD_EVENT_ONESHOT);

        return ring_head(pump->ring) - ring_cursor(pump->ring, RING_READER_BUS);
}

static int on_post(sd_event_source *source, void *userdata) {
        (void) bus_pump_run(userdata);
        return 0;
}

/* In a storm of errors, what drains would never let us have our turn. */
static int on_post_urgent(sd_event_source *source, void *userdata) {
        BusPump *pump = userdata;

        if (ring_is_behind(pump->ring, RING_READER_BUS))
                (void) bus_pump_run(pump);
        return 0;
}

/* Another turn of the loop is all that is wanted: the post source follows it. */
static int on_more(sd_event_source *source, void *userdata) {
        return 0;
}

/* Nor here. */
static int on_shortage_time(sd_event_source *source, uint64_t usec, void *userdata) {
        return 0;
}

void bus_pump_set_connection(BusPump *pump, sd_bus *connection) {
        assert(pump);

        pump->connection = connection;
        pump->cursor = ring_cursor(pump->ring, RING_READER_BUS);
        pump->in_flight = 0;
        /* Entries may wait already, and nothing else happen. */
        (void) sd_event_source_set_enabled(pump->more_source,
                                           connection ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int pump_add_sources(BusPump *pump, sd_event *event) {
        int r;

        r = sd_event_add_post(event, &pump->post_source, on_post, pump);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(pump->post_source, "bus-pump");

        r = sd_event_add_post(event, &pump->urgent_source, on_post_urgent, pump);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(pump->urgent_source, PRIORITY_URGENT);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(pump->urgent_source, "bus-pump-urgent");

        r = sd_event_add_defer(event, &pump->more_source, on_more, pump);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(pump->more_source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(pump->more_source, "bus-pump-more");

        r = sd_event_add_time_relative(event,
                                       &pump->shortage_timer,
                                       CLOCK_MONOTONIC,
                                       0,
                                       TIMER_ACCURACY_USEC,
                                       on_shortage_time,
                                       pump);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(pump->shortage_timer, "bus-pump-shortage");
        return sd_event_source_set_enabled(pump->shortage_timer, SD_EVENT_OFF);
}

int bus_pump_new(sd_event *event, Ring *ring, Log *log, BusPump **ret) {
        _cleanup_(bus_pump_freep) BusPump *pump = NULL;
        int r;

        assert(event);
        assert(ring);
        assert(log);
        assert(ret);

        pump = calloc(1, sizeof(*pump));
        if (!pump)
                return -ENOMEM;

        pump->ring = ring;
        pump->log = log;
        pump->cursor = ring_cursor(ring, RING_READER_BUS);
        bus_stream_id(ring, pump->stream);

        r = pump_add_sources(pump, event);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(pump);
        return 0;
}

BusPump *bus_pump_free(BusPump *pump) {
        if (!pump)
                return NULL;

        pump->post_source = sd_event_source_disable_unref(pump->post_source);
        pump->urgent_source = sd_event_source_disable_unref(pump->urgent_source);
        pump->more_source = sd_event_source_disable_unref(pump->more_source);
        pump->shortage_timer = sd_event_source_disable_unref(pump->shortage_timer);
        free(pump);
        return NULL;
}
