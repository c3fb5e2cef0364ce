/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include <cmocka.h>

#include "fake-timers.h"
#include "faults.h"
#include "util.h"

#define EXPIRED UINT64_MAX

/* When a timer really expires that is not to do so at once: not before the test ends, however slow. */
#define NEVER_USEC (24 * 3600 * USEC_PER_SEC)

static struct {
        sd_event_source *source;
        uint64_t delay_usec;
} timers[8];
static unsigned n_timers;

/* The linker's names, see --wrap in ld(1). */
int __real_sd_event_add_time_relative(sd_event *event,
                                      sd_event_source **ret,
                                      clockid_t clock,
                                      uint64_t usec,
                                      uint64_t accuracy,
                                      sd_event_time_handler_t handler,
                                      void *userdata);
int __wrap_sd_event_add_time_relative(sd_event *event,
                                      sd_event_source **ret,
                                      clockid_t clock,
                                      uint64_t usec,
                                      uint64_t accuracy,
                                      sd_event_time_handler_t handler,
                                      void *userdata);
int __real_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec);

int __wrap_sd_event_add_time_relative(sd_event *event,
                                      sd_event_source **ret,
                                      clockid_t clock,
                                      uint64_t usec,
                                      uint64_t accuracy,
                                      sd_event_time_handler_t handler,
                                      void *userdata) {
        int r;

        r = fault("sd_event_add_time_relative");
        if (r < 0)
                return r;

        r = __real_sd_event_add_time_relative(
                event, ret, clock, usec == 0 ? 0 : NEVER_USEC, accuracy, handler, userdata);
        assert_true(r >= 0);
        assert_true(n_timers < sizeof(timers) / sizeof(timers[0]));
        timers[n_timers].source = *ret;
        timers[n_timers++].delay_usec = usec;
        return r;
}

int __wrap_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec) {
        for (unsigned i = 0; i < n_timers; i++)
                if (timers[i].source == source) {
                        timers[i].delay_usec = usec;
                        return __real_sd_event_source_set_time_relative(source,
                                                                        usec == 0 ? 0 : NEVER_USEC);
                }

        return __real_sd_event_source_set_time_relative(source, usec); /* another's */
}

void fake_timers_reset(void) {
        n_timers = 0;
}

static bool is_enabled(unsigned timer) {
        int enabled;

        assert_true(timer < n_timers);
        assert_true(sd_event_source_get_enabled(timers[timer].source, &enabled) >= 0);
        return enabled != SD_EVENT_OFF;
}

bool fake_timer_is_started(void *start) {
        const FakeTimerStart *s = start;

        return is_enabled(s->timer) && timers[s->timer].delay_usec == s->delay_usec;
}

void fake_timer_expire(unsigned timer) {
        assert_true(timer < n_timers);
        timers[timer].delay_usec = EXPIRED;
        assert_true(__real_sd_event_source_set_time_relative(timers[timer].source, 0) >= 0);
}

bool fake_timer_has_expired(unsigned timer) {
        return !is_enabled(timer) && timers[timer].delay_usec == EXPIRED;
}
