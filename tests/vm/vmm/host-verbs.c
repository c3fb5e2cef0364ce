/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the host does, or shows. */

#include "player.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void verb_config(Player *player, char **words) {
        char path[PATH_MAX];
        uint8_t vendor[2];
        int fd;

        snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", words[0]);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || pread(fd, vendor, sizeof(vendor), PCI_VENDOR_ID) != sizeof(vendor))
                answer_failed(player, errno, path);
        else
                answer(player, "%02x%02x", vendor[1], vendor[0]);
        if (fd >= 0)
                close(fd);
}

void verb_write(Player *player, char **words) {
        int fd = open(words[0], O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, words[1], strlen(words[1])) < 0)
                answer_failed(player, errno, words[0]);
        else
                answer(player, "written");
        if (fd >= 0)
                close(fd);
}

void verb_kill(Player *player, char **words) {
        unsigned long long usec = strtoull(words[2], NULL, 10);
        struct timespec wait = { (time_t) (usec / 1000000), (long) (usec % 1000000) * 1000 };
        char path[PATH_MAX], text[1024] = "";
        size_t n = 0;
        FILE *file;

        /* Not in order to wait: the instant is left to chance. */
        nanosleep(&wait, NULL);

        snprintf(path, sizeof(path), "/sys/fs/cgroup/system.slice/%s/cgroup.procs", words[0]);
        file = fopen(path, "re");
        for (int pid; file && n < sizeof(text) - 32 && fscanf(file, "%d", &pid) == 1;)
                if (kill(pid, atoi(words[1])) >= 0)
                        n += (size_t) sprintf(text + n, " %d", pid);
        if (file)
                fclose(file);
        answer(player, "%s", text + (n > 0));
}
