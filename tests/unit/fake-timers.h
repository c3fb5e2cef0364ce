/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The timers of the code under test, by the order in which it makes them, 0, 1, 2, …: they can be
 * let expire at once, and asked how long they would have taken; by themselves they expire only if
 * they were started with no delay at all. Wraps sd_event_add_time_relative() and
 * sd_event_source_set_time_relative().
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct FakeTimerStart {
        unsigned timer;
        uint64_t delay_usec;
} FakeTimerStart;

/* Before a test: forgets all timers. */
void fake_timers_reset(void);

/*
 * Whether a timer runs that was started with this delay, and was not let expire since. Takes a
 * FakeTimerStart.
 */
bool fake_timer_is_started(void *start);
void fake_timer_expire(unsigned timer);
/* Whether it has run since it was let expire, and was not started again. */
bool fake_timer_has_expired(unsigned timer);
