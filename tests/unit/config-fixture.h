/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A folder that stands for the root of the file system, and what was complained about of the files in it. */

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "config.h"
#include "ring.h"
#include "util.h"

#define ETC_MAIN   "/etc/zpci-errord.conf"
#define RUN_MAIN   "/run/zpci-errord.conf"
#define USR_MAIN   "/usr/lib/zpci-errord.conf"
#define ETC_DROPIN "/etc/zpci-errord.conf.d/"
#define RUN_DROPIN "/run/zpci-errord.conf.d/"
#define USR_DROPIN "/usr/lib/zpci-errord.conf.d/"

typedef struct Fixture {
        char root[32];
        char complaints[4096]; /* "<path below root>:<line>: <text>\n" each */
} Fixture;

static inline int setup(void **state) {
        static const char *const folders[] = {
                "/etc",
                "/etc/zpci-errord.conf.d",
                "/run",
                "/run/zpci-errord.conf.d",
                "/usr",
                "/usr/lib",
                "/usr/lib/zpci-errord.conf.d",
        };
        Fixture *fixture = calloc(1, sizeof(*fixture));

        assert_non_null(fixture);
        (void) strcpy(fixture->root, "/tmp/test-config-XXXXXX");
        assert_non_null(mkdtemp(fixture->root));

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                char path[PATH_MAX];

                (void) snprintf(path, sizeof(path), "%s%s", fixture->root, folders[i]);
                assert_return_code(mkdir(path, 0755), errno);
        }

        *state = fixture;
        return 0;
}

static inline int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

static inline int teardown(void **state) {
        Fixture *fixture = *state;

        assert_return_code(nftw(fixture->root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), errno);
        free(fixture);
        return 0;
}

static inline void put_bytes(Fixture *fixture, const char *name, const char *bytes, size_t size) {
        char path[PATH_MAX];
        FILE *file;

        (void) snprintf(path, sizeof(path), "%s%s", fixture->root, name);
        file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
}

static inline void put(Fixture *fixture, const char *name, const char *text) {
        put_bytes(fixture, name, text, strlen(text));
}

static inline void put_link(Fixture *fixture, const char *name, const char *target) {
        char path[PATH_MAX];

        (void) snprintf(path, sizeof(path), "%s%s", fixture->root, name);
        assert_return_code(symlink(target, path), errno);
}

static inline void complain(const char *file, uint64_t line, const char *text, void *userdata) {
        Fixture *fixture = userdata;
        size_t used = strlen(fixture->complaints);

        assert_int_equal(strncmp(file, fixture->root, strlen(fixture->root)), 0);
        (void) snprintf(fixture->complaints + used,
                        sizeof(fixture->complaints) - used,
                        "%s:%ju: %s\n",
                        file + strlen(fixture->root),
                        (uintmax_t) line,
                        text);
}

static inline Config read_all(Fixture *fixture) {
        Config config;

        config_defaults(&config);
        assert_int_equal(config_read(&config, fixture->root, complain, fixture), 0);
        return config;
}
