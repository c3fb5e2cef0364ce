/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

static char *join(char ret[static PATH_MAX], const Sim *sim, const char *format, va_list ap) {
        int n = snprintf(ret, PATH_MAX, "%s", sim->dir);

        vsnprintf(ret + n, PATH_MAX - (size_t) n, format, ap);
        return ret;
}

char *below(char ret[static PATH_MAX], const Sim *sim, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        join(ret, sim, format, ap);
        va_end(ap);
        return ret;
}

static int make_parents(char *path, size_t from) {
        for (char *p = strchr(path + from + 1, '/'); p; p = strchr(p + 1, '/')) {
                *p = '\0';
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return -errno;
                *p = '/';
        }
        return 0;
}

int make_dir(const Sim *sim, const char *path) {
        char full[PATH_MAX];

        below(full, sim, "%s/", path);
        return make_parents(full, strlen(sim->dir));
}

int write_path(const char *path, const void *data, size_t size) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), r = 0;

        if (fd < 0)
                return -errno;
        if (write(fd, data, size) != (ssize_t) size)
                r = -EIO;
        close(fd);
        return r;
}

int write_file(const Sim *sim, const char *path, const char *format, ...) {
        char full[PATH_MAX], value[512];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(value, sizeof(value), format, ap);
        va_end(ap);
        return write_path(below(full, sim, "%s", path), value, (size_t) n);
}

int link_to(const Sim *sim, const char *from, const char *to) {
        char full[PATH_MAX], target[PATH_MAX] = "";
        int r;

        below(full, sim, "%s", from);
        r = make_parents(full, strlen(sim->dir));
        if (r < 0)
                return r;
        for (const char *p = strchr(from + 1, '/'); p && (p = strchr(p + 1, '/'));)
                strncat(target, "../", sizeof(target) - strlen(target) - 1);
        strncat(target, to + strlen("/sys/"), sizeof(target) - strlen(target) - 1);
        (void) unlink(full);
        return symlink(target, full) < 0 ? -errno : 0;
}

void unlink_below(const Sim *sim, const char *format, ...) {
        char full[PATH_MAX];
        va_list ap;

        va_start(ap, format);
        (void) remove(join(full, sim, format, ap));
        va_end(ap);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) remove(path);
        return 0;
}

void remove_tree(const Sim *sim, const char *path) {
        char full[PATH_MAX];

        (void) nftw(below(full, sim, "%s", path), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int make_node(const Sim *sim,
              const char *path,
              uint64_t size,
              unsigned mode,
              const char *number,
              uint64_t *ret) {
        char full[PATH_MAX], name[PATH_MAX];
        struct stat st;
        int fd, r = 0;

        below(full, sim, "%s", path);
        r = make_parents(full, strlen(sim->dir));
        if (r < 0)
                return r;
        (void) unlink(full);
        fd = open(full, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t) size) < 0 || fchmod(fd, mode) < 0 || fstat(fd, &st) < 0)
                r = -errno;
        else if (ret)
                *ret = st.st_ino;
        close(fd);
        if (r < 0 || !number)
                return r;

        snprintf(name, sizeof(name), "%s", path + strlen("/dev/"));
        for (char *p = name; *p; p++)
                if (*p == '/')
                        *p = '_';
        below(full, sim, "/dev/.node/%s", name);
        (void) unlink(full);
        return symlink(number, full) < 0 ? -errno : 0;
}
