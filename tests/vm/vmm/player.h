/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Plays a VMM: opens a function through device nodes of its own in a mount namespace of its own, obeys the kernel's
 * request to let go, and talks to zpci-errord, or does not. Told what to do line by line, see main.c.
 */

#include "../fault/device.h"

#include <stdarg.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

/* An eventfd that is waited on. */
typedef struct Signal {
        const char *name; /* what is said when it comes, as "! NAME COUNT" */
        int fd;           /* -1 if there is none */
        sd_event_source *source;
} Signal;

typedef struct Player {
        sd_event *event;
        sd_bus *bus; /* NULL until it is needed */
        char address[32];
        struct device device;
        Signal error, request, notify;
        bool own_nodes;
        /* When the kernel asks for the device: */
        bool reads;    /* reads the eventfd, which nobody else sees then */
        bool closes;   /* closes the device */
        int inhibitor; /* -1 if there is none */
        unsigned faults;
        uint64_t begin_usec; /* of the verb */
} Player;

uint64_t clock_usec(void);

/* The answer to a verb: one line. error: a positive errno. name: of an error of D-Bus. */
void answer(const Player *player, const char *format, ...) __attribute__((format(printf, 2, 3)));
void answer_failed(const Player *player, int error, const char *what);
void answer_bus_error(const Player *player, int r, const sd_bus_error *error);

/* Makes the eventfd, and waits on it from now on; the other closes it if it is open. */
void signal_open(Player *player, Signal *signal);
void signal_close(Signal *signal);

/* A mount namespace with a /dev/vfio that nobody else sees, as libvirt gives one to each guest. */
void nodes_enter_namespace(void);
/* Makes the nodes in there, which have the numbers of the host's. Returns 0 or -errno. */
int nodes_make(const char *address);

/* The verbs; words are their arguments, all there. */
void verb_open(Player *player, char **words);
void verb_free(Player *player, char **words);
void verb_close(Player *player, char **words);
void verb_obey(Player *player, char **words);
void verb_arm(Player *player, char **words);
void verb_fault(Player *player, char **words);
void verb_reset(Player *player, char **words);
void verb_read(Player *player, char **words);
void verb_check(Player *player, char **words);
void verb_inject(Player *player, char **words);
void verb_config(Player *player, char **words);
void verb_kill(Player *player, char **words);
void verb_write(Player *player, char **words);

void verb_inhibit(Player *player, char **words);
void verb_uninhibit(Player *player, char **words);
void verb_attach(Player *player, char **words);
void verb_detach(Player *player, char **words);
void verb_claim(Player *player, char **words);
void verb_recover(Player *player, char **words);
void verb_release(Player *player, char **words);
void verb_state(Player *player, char **words);
