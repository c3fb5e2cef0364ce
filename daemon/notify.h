/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the service manager is told (sd_notify(3)), without ever waiting for it.
 *
 * What did not go is kept until it does. What is told are facts, not messages: a newer status
 * replaces one that waits, so nothing piles up.
 */

#include <systemd/sd-event.h>

#include "util.h"

typedef struct Notify Notify;

/*
 * Makes the line to the service manager that $NOTIFY_SOCKET names. Without one all of this does
 * nothing. Feeds the watchdog from now on, if the service manager has one. Returns 0, -ENOMEM,
 * -EINVAL if $NOTIFY_SOCKET is no address of a local socket, or an error of sd-event.
 */
int notify_new(sd_event *event, Notify **ret);
/* What still waits is not told. */
Notify *notify_free(Notify *notify);
DEFINE_TRIVIAL_CLEANUP_FUNC(Notify *, notify_free);

void notify_ready(Notify *notify);     /* the daemon is up, or done with reloading */
void notify_reloading(Notify *notify); /* … begins to read its configuration anew */
void notify_stopping(Notify *notify);  /* … begins to stop */
/* One line for "systemctl status"; without line feeds. What is too long is cut off. */
void notify_status(Notify *notify, const char *format, ...) _printf_(2, 3);
