/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Publishes the errors of functions that nobody drains for us: what the witness, the kernel log and
 * the uevents say, unless it turns out to be what a VFIO device says too.
 *
 * It is a reader of the ring (for the records of VFIO devices) and writes to it (what found no such
 * record).
 */

#include "function.h"
#include "registry.h"
#include "uevent.h"

typedef struct Observer Observer;

/* context and registry must outlive it. Returns 0, -ENOMEM, or an error of sd-event. */
int observer_new(const FunctionContext *context, Registry *registry, Observer **ret);
Observer *observer_free(Observer *observer);
DEFINE_TRIVIAL_CLEANUP_FUNC(Observer *, observer_free);

/*
 * Begins to read the kernel log, from where the former run of this boot ended, or from now on. The
 * lines are taken in by the event loop, and by then the first scan has to be done: those about
 * functions that are not in the registry are passed over. Failure is said in the log, and uevents
 * still tell that errors happen.
 */
void observer_watch_kernel_log(Observer *observer);

/*
 * Begins to listen to the witness, which told of errors to these maps (see witness.h). Before the
 * kernel log is read. Takes over both fds. Returns 0, or an error of witness_open(): then
 * observer_witness() has its name.
 */
int observer_watch_witness(Observer *observer, int ring_fd, int counters_fd);
/* The witness does not run. state tells why, in less than WITNESS_STATUS_SIZE letters. */
void observer_set_witness(Observer *observer, const char *state);
/* What became of the witness: "active", "off", or why it does not run. observer may be NULL. */
const char *observer_witness(const Observer *observer);

/*
 * The kernel's queue dropped an error of the function. Publishes what the witness has of it, with
 * this ordinal. See FunctionListener.
 */
int observer_dropped(
        Observer *observer, Function *function, uint64_t ordinal, bool patient, const Record **ret);

/* A uevent told of an error of the function at this address. */
void observer_uevent(Observer *observer, const char *address, UeventError error);

/*
 * The function's device is about to be forgotten by the service manager and closed: what could not be
 * told from its line any more is published now.
 */
void observer_closing(Observer *observer, Function *function);
/* The function is about to leave the registry: what waits is published now. */
void observer_hasten(Observer *observer, Function *function);
/* The daemon ends: drains what is open, then publishes what waits for a richer account. */
void observer_finish(Observer *observer);
