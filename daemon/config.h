/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The configuration as one value: built-in defaults, then files, then the command line.
 *
 * Files are zpci-errord.conf and the drop-ins (files ending in .conf) of zpci-errord.conf.d, each
 * in /etc, /run and /usr/lib, merged the systemd way (systemd.syntax(7)): of two files with the
 * same name the one in /etc hides that in /run, and that one the one in /usr/lib; drop-ins are read
 * in the order of their names, after the main file; the last value wins. A file that is a link to
 * /dev/null hides those of its name and says nothing.
 *
 * A section [Function …] says what is different for the functions that it selects.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recovery-limit.h"
#include "state.h"

#define CONFIG_SETTLE_USEC_MAX (UINT64_C(24) * 60 * 60 * 1000000) /* a day */

typedef enum RecoveryPolicy {
        RECOVERY_POLICY_RESET, /* reset a claimed function after a recoverable error */
        RECOVERY_POLICY_NONE,
} RecoveryPolicy;

/* What is configured for one function. */
typedef struct FunctionConfig {
        Policy policy;
        uint64_t settle_usec; /* at most CONFIG_SETTLE_USEC_MAX */
        RecoveryPolicy recovery;
        RecoveryLimit limit;
} FunctionConfig;

/* A section [Function …]. */
typedef struct ConfigRule ConfigRule;

typedef struct Config {
        FunctionConfig function; /* of functions that no section [Function …] selects */
        uint32_t records;        /* capacity of a fresh ring, RING_SLOTS_MIN … RING_SLOTS_MAX */
        bool witness;            /* whether the eBPF program may run */
        ConfigRule *rules;       /* owned, in the order in which they were read */
        size_t n_rules;
} Config;

/*
 * One thing that is wrong in a file: said to the administrator, and passed over. line is 0 if it is
 * not about one. file and text are valid during the call.
 */
typedef void (*ConfigComplaint)(const char *file, uint64_t line, const char *text, void *userdata);

/*
 * Policy=observe, SettleSec=5, Recovery=reset, RecoveryLimit=5/10min, Records=4096, Witness=auto, and no
 * rules.
 */
void config_defaults(Config *config);

/* Frees the rules. */
void config_done(Config *config);

/*
 * Reads the files below root ("" for the real ones) into *config, which holds defaults. Whatever is
 * wrong is told to complain, and the value that was there stays. Returns 0 or -ENOMEM: then *config
 * has what was read so far. Sets a variable of the environment that libeconf reads, so no other
 * thread may use the environment meanwhile.
 */
int config_read(Config *config, const char *root, ConfigComplaint complain, void *userdata);

/*
 * Sets one key of section [Errord] from text. Returns 0, -ENOENT if there is no such key, -EINVAL
 * or -ERANGE if the value is bad: then *config is unchanged.
 */
int config_set(Config *config, const char *key, const char *value);

/*
 * Adds a section [Function <selector>]: "fid:<hex>", "pchid:<hex>", a PCI address, or a glob(7) of
 * such. administrator tells that it is from /etc. Returns 0, -EINVAL if the selector selects
 * nothing, or -ENOMEM. *ret belongs to config, and is valid until the next rule is added.
 */
int config_add_rule(Config *config, const char *selector, bool administrator, ConfigRule **ret);

/* Like config_set(), for the keys that a section [Function …] has. */
int config_rule_set(ConfigRule *rule, const char *key, const char *value);

/*
 * What is configured for one function. Of each key the last rule that has it wins: among those of
 * the administrator; if none has it, the udev property (of the policy, if has_policy); then among
 * the other rules; then section [Errord] (or --policy=, which sets the same key).
 */
FunctionConfig config_for(const Config *config,
                          const char *address,
                          uint32_t fid,
                          uint16_t pchid,
                          bool has_policy,
                          Policy policy);
