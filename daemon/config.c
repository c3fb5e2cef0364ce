/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "config-private.h"
#include "config.h"
#include "parse.h"
#include "ring.h"
#include "util.h"

void config_defaults(Config *config) {
        assert(config);

        *config = (Config){
                .function = {
                        .policy = POLICY_OBSERVE,
                        .settle_usec = 5 * USEC_PER_SEC,
                        .recovery = RECOVERY_POLICY_RESET,
                        .limit = { .count = 5, .interval_usec = 10 * 60 * USEC_PER_SEC },
                },
                .records = 4096,
                .witness = true,
        };
}

static int set_policy(FunctionConfig *config, const char *value) {
        int policy;

        policy = policy_from_string(value);
        if (policy < 0)
                return policy;

        config->policy = (Policy) policy;
        return 0;
}

static int set_settle(FunctionConfig *config, const char *value) {
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

static int set_recovery(FunctionConfig *config, const char *value) {
        if (strcmp(value, "reset") == 0)
                config->recovery = RECOVERY_POLICY_RESET;
        else if (strcmp(value, "none") == 0)
                config->recovery = RECOVERY_POLICY_NONE;
        else
                return -EINVAL;

        return 0;
}

static int set_limit(FunctionConfig *config, const char *value) {
        return recovery_limit_parse(value, &config->limit);
}

static int set_records(Config *config, const char *value) {
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

static int set_witness(Config *config, const char *value) {
        if (strcmp(value, "auto") == 0)
                config->witness = true;
        else if (strcmp(value, "off") == 0)
                config->witness = false;
        else
                return -EINVAL;

        return 0;
}

/* Keys that both kinds of sections have. */
static const struct {
        const char *key;
        ConfigKey bit;
        int (*set)(FunctionConfig *config, const char *value);
} function_keys[] = {
        { "Policy", CONFIG_KEY_POLICY, set_policy },
        { "SettleSec", CONFIG_KEY_SETTLE, set_settle },
        { "Recovery", CONFIG_KEY_RECOVERY, set_recovery },
        { "RecoveryLimit", CONFIG_KEY_LIMIT, set_limit },
};

/* Keys of section [Errord] only. */
static const struct {
        const char *key;
        int (*set)(Config *config, const char *value);
} daemon_keys[] = {
        { "Records", set_records },
        { "Witness", set_witness },
};

const char *config_key(bool in_rule, size_t index) {
        if (index < ELEMENTSOF(function_keys))
                return function_keys[index].key;
        index -= ELEMENTSOF(function_keys);

        return !in_rule && index < ELEMENTSOF(daemon_keys) ? daemon_keys[index].key : NULL;
}

int config_set_function(FunctionConfig *config, const char *key, const char *value) {
        assert(config);
        assert(key);
        assert(value);

        for (size_t i = 0; i < ELEMENTSOF(function_keys); i++)
                if (strcmp(key, function_keys[i].key) == 0) {
                        int r = function_keys[i].set(config, value);

                        return r < 0 ? r : (int) function_keys[i].bit;
                }

        return -ENOENT;
}

int config_set(Config *config, const char *key, const char *value) {
        int r;

        assert(config);
        assert(key);
        assert(value);

        for (size_t i = 0; i < ELEMENTSOF(daemon_keys); i++)
                if (strcmp(key, daemon_keys[i].key) == 0)
                        return daemon_keys[i].set(config, value);

        r = config_set_function(&config->function, key, value);
        return r < 0 ? r : 0;
}
