/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What makes and changes sources of the event loop. */

#include <systemd/sd-event.h>

#include "faults.h"

/* The linker's names, see --wrap in ld(1). */
#define WRAPPED(name, parameters, arguments)                                                       \
        int __real_##name parameters;                                                              \
        int __wrap_##name parameters;                                                              \
        int __wrap_##name parameters {                                                             \
                int r = fault(#name);                                                              \
                                                                                                   \
                return r < 0 ? r : __real_##name arguments;                                        \
        }

WRAPPED(sd_event_add_io,
        (sd_event * event,
         sd_event_source **ret,
         int fd,
         uint32_t events,
         sd_event_io_handler_t handler,
         void *userdata),
        (event, ret, fd, events, handler, userdata))
WRAPPED(sd_event_add_time,
        (sd_event * event,
         sd_event_source **ret,
         clockid_t clock,
         uint64_t usec,
         uint64_t accuracy,
         sd_event_time_handler_t handler,
         void *userdata),
        (event, ret, clock, usec, accuracy, handler, userdata))
WRAPPED(sd_event_add_post,
        (sd_event * event, sd_event_source **ret, sd_event_handler_t handler, void *userdata),
        (event, ret, handler, userdata))
WRAPPED(sd_event_add_defer,
        (sd_event * event, sd_event_source **ret, sd_event_handler_t handler, void *userdata),
        (event, ret, handler, userdata))
WRAPPED(sd_event_source_set_priority,
        (sd_event_source * source, int64_t priority),
        (source, priority))
WRAPPED(sd_event_source_set_ratelimit,
        (sd_event_source * source, uint64_t interval_usec, unsigned burst),
        (source, interval_usec, burst))

int __real_sd_event_source_set_enabled(sd_event_source *source, int enabled);
int __wrap_sd_event_source_set_enabled(sd_event_source *source, int enabled);

/* To enable a source that is there takes no memory, so nobody has to be prepared for that to fail. */
int __wrap_sd_event_source_set_enabled(sd_event_source *source, int enabled) {
        int r = enabled == SD_EVENT_OFF ? fault("sd_event_source_set_enabled") : 0;

        return r < 0 ? r : __real_sd_event_source_set_enabled(source, enabled);
}
