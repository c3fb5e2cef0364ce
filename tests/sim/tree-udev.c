/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What udev's database has of a function. */

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "files.h"
#include "tree.h"

int tree_property(Sim *sim, const SimFunction *f, const char *key, const char *value) {
        char path[PATH_MAX], old[4096] = "", new[8192] = "";
        size_t n = key ? strlen(key) : 0;
        FILE *file;

        below(path, sim, "/run/udev/data/+pci:%s", f->address);
        file = fopen(path, "re");
        if (file) {
                size_t k = fread(old, 1, sizeof(old) - 1, file);

                old[k] = '\0';
                fclose(file);
        } else
                snprintf(old, sizeof(old), "I:1000000\nE:ID_PATH=pci-%s\nV:1\n", f->address);

        for (char *line = strtok(old, "\n"); line; line = strtok(NULL, "\n"))
                if (!key || strncmp(line, "E:", 2) != 0 || strncmp(line + 2, key, n) != 0 ||
                    line[2 + n] != '=')
                        snprintf(new + strlen(new), sizeof(new) - strlen(new), "%s\n", line);
        if (value)
                snprintf(new + strlen(new), sizeof(new) - strlen(new), "E:%s=%s\n", key, value);
        return write_path(path, new, strlen(new));
}

void tree_properties(Sim *sim, const SimFunction *f, char *ret, size_t size) {
        char path[PATH_MAX], device[128], line[1024];
        FILE *file;

        *ret = '\0';
        tree_devpath(f, device);
        file = fopen(below(path, sim, "/sys%s/uevent", device), "re");
        while (file && fgets(line, sizeof(line), file))
                snprintf(ret + strlen(ret), size - strlen(ret), "%s", line);
        if (file)
                fclose(file);

        file = fopen(below(path, sim, "/run/udev/data/+pci:%s", f->address), "re");
        while (file && fgets(line, sizeof(line), file)) {
                if (strncmp(line, "E:", 2) == 0)
                        snprintf(ret + strlen(ret), size - strlen(ret), "%s", line + 2);
                else if (strncmp(line, "I:", 2) == 0)
                        snprintf(ret + strlen(ret),
                                 size - strlen(ret),
                                 "USEC_INITIALIZED=%s",
                                 line + 2);
        }
        if (file)
                fclose(file);
}
