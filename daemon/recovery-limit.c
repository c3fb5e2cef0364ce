/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "parse.h"
#include "recovery-limit.h"
#include "util.h"

#define INTERVAL_USEC_MAX (24 * 60 * 60 * USEC_PER_SEC)

int recovery_limit_parse(const char *text, RecoveryLimit *ret) {
        uint64_t count, interval;
        const char *slash;
        char digits[16];
        int r;

        assert(text);
        assert(ret);

        if (strcmp(text, "off") == 0) {
                *ret = (RecoveryLimit){ 0 };
                return 0;
        }

        slash = strchr(text, '/');
        if (!slash || (size_t) (slash - text) >= sizeof(digits))
                return -EINVAL;
        *(char *) mempcpy(digits, text, (size_t) (slash - text)) = '\0';

        r = parse_decimal(digits, RECOVERY_LIMIT_MAX, &count);
        if (r < 0)
                return r;
        r = parse_span(slash + 1, &interval);
        if (r < 0)
                return r;
        if (count == 0 || interval == 0 || interval > INTERVAL_USEC_MAX)
                return -ERANGE;

        *ret = (RecoveryLimit){ .count = (uint32_t) count, .interval_usec = interval };
        return 0;
}

bool recovery_history_add(RecoveryHistory *history, const RecoveryLimit *limit, uint64_t now_usec) {
        assert(history);
        assert(limit);
        assert(limit->count <= RECOVERY_LIMIT_MAX);

        /* Of the last so many recoveries the first one decides: has it left the interval yet? */
        if (limit->count > 0 && history->total >= limit->count) {
                uint64_t first = (history->total - limit->count) % RECOVERY_LIMIT_MAX;

                if (now_usec - history->times_usec[first] < limit->interval_usec)
                        return false;
        }

        history->times_usec[history->total++ % RECOVERY_LIMIT_MAX] = now_usec;
        return true;
}
