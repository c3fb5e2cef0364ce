/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the parts of the configuration share. config-read.c knows which files there are, and in
 * which order they count; config-file.c reads one through libeconf; config.c has the keys, and
 * config-rule.c the sections [Function …].
 *
 * libeconf 0.5.1 does not read the folders for us: it merges two of them only, lets the wrong one
 * of two files win, forgets where a value came from, and gives up on all for one that is bad.
 */

#include "config.h"
#include "util.h"

typedef struct ConfigReader {
        Config *config;
        ConfigComplaint complain;
        void *userdata;
        const char *path;   /* what the complaints are about */
        bool administrator; /* it is below /etc */
} ConfigReader;

/*
 * Reads one file and complains about what is wrong with it. A link to /dev/null is an empty file.
 * Returns 0, -ENOENT if there is none, or -ENOMEM.
 */
int config_read_file(ConfigReader *reader, const char *path);

/* Complains about a line of reader->path, 0 if it is not about one. */
void config_complain(const ConfigReader *reader, uint64_t line, const char *format, ...)
        _printf_(3, 4);

/* Keys of sections [Function …], as bits. */
typedef enum ConfigKey {
        CONFIG_KEY_POLICY = 1 << 0,
        CONFIG_KEY_SETTLE = 1 << 1,
        CONFIG_KEY_RECOVERY = 1 << 2,
        CONFIG_KEY_LIMIT = 1 << 3,
} ConfigKey;

/*
 * The keys that config_rule_set() (in_rule) or config_set() knows, by index; NULL behind the last
 * one.
 */
const char *config_key(bool in_rule, size_t index);

/* Like config_set(), for the keys of both kinds of sections; but returns the bit of the key. */
int config_set_function(FunctionConfig *config, const char *key, const char *value);
