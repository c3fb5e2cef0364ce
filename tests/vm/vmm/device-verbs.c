/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "../fault/inject.h"
#include "../fault/virtio.h"
#include "player.h"

#include <err.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void signal_close(Signal *signal) {
        signal->source = sd_event_source_disable_unref(signal->source);
        if (signal->fd >= 0)
                close(signal->fd);
        signal->fd = -1;
}

static void player_close(Player *player) {
        device_close(&player->device);
        signal_close(&player->error);
        signal_close(&player->request);
        signal_close(&player->notify);
}

static int on_signal(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Signal *signal = userdata;
        eventfd_t count;

        if (eventfd_read(fd, &count) >= 0)
                printf("! %s %llu\n", signal->name, (unsigned long long) count);
        return 0;
}

static int on_request(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Player *player = userdata;
        eventfd_t count = 1;

        if (player->reads)
                eventfd_read(fd, &count);
        printf("! request %llu\n", (unsigned long long) count);
        if (player->closes)
                player_close(player);
        else
                sd_event_source_set_enabled(source, SD_EVENT_OFF);
        return 0;
}

static void
signal_watch(Player *player, Signal *signal, sd_event_io_handler_t handler, void *userdata) {
        int r;

        signal->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (signal->fd < 0)
                err(1, "eventfd");
        r = sd_event_add_io(player->event, &signal->source, signal->fd, EPOLLIN, handler, userdata);
        if (r < 0)
                errx(1, "eventfd: %s", strerror(-r));
}

void signal_open(Player *player, Signal *signal) {
        signal_watch(player, signal, on_signal, signal);
}

static int player_open(Player *player, const char *address, const char **step) {
        int r = player->own_nodes ? nodes_make(address) : 0;

        *step = "node";
        if (r < 0)
                return r;
        snprintf(player->address, sizeof(player->address), "%s", address);
        return device_try_open(&player->device, player->address, step);
}

void verb_open(Player *player, char **words) {
        const char *step;
        int r = player_open(player, words[0], &step);

        if (r < 0) {
                answer_failed(player, -r, step);
                return;
        }
        signal_open(player, &player->error);
        signal_watch(player, &player->request, on_request, player);
        device_arm(&player->device, VFIO_PCI_ERR_IRQ_INDEX, player->error.fd);
        device_arm(&player->device, VFIO_PCI_REQ_IRQ_INDEX, player->request.fd);
        answer(player, "open");
}

void verb_free(Player *player, char **words) {
        uint64_t deadline = player->begin_usec + strtoull(words[1], NULL, 10) * 1000;
        const char *step;
        int r;

        /* Nothing tells when a device is closed that another process has. */
        while ((r = player_open(player, words[0], &step)) == -EBUSY && clock_usec() < deadline)
                poll(NULL, 0, 1);
        if (r < 0) {
                answer_failed(player, -r, step);
                return;
        }
        answer(player, "free");
        player_close(player);
}

void verb_close(Player *player, char **words) {
        player_close(player);
        answer(player, "closed");
}

void verb_obey(Player *player, char **words) {
        player->closes = strcmp(words[0], "no") != 0;
        player->reads = strcmp(words[0], "read") == 0;
        answer(player, "%s", words[0]);
}

void verb_arm(Player *player, char **words) {
        device_arm(&player->device, VFIO_PCI_ERR_IRQ_INDEX, player->error.fd);
        answer(player, "armed");
}

void verb_fault(Player *player, char **words) {
        unsigned pec = (unsigned) atoi(words[0]);

        answer(player,
               "%#llx",
               (unsigned long long) inject_error(&player->device, pec, player->faults++));
}

void verb_reset(Player *player, char **words) {
        device_reset(&player->device);
        answer(player, "reset");
}

void verb_read(Player *player, char **words) {
        uint8_t record[RECORD_MAX];
        char text[8 * RECORD_MAX] = "";
        size_t length, n = 0;

        while ((length = device_take_record(&player->device, record)) > 0) {
                for (size_t i = 0; i < length && n < sizeof(text) - 4; i++)
                        n += (size_t) sprintf(text + n, "%02x", record[i]);
                n += (size_t) sprintf(text + n, " ");
        }
        answer(player, "%s", text);
}

void verb_check(Player *player, char **words) {
        uint32_t vendor =
                device_read(&player->device, VFIO_PCI_CONFIG_REGION_INDEX, PCI_VENDOR_ID, 2);

        answer(player, "%04x %u", vendor, virtio_queues(&player->device));
}

void verb_inject(Player *player, char **words) {
        unsigned pec = (unsigned) atoi(words[2]), count = (unsigned) atoi(words[3]);
        struct device borrowed;
        char text[1024] = "";
        size_t n = 0;

        device_borrow(&borrowed, words[1], atoi(words[0]));
        printf("! borrowed 1\n");
        for (unsigned i = 0; i < count && n < sizeof(text) - 32; i++) {
                if (i > 0)
                        device_reset(&borrowed);
                n += (size_t) sprintf(
                        text + n,
                        " %#llx",
                        (unsigned long long) inject_error(&borrowed, pec, player->faults++));
        }
        device_close(&borrowed);
        answer(player, "%s", text + 1);
}
