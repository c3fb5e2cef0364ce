/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The simulated kernel log. Its readers are connections of the clients: see rpc.h. */

#include <systemd/sd-event.h>

typedef struct Kmsg Kmsg;

int kmsg_new(sd_event *event, Kmsg **ret);
Kmsg *kmsg_free(Kmsg *k);

/* Adds one line. 'priority' is facility << 3 | level. */
void kmsg_write(Kmsg *k, unsigned priority, const char *text);

/* Takes over the connection of a new reader, which starts at the oldest line. */
int kmsg_add_reader(Kmsg *k, int fd);

/* All readers missed lines. */
void kmsg_overrun(Kmsg *k);
