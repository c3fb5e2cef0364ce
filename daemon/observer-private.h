/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the parts of the observer share: observer.c decides, observer-kmsg.c listens to the kernel
 * log, and observer-witness.c to the witness.
 */

#include <systemd/sd-id128.h>

#include "kmsg.h"
#include "observer.h"
#include "pairing.h"
#include "witness.h"

struct Observer {
        const FunctionContext *context;
        Registry *registry;
        Pairing *pairing;
        Kmsg *kmsg;
        KmsgListener kmsg_listener;
        sd_id128_t boot_id;
        uint64_t kmsg_sequence; /* how far the kernel log was read */

        Witness *witness; /* NULL if it does not run … */
        WitnessListener witness_listener;
        char witness_state[WITNESS_STATUS_SIZE]; /* … and why not */
        uint64_t started_usec;                   /* CLOCK_MONOTONIC */
        uint64_t *settled; /* numbers of accounts that a former run settled but did not release */
        size_t n_settled;  /* in order */

        uint64_t cursor; /* in the ring: records that were taken into account */
        sd_event_source *post_source;
        sd_event_source *timer;
};

/*
 * Publishes an account of a function, the queue of which dropped it if ordinal is not 0. Returns
 * its record.
 */
const Record *
observer_commit(Observer *observer, Function *f, const PairingAccount *account, uint64_t ordinal);
/* What a record tells to those that tell of the same error. */
PairingAccount observer_account_of(const Record *record);
/* Takes in the records that were drained since. */
void observer_read_ring(Observer *observer);
/* Publishes that of which the time is up. */
void observer_time_is_up(Observer *observer, uint64_t now);
/* Publishes what there is no room for to wait. */
void observer_make_room(Observer *observer);

/* Takes in what the witness has seen until now; if patient, the beginning. Returns whether that was all. */
bool observer_hear_witness(Observer *observer, bool patient);
/* The witness may forget what waits no more. */
void observer_release_witness(Observer *observer);
