/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where somebody is in the daemon's stream of errors: each has one sequence number, without holes.
 */

#include <stdbool.h>
#include <stdint.h>

#define FOLLOW_STREAM_SIZE 33U /* 32 hexadecimal digits */

typedef struct Follow {
        char stream[FOLLOW_STREAM_SIZE]; /* empty as long as none is known */
        uint64_t last;                   /* sequence number of the last error that is known */
} Follow;

typedef enum FollowStep {
        FOLLOW_NEXT,  /* the next one; it is known from now on */
        FOLLOW_KNOWN, /* it was known already */
        FOLLOW_GAP,   /* others come before it: ask the daemon for all of them */
} FollowStep;

/* Looks at an error of which a signal or the daemon's answer tells. */
FollowStep follow_step(Follow *follow, const char *stream, uint64_t sequence);

/* Starts behind everything there is. */
void follow_start(Follow *follow, const char *stream, uint64_t last);

/*
 * Takes note of the head of an answer to GetRecords: which stream it is about, and the oldest
 * sequence number that the daemon still has. Returns how many errors nobody has any more.
 */
uint64_t follow_answer(Follow *follow, const char *stream, uint64_t oldest);
