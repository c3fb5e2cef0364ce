/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "config-file.h"
#include "config.h"
#include "parse.h"
#include "ring.h"
#include "util.h"

void config_defaults(Config *config) {
        assert(config);

        *config = (Config){
                .policy = POLICY_OBSERVE,
                .settle_usec = 5 * USEC_PER_SEC,
                .recovery = RECOVERY_POLICY_RESET,
                .records = 4096,
        };
}

static int config_set_policy(Config *config, const char *value) {
        int policy;

        policy = policy_from_string(value);
        if (policy < 0)
                return policy;

        config->policy = (Policy) policy;
        return 0;
}

static int config_set_settle(Config *config, const char *value) {
        uint64_t usec;
        int r;

        r = parse_span(value, &usec);
        if (r < 0)
                return r;
        if (usec > CONFIG_SETTLE_USEC_MAX)
                return -ERANGE;

        config->settle_usec = usec;
        return 0;
}

static int config_set_recovery(Config *config, const char *value) {
        if (strcmp(value, "reset") == 0)
                config->recovery = RECOVERY_POLICY_RESET;
        else if (strcmp(value, "none") == 0)
                config->recovery = RECOVERY_POLICY_NONE;
        else
                return -EINVAL;

        return 0;
}

static int config_set_records(Config *config, const char *value) {
        uint64_t records;
        int r;

        r = parse_decimal(value, RING_SLOTS_MAX, &records);
        if (r < 0)
                return r;
        if (records < RING_SLOTS_MIN)
                return -ERANGE;

        config->records = (uint32_t) records;
        return 0;
}

static const struct {
        const char *key;
        int (*set)(Config *config, const char *value);
} keys[] = {
        { "Policy", config_set_policy },
        { "SettleSec", config_set_settle },
        { "Recovery", config_set_recovery },
        { "Records", config_set_records },
};

const char *config_key(size_t index) {
        return index < ELEMENTSOF(keys) ? keys[index].key : NULL;
}

int config_set(Config *config, const char *key, const char *value) {
        assert(config);
        assert(key);
        assert(value);

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (strcmp(key, keys[i].key) == 0)
                        return keys[i].set(config, value);

        return -ENOENT;
}

Policy config_policy(const Config *config, bool has_policy, Policy policy) {
        assert(config);

        return has_policy ? policy : config->policy;
}
