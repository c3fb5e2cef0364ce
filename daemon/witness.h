/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The witness as a source of errors: an eBPF program that sees the whole record of every error of
 * every function, and takes none. Somebody else attached it, see witness/: what is needed here are
 * the fds of its maps, and no privilege at all.
 *
 * Accounts stay in its ring buffer until they are released. So they outlive the daemon, and the
 * next run reads once more what this one did not finish.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "util.h"
#include "witness-account.h"

#define WITNESS_STATUS_SIZE 32U /* the longest word for why it does not run, with its end */

typedef struct Witness Witness;

/* None of the callbacks may close the Witness, but for failed(). */
typedef struct WitnessListener {
        /* An error was seen. */
        void (*account)(const struct witness_account *account, void *userdata);
        /* The program counts this many errors for which there was no room; told when it changes. */
        void (*overrun)(uint64_t lost, void *userdata);
        /* The ring buffer is damaged (-EBADMSG): nothing more will come. Not from within a call. */
        void (*failed)(int error, void *userdata);
        void *userdata;
} WitnessListener;

/*
 * Reads in an event loop what comes, beginning with what no former run released. Takes over both
 * fds, also if it fails. listener must outlive it. Returns 0, -EBADMSG if these are no maps of the
 * program, or another error of mmap(2) and sd-event.
 */
int witness_open(sd_event *event,
                 int ring_fd,
                 int counters_fd,
                 const WitnessListener *listener,
                 Witness **ret);
Witness *witness_close(Witness *witness);
DEFINE_TRIVIAL_CLEANUP_FUNC(Witness *, witness_close);

/*
 * Reads what is there, without waiting for a turn in the event loop: for who learned something else
 * that came after it. If patient, so many at most that nobody is kept waiting. Returns whether that
 * was all. Never calls failed().
 */
bool witness_catch_up(Witness *witness, bool patient);

/* The number of the oldest account that is not released, UINT64_MAX if there is none. */
uint64_t witness_oldest(const Witness *witness);
/* What became of the accounts below this number is in memory that survives. */
void witness_release(Witness *witness, uint64_t sequence);

/*
 * Reads the word that the loader left instead of maps into text. Takes over fd. Returns 0, or
 * -EBADMSG if it is not one word.
 */
int witness_read_status(int fd, char text[static WITNESS_STATUS_SIZE]);
