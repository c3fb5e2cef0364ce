/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "config-private.h"
#include "config.h"
#include "parse.h"
#include "util.h"

#define GLOB_SIZE 64U

struct ConfigRule {
        enum {
                SELECT_ADDRESS,
                SELECT_FID,
                SELECT_PCHID,
        } by;
        uint32_t number; /* FID or PCHID */
        char glob[GLOB_SIZE];

        bool administrator;
        unsigned keys; /* those that it has, as bits */
        FunctionConfig values;
};

/* The text behind a prefix, NULL if text does not begin with it. */
static const char *behind(const char *text, const char *prefix) {
        size_t size = strlen(prefix);

        return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static int rule_select_number(ConfigRule *rule, const char *text, uint64_t max) {
        uint64_t number;

        if (parse_hex(text, max, &number) < 0)
                return -EINVAL;

        rule->number = (uint32_t) number;
        return 0;
}

/* What no address can match is a mistake. */
static int rule_select_address(ConfigRule *rule, const char *glob) {
        const char *bracket = strrchr(glob, '[');
        size_t size = strlen(glob);

        if (size == 0 || size >= sizeof(rule->glob) ||
            strspn(glob, "0123456789abcdef:.*?[]!^-") < size)
                return -EINVAL;
        if (!strpbrk(glob, "*?[]") && !pci_address_valid(glob))
                return -EINVAL;
        if (bracket && !strchr(bracket, ']'))
                return -EINVAL;

        memcpy(rule->glob, glob, size + 1);
        return 0;
}

static int rule_select(ConfigRule *rule, const char *selector) {
        const char *number;

        number = behind(selector, "fid:");
        if (number) {
                rule->by = SELECT_FID;
                return rule_select_number(rule, number, UINT32_MAX);
        }

        number = behind(selector, "pchid:");
        if (number) {
                rule->by = SELECT_PCHID;
                return rule_select_number(rule, number, UINT16_MAX);
        }

        rule->by = SELECT_ADDRESS;
        return rule_select_address(rule, selector);
}

int config_add_rule(Config *config, const char *selector, bool administrator, ConfigRule **ret) {
        ConfigRule rule = { .administrator = administrator };
        ConfigRule *rules;
        int r;

        assert(config);
        assert(selector);
        assert(ret);

        r = rule_select(&rule, selector);
        if (r < 0)
                return r;

        rules = reallocarray(config->rules, config->n_rules + 1, sizeof(*rules));
        if (!rules)
                return -ENOMEM;

        config->rules = rules;
        *ret = &rules[config->n_rules++];
        **ret = rule;
        return 0;
}

int config_rule_set(ConfigRule *rule, const char *key, const char *value) {
        int r;

        assert(rule);

        r = config_set_function(&rule->values, key, value);
        if (r < 0)
                return r;

        rule->keys |= (unsigned) r;
        return 0;
}

void config_done(Config *config) {
        assert(config);

        free(config->rules);
        config->rules = NULL;
        config->n_rules = 0;
}

static bool
rule_selects(const ConfigRule *rule, const char *address, uint32_t fid, uint16_t pchid) {
        switch (rule->by) {
        case SELECT_FID:
                return rule->number == fid;
        case SELECT_PCHID:
                return rule->number == pchid;
        default:
                return fnmatch(rule->glob, address, 0) == 0;
        }
}

static void rule_apply(const ConfigRule *rule, FunctionConfig *config) {
        if (rule->keys & CONFIG_KEY_POLICY)
                config->policy = rule->values.policy;
        if (rule->keys & CONFIG_KEY_SETTLE)
                config->settle_usec = rule->values.settle_usec;
        if (rule->keys & CONFIG_KEY_RECOVERY)
                config->recovery = rule->values.recovery;
        if (rule->keys & CONFIG_KEY_LIMIT)
                config->limit = rule->values.limit;
}

FunctionConfig config_for(const Config *config,
                          const char *address,
                          uint32_t fid,
                          uint16_t pchid,
                          bool has_policy,
                          Policy policy) {
        FunctionConfig result;

        assert(config);
        assert(address);

        /* From the weakest to the strongest. */
        result = config->function;
        for (unsigned administrator = 0; administrator <= 1; administrator++) {
                if (administrator && has_policy)
                        result.policy = policy;

                for (size_t i = 0; i < config->n_rules; i++) {
                        const ConfigRule *rule = &config->rules[i];

                        if (rule->administrator == administrator &&
                            rule_selects(rule, address, fid, pchid))
                                rule_apply(rule, &result);
                }
        }

        return result;
}
