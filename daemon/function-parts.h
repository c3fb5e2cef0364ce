/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of a function's life share: claiming, draining, recovery. */

#include "function.h"

/* function-claim.c: the device comes and goes */

/*
 * Arms the timer after which the function may be claimed, if it is to be claimed and was not bound
 * long enough yet.
 */
void function_settle(Function *function);
/* Begins to open the device. */
void function_acquire(Function *function);
/*
 * Drains a last time, recovers what is owed, and begins to close the device. Called again after
 * each step.
 */
void function_let_go(Function *function);
/* Something that makes the device useless went wrong: lets go, and tries again later. */
void function_fail(Function *function, int error);

/* function-drain.c: the queue of the kernel into the ring */

/* Begins and ends to listen to the device's eventfds. Returns 0 or an error of sd-event. */
int function_watch(Function *function);
void function_unwatch(Function *function);
/*
 * Moves what the kernel holds into the ring, up to a bound. Returns 1 if there may be more, 0 if
 * not, or an error.
 */
int function_drain(Function *function);

/* function-recovery.c: resets */

/* Whether a recoverable error was reported that no reset has dealt with. */
bool function_owes_recovery(const Function *function);
/*
 * Begins to recover the function if that is owed and configured. Past the limit it becomes a fact
 * instead that it is not to be held any more.
 */
void function_recover_if_due(Function *function);
/* Begins to reset the function. To be done within budget_usec. */
void function_recover(Function *function, uint64_t budget_usec);
/* Somebody waits for the device: no reset, now or later, goes on after budget_usec. */
void function_hurry(Function *function, uint64_t budget_usec);

/* function.c */

/*
 * Hands the function's job to the worker. The function keeps a reference to itself for as long as
 * it is active, so that it can be closed in good order after everybody else has forgotten it.
 */
void function_submit(Function *function,
                     FunctionActivity activity,
                     WorkerUrgency urgency,
                     void (*work)(WorkerJob *job),
                     void (*done)(WorkerJob *job));
/*
 * The activity is over: decides what follows, and drops the reference. The function may be gone
 * after this.
 */
void function_finish(Function *function);
/* The function whose job this is. */
Function *function_of_job(WorkerJob *job);
void function_changed(Function *function, FunctionChange what);
