/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One configuration file, read through libeconf. Which files there are, and in which order they count,
 * is config-read.c's.
 *
 * libeconf 0.5.1 does not read the folders for us: it merges two of them only, lets the wrong one of
 * two files win, forgets where a value came from, and gives up on all for one that is bad.
 */

#include "config.h"
#include "util.h"

typedef struct ConfigReader {
        Config *config;
        ConfigComplaint complain;
        void *userdata;
        const char *path; /* what the complaints are about */
} ConfigReader;

/*
 * Reads one file and complains about what is wrong with it. A link to /dev/null is an empty file.
 * Returns 0, -ENOENT if there is none, or -ENOMEM.
 */
int config_read_file(ConfigReader *reader, const char *path);

/* Complains about a line of reader->path, 0 if it is not about one. */
void config_complain(const ConfigReader *reader, uint64_t line, const char *format, ...)
        _printf_(3, 4);

/* The keys that config_set() knows, by index; NULL behind the last one. */
const char *config_key(size_t index);
