/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "player.h"

#include <err.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void nodes_enter_namespace(void) {
        if (unshare(CLONE_NEWNS) < 0)
                err(1, "unshare");
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                err(1, "private mounts");
        if (mount("vmm", "/dev/vfio", "tmpfs", 0, "mode=0755") < 0)
                err(1, "/dev/vfio");
}

static int make(const char *node, const char *numbers) {
        unsigned major, minor;
        FILE *file = fopen(numbers, "re");
        int n;

        if (!file)
                return -errno;
        n = fscanf(file, "%u:%u", &major, &minor);
        fclose(file);
        if (n != 2)
                return -EINVAL;
        /* What is there may be of a function that was unplugged. */
        if (unlink(node) < 0 && errno != ENOENT)
                return -errno;
        return mknod(node, S_IFCHR | 0600, makedev(major, minor)) < 0 ? -errno : 0;
}

int nodes_make(const char *address) {
        char node[PATH_MAX], numbers[PATH_MAX];
        int r = make("/dev/vfio/vfio", "/sys/class/misc/vfio/dev"), group = device_group(address);

        if (r < 0)
                return r;
        if (group < 0)
                return group;
        snprintf(node, sizeof(node), "/dev/vfio/%d", group);
        snprintf(numbers, sizeof(numbers), "/sys/class/vfio/%d/dev", group);
        return make(node, numbers);
}
