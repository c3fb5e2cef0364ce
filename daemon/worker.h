/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A few threads for system calls that block: opening, resetting and closing a VFIO device.
 *
 * The event loop decides everything and owns all state. A job works on memory that the loop does
 * not touch meanwhile, and is reported back by an eventfd.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "util.h"

typedef struct Worker Worker;

typedef enum WorkerUrgency {
        WORKER_PATIENT, /* opening: may hang for seconds, and leaves threads for the others */
        WORKER_URGENT,  /* resetting and closing: somebody waits for it */
} WorkerUrgency;

typedef struct WorkerJob WorkerJob;
struct WorkerJob {
        void (*work)(WorkerJob *job); /* in a thread; nothing but the system calls */
        void (*done)(WorkerJob *job); /* in the event loop, exactly once; may free the job */
        WorkerUrgency urgency;
        WorkerJob *next; /* the worker's */
};

/*
 * Makes a pool of threads, of which a quarter (at least one) never does patient jobs. done() is
 * called with SD_EVENT_PRIORITY_IMPORTANT. Returns 0, -ENOMEM, or an error of pthread_create(3) or
 * sd-event.
 */
int worker_new(sd_event *event, unsigned n_threads, Worker **ret);
/*
 * Forgets the jobs that wait (without done()), and waits for the running ones for as long as that.
 * Returns whether they are finished. If not, they still work on their memory, and the worker is not
 * to be freed: worker_free() would wait for them.
 */
bool worker_end(Worker *worker, uint64_t patience_usec);
/* The same without a bound. Then frees it. */
Worker *worker_free(Worker *worker);
DEFINE_TRIVIAL_CLEANUP_FUNC(Worker *, worker_free);

/*
 * Hands a job over. Cannot fail: the job brings its own memory, and is the worker's until done() is
 * called.
 */
void worker_submit(Worker *worker, WorkerJob *job);
