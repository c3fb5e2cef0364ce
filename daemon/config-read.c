/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config-private.h"
#include "config.h"
#include "util.h"

#define CONFIG_NAME "zpci-errord.conf"

/* The folders of configuration, the strongest first. */
static const char *const folders[] = { "/etc", "/run", "/usr/lib" };
#define ADMINISTRATOR 0U /* the folder that is the administrator's */

typedef struct Dropin {
        char *path;
        bool administrator;
} Dropin;

typedef struct Dropins {
        Dropin *list;
        size_t n;
} Dropins;

static void dropins_done(Dropins *dropins) {
        for (size_t i = 0; i < dropins->n; i++)
                free(dropins->list[i].path);
        free(dropins->list);
}

static int dropins_compare(const void *a, const void *b) {
        const Dropin *left = a, *right = b;

        return strcmp(basename(left->path), basename(right->path));
}

/* Takes over the path, unless a stronger folder has a file of that name. */
static int dropins_add(Dropins *dropins, Dropin dropin) {
        Dropin *list;

        for (size_t i = 0; i < dropins->n; i++)
                if (dropins_compare(&dropins->list[i], &dropin) == 0) {
                        free(dropin.path);
                        return 0;
                }

        list = reallocarray(dropins->list, dropins->n + 1, sizeof(*list));
        if (!list) {
                free(dropin.path);
                return -ENOMEM;
        }

        dropins->list = list;
        dropins->list[dropins->n++] = dropin;
        return 0;
}

static void closedirp(DIR **dir) {
        if (*dir)
                (void) closedir(*dir);
}

static int dropins_collect(Dropins *dropins, ConfigReader *reader, const char *folder) {
        _cleanup_(closedirp) DIR *dir = opendir(folder);

        reader->path = folder;
        if (!dir) {
                if (errno != ENOENT)
                        config_complain(reader, 0, "%s", strerror(errno));
                return 0;
        }

        for (;;) {
                const struct dirent *entry = readdir(dir);
                const char *suffix;
                Dropin dropin = { .administrator = reader->administrator };
                int r;

                if (!entry)
                        return 0;

                suffix = strrchr(entry->d_name, '.');
                if (entry->d_name[0] == '.' || !suffix || strcmp(suffix, ".conf") != 0)
                        continue;
                if (asprintf(&dropin.path, "%s/%s", folder, entry->d_name) < 0)
                        return -ENOMEM;

                r = dropins_add(dropins, dropin);
                if (r < 0)
                        return r;
        }
}

static int config_read_main(ConfigReader *reader, const char *root) {
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = NULL;
                int r;

                if (asprintf(&path, "%s%s/" CONFIG_NAME, root, folders[i]) < 0)
                        return -ENOMEM;

                reader->administrator = i == ADMINISTRATOR;
                r = config_read_file(reader, path);
                if (r != -ENOENT)
                        return r;
        }

        return 0;
}

static int config_read_dropins(ConfigReader *reader, const char *root) {
        _cleanup_(dropins_done) Dropins dropins = {};
        int r;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *folder = NULL;

                if (asprintf(&folder, "%s%s/" CONFIG_NAME ".d", root, folders[i]) < 0)
                        return -ENOMEM;

                reader->administrator = i == ADMINISTRATOR;
                r = dropins_collect(&dropins, reader, folder);
                if (r < 0)
                        return r;
        }

        if (dropins.n > 1)
                qsort(dropins.list, dropins.n, sizeof(*dropins.list), dropins_compare);

        for (size_t i = 0; i < dropins.n; i++) {
                reader->administrator = dropins.list[i].administrator;
                r = config_read_file(reader, dropins.list[i].path);
                if (r == -ENOENT)
                        config_complain(reader, 0, "%s", strerror(ENOENT));
                else if (r < 0)
                        return r;
        }

        return 0;
}

int config_read(Config *config, const char *root, ConfigComplaint complain, void *userdata) {
        ConfigReader reader = { .config = config, .complain = complain, .userdata = userdata };
        int r;

        assert(config);
        assert(root);
        assert(complain);

        /* Of several values of a key in one file libeconf gives the first, systemd.syntax(7) takes the last. Told
         * to join them, which it can only be by its environment, libeconf gives them all. */
        if (setenv("ECONF_JOIN_SAME_ENTRIES", "1", true) < 0)
                return -ENOMEM;

        r = config_read_main(&reader, root);
        if (r < 0)
                return r;

        return config_read_dropins(&reader, root);
}
