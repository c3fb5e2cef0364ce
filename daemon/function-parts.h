/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of a function's life share: claiming, draining, recovery. */

#include "function.h"

/* function-claim.c: when the device is to be tried */

/* Makes the timer, which is not armed. Returns 0 or an error of sd-event. */
int function_new_claim_timer(Function *function);
/*
 * Arms the timer after which the function may be claimed, if it is to be claimed and was not bound
 * long enough yet.
 */
void function_settle(Function *function);
/* It is to be ours if it can be had: bound, wanted, and nobody asked us to keep off. */
bool function_is_wanted(const Function *function);
/* As if it had just been bound: somebody used it, or may use it next. */
void function_settle_anew(Function *function);
/* Ends to wait for the time to try. */
void function_disarm(Function *function);
/* It could not be opened. */
void function_not_opened(Function *function, int error);
/* Something that makes the device useless went wrong: lets go, and tries again later. */
void function_fail(Function *function, int error);

/* function-device.c: the device comes and goes */

/* Where its nodes are. */
void function_nodes(const Function *function, VfioNodes *ret);
/* Begins to open the device. */
void function_acquire(Function *function);
/* Begins to take back the device that the former run had. */
void function_take_back(Function *function);
/* Begins to take over the device of its owner. */
void function_take_over(Function *function, FunctionRequest *request);
/*
 * Drains a last time, recovers what is owed, and begins to close the device. Called again after
 * each step.
 */
void function_let_go(Function *function);

/* function-ask.c: what somebody asked for */

/* Something more is asked for. */
void function_ask(Function *function, FunctionRequest *request, FunctionDemand demand);
/* The first request of this kind that was not begun; NULL if there is none. */
FunctionRequest *function_request(const Function *function, FunctionDemand demand);
/* The result of what was begun. */
void function_request_over(Function *function, FunctionDemand demand, int error);
/* Answers what can be answered. */
void function_answer(Function *function);
/* The end of it: nothing can be done any more. */
void function_refuse_all(Function *function);
/* Looks up who keeps us from it. */
void function_find_inhibitor(Function *function);
/* The attachment is over. */
void function_drop_owner(FunctionOwner *owner);

/* function-wishes.c: what Claim() and Release() said */

/* What Claim() and Release() said is not so any more. */
void function_forget_wishes(Function *function);
/* A claim came to its end: if it failed, all is as it was before it. */
void function_claim_ended(Function *function, bool done);
/* Has the release end when it is to. */
void function_arm_grace(Function *function);

/* function-keep.c: what outlives the process */

/* Takes what the service manager kept of the former run. */
void function_find_former(Function *function, const HandoverFunction *former);
/* Gives the open device to the service manager, or what that has not of it. */
void function_keep(Function *function);
/* Whether the service manager has it, or will have. */
bool function_is_kept(const Function *function);
/* Has the service manager forget it; then calls back. */
void function_forget(Function *function, void (*done)(FdStoreSync *sync));
Function *function_of_sync(FdStoreSync *sync);

/* function-drain.c: the queue of the kernel into the ring */

/* Begins and ends to listen to the device's eventfds. Returns 0 or an error of sd-event. */
int function_watch(Function *function);
void function_unwatch(Function *function);
/*
 * Moves what the kernel holds into the ring, up to a bound. Returns 1 if there may be more, 0 if
 * not, or an error.
 */
int function_drain(Function *function);
/* The last drain did not come to an end. Announces what the close of the device is going to throw away. */
void function_announce_rest(Function *function);

/* function-recovery.c: resets */

/*
 * Makes the timer for another try, while there is memory: without it, a function would stay in error.
 * Returns 0 or an error of sd-event.
 */
int function_new_reset_timer(Function *function);
/* Whether a recoverable error was reported that no reset has dealt with. */
bool function_owes_recovery(const Function *function);
/*
 * Begins to recover the function if that is owed and configured. Past the limit it becomes a fact
 * instead that it is not to be held any more.
 */
void function_recover_if_due(Function *function);
/* Begins to reset the function. To be done within budget_usec. */
void function_recover(Function *function, uint64_t budget_usec);
/* Begins to reset it if somebody asked for that. */
void function_begin_reset(Function *function);
/* Notes in the ring that no recovery is owed, if that is so. */
void function_settle_debt(Function *function);
/* Somebody waits for the device: no reset, now or later, goes on after budget_usec. */
void function_hurry(Function *function, uint64_t budget_usec);

/* function-log.c: what the administrator is told */

/* That the state is another one, and what to know of it. */
void function_log_state(Function *function);
/* That it was bound anew, or to another driver. */
void function_log_binding(Function *function, const SysfsFunction *now);

/* function.c */

/*
 * Something goes on with the device. The function keeps a reference to itself for as long as it is
 * active, so that it can be closed in good order after everybody else has forgotten it.
 */
void function_begin(Function *function, FunctionActivity activity);
/* Hands the function's job to the worker. */
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
