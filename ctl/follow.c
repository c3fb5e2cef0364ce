/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "follow.h"

FollowStep follow_step(Follow *follow, const char *stream, uint64_t sequence) {
        assert(follow);
        assert(stream);

        if (strcmp(stream, follow->stream) != 0)
                return FOLLOW_GAP;
        if (sequence <= follow->last)
                return FOLLOW_KNOWN;
        if (sequence - follow->last > 1)
                return FOLLOW_GAP;

        follow->last = sequence;
        return FOLLOW_NEXT;
}

void follow_start(Follow *follow, const char *stream, uint64_t last) {
        assert(follow);
        assert(stream);

        (void) snprintf(follow->stream, sizeof(follow->stream), "%s", stream);
        follow->last = last;
}

uint64_t follow_answer(Follow *follow, const char *stream, uint64_t oldest) {
        uint64_t missed;

        assert(follow);
        assert(stream);

        /* A new stream begins at 1, and all of it came after what is known. */
        if (strcmp(stream, follow->stream) != 0)
                follow_start(follow, stream, 0);

        if (oldest <= follow->last || oldest - follow->last == 1)
                return 0;

        missed = oldest - follow->last - 1;
        follow->last = oldest - 1;
        return missed;
}
