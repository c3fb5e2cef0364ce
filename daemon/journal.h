/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Sends entries to journald and never blocks.
 *
 * sd_journal_sendv(3) blocks without a time-out while journald is stopped. So this speaks the
 * native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL) over a connected, non-blocking datagram
 * socket. An entry that is too large for a datagram goes as a sealed memfd.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>
#include <systemd/sd-event.h>

#include "util.h"

#define JOURNAL_SOCKET     "/run/systemd/journal/socket"
#define JOURNAL_FIELDS_MAX 64U

typedef struct Journal Journal;

/*
 * Makes a sender. Nothing is connected yet: journald may be absent, and come later. socket_path is
 * JOURNAL_SOCKET but in tests. Returns 0, -ENOMEM, -ENAMETOOLONG if the path does not fit a socket
 * address, or an error of sd-event.
 */
int journal_new(sd_event *event, const char *socket_path, Journal **ret);
Journal *journal_free(Journal *journal);
DEFINE_TRIVIAL_CLEANUP_FUNC(Journal *, journal_free);

/*
 * Sends one entry of "NAME=value" fields (values may hold any bytes). Returns
 *   0        journald's socket accepted it: sent, not stored
 *   -EAGAIN  journald is busy or absent, or memory or file descriptors are short. The event loop
 *            wakes up (and with it every post source) when it is worth another try: on EPOLLOUT,
 *            or, if journald is absent, once a second
 *   -EINVAL  a field has no name, or one that journald would refuse
 *   -E2BIG   there are more than JOURNAL_FIELDS_MAX fields
 *   other    the entry can never be sent
 */
int journal_send(Journal *journal, const struct iovec *fields, size_t n_fields);

/*
 * Whether journald has taken everything from its socket that was sent, or its socket is gone. Only
 * then is it of use to look for it in the journal.
 */
bool journal_is_taken(const Journal *journal);

/*
 * For what the daemon says of itself: the same, but an entry that cannot be sent now waits in a
 * bounded queue, in order. What does not fit is dropped and counted, and the count is said in an
 * entry of its own as soon as there is room. Has the signature of a LogSink (common/log.h) with the
 * Journal as userdata.
 */
void journal_send_or_queue(const struct iovec *fields, size_t n_fields, void *journal);
/*
 * Sends what waits in that queue, as far as journald takes it. Returns how many entries still wait.
 */
size_t journal_flush(Journal *journal);

/*
 * For the end of the daemon, without the event loop: waits until then (CLOCK_MONOTONIC) for journald
 * to take more. Returns whether it does: only if the last entry found it busy, rather than absent or
 * something short.
 */
bool journal_wait(const Journal *journal, uint64_t until_usec);
