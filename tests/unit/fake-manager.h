/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service manager's end of $NOTIFY_SOCKET, with an fd store. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fdstore.h"

#define FAKE_MANAGER_FDS 128U

typedef struct FakeManager {
        struct sockaddr_un address;
        socklen_t address_size;
        int fd;
        bool deaf; /* does what it is told, and answers no barrier */
        sd_event_source *source;
        struct {
                char name[FDSTORE_NAME_SIZE];
                int fd;
        } kept[FAKE_MANAGER_FDS];
        size_t n_kept;
} FakeManager;

/* Sets $NOTIFY_SOCKET. It listens in the event loop of the test. */
void fake_manager_start(FakeManager *manager, sd_event *event);
/* It is gone, with all that it kept. */
void fake_manager_end(FakeManager *manager);
/* What it keeps by this name, or negative. */
int fake_manager_kept(const FakeManager *manager, const char *name);
/* Answers the barriers that it did not. */
void fake_manager_answer(FakeManager *manager);
