/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "function-parts.h"

/* Somebody may be waiting in an unbind, and should not have to wait for a second. */
#define LEAVE_USEC (700 * USEC_PER_MSEC)

void function_nodes(const Function *f, VfioNodes *ret) {
        assert(f);
        assert(ret);

        *ret = (VfioNodes){ 0 };
        memcpy(ret->address, f->sysfs.address, sizeof(ret->address));
        if (f->sysfs.group != UINT32_MAX)
                (void) snprintf(
                        ret->group, sizeof(ret->group), "/dev/vfio/%" PRIu32, f->sysfs.group);
        if (f->sysfs.cdev[0] != '\0')
                (void) snprintf(
                        ret->cdev, sizeof(ret->cdev), "/dev/vfio/devices/%s", f->sysfs.cdev);
}

/* The device is in our hands. What its errors are counted with may be there already. */
static void function_opened(Function *f, VfioDevice *device) {
        int r;

        f->device = device;
        f->facts.held = true;
        f->open_again_usec = 0;
        f->leave_deadline_usec = 0;
        f->interface = vfio_interface(device);

        f->counters_spare = (RingFunction){ .fid = f->sysfs.fid };
        f->counters = ring_function(f->context->ring, f->sysfs.fid) ?: &f->counters_spare;
        f->opened_now = f->counters->drained == 0 && f->counters->signalled == 0;
        f->errors = f->counters->owes;
        f->errors_recovered = f->errors_resetting = 0;

        if (vfio_function_handle(device) != 0)
                f->sysfs.fh = vfio_function_handle(device);
        if (f->facts.vfio_bound)
                function_changed(f, FUNCTION_CHANGED_INTERFACE | FUNCTION_CHANGED_SYSFS);

        r = function_watch(f);
        if (r < 0)
                function_fail(f, r);
}

static void work_open(WorkerJob *job) {
        FunctionJob *j = &function_of_job(job)->job;

        j->device = NULL;
        j->result = vfio_open(&j->nodes, &j->device, &j->problem);
}

static void done_open(WorkerJob *job) {
        Function *f = function_of_job(job);

        if (f->job.result < 0)
                function_not_opened(f, f->job.result);
        else {
                ring_forget_function(f->context->ring, f->sysfs.fid);
                function_opened(f, TAKE_PTR(f->job.device));
                /* Known by name before the service manager has it: it may be unbound when the next run
                 * finds it there. */
                function_changed(f, FUNCTION_ANSWERS);
                function_keep(f);
        }
        function_finish(f);
}

void function_acquire(Function *f) {
        assert(f);
        assert(!f->device);

        /* What we do with the node ourselves is no news. */
        function_disarm(f);
        function_nodes(f, &f->job.nodes);
        function_submit(f, FUNCTION_OPENING, WORKER_PATIENT, work_open, done_open);
        /* Not when it is open: of many that are opened together, all are written down at once. */
        function_changed(f, FUNCTION_CHANGED_MEMORY);
}

static void work_take_back(WorkerJob *job) {
        FunctionJob *j = &function_of_job(job)->job;

        j->device = NULL;
        j->result = vfio_take_back(&j->fds, &j->device, &j->problem);
}

/* The attachment came to nothing, or is over. */
static void function_detached(Function *f) {
        if (!f->facts.attached)
                return;

        f->facts.attached = f->facts.requested = false;
        function_drop_owner(&f->owner);
        function_changed(f, FUNCTION_CHANGED_MEMORY);
}

static void on_former_forgotten(FdStoreSync *sync) {
        Function *f = function_of_sync(sync);

        function_settle_anew(f);
        function_finish(f);
}

static void done_take_back(WorkerJob *job) {
        Function *f = function_of_job(job);
        int r = f->job.result;

        if (r >= 0) {
                function_opened(f, TAKE_PTR(f->job.device));
                function_keep(f);
                function_finish(f);
                return;
        }

        (void) function_log(f,
                            LOG_WARNING,
                            r,
                            NULL,
                            "the device that the former run held cannot be taken back (%s)",
                            f->job.problem.what ?: "unknown");
        ring_forget_function(f->context->ring, f->sysfs.fid);
        function_detached(f);
        function_forget(f, on_former_forgotten);
}

void function_take_back(Function *f) {
        assert(f);
        assert(f->former.device >= 0);

        f->job.fds = f->former;
        f->former = VFIO_NO_FDS;
        function_submit(f, FUNCTION_OPENING, WORKER_URGENT, work_take_back, done_take_back);
}

static void work_take_over(WorkerJob *job) {
        FunctionJob *j = &function_of_job(job)->job;

        j->result = vfio_attach(j->device, j->nodes.address, j->request_fd, &j->problem);
        j->request_fd = safe_close(j->request_fd);
        if (j->result < 0)
                j->device = vfio_close(j->device);
}

static void done_take_over(WorkerJob *job) {
        Function *f = function_of_job(job);
        int r = f->job.result;

        if (r < 0)
                function_detached(f);
        else {
                ring_forget_function(f->context->ring, f->sysfs.fid);
                function_opened(f, TAKE_PTR(f->job.device));
                /* Known as its owner's before the service manager has it. */
                function_changed(f, FUNCTION_ANSWERS);
                function_keep(f);
        }
        function_request_over(f, FUNCTION_TO_BE_ATTACHED, r);
        function_finish(f);
}

void function_take_over(Function *f, FunctionRequest *request) {
        assert(f);
        assert(!f->device);
        assert(request);

        function_disarm(f);
        request->begun = true;
        f->facts.attached = true;
        f->owner = request->owner;
        request->owner.notify_fd = -EBADF;

        function_nodes(f, &f->job.nodes);
        f->job.device = TAKE_PTR(request->device);
        f->job.request_fd = TAKE_FD(request->request_fd);
        function_submit(f, FUNCTION_OPENING, WORKER_URGENT, work_take_over, done_take_over);
        function_changed(f, FUNCTION_CHANGED_MEMORY);
}

static void work_close(WorkerJob *job) {
        FunctionJob *j = &function_of_job(job)->job;

        j->device = vfio_close(j->device);
}

static void done_close(WorkerJob *job) {
        Function *f = function_of_job(job);
        bool requested = f->facts.requested;

        f->facts.held = false;
        f->facts.requested = false;
        /* When the daemon ends, the attachment may go on in the next run. */
        if (!f->facts.stopping || !f->context->restarts)
                function_detached(f);
        function_changed(f, FUNCTION_CHANGED_MEMORY);

        /* Who asked for it may be done with it, if it is still bound: as if it had just been bound. */
        if (requested)
                function_settle_anew(f);
        function_finish(f);
}

static void function_close(Function *f) {
        function_submit(f, FUNCTION_CLOSING, WORKER_URGENT, work_close, done_close);
}

/*
 * It was open until now, and what came meanwhile is in its queue. An error that is still to be recovered
 * has us begin anew; that ends with the deadline. Returns whether it does.
 */
static bool function_must_stay(Function *f) {
        (void) function_drain(f);
        if (!function_owes_recovery(f) || now_usec(CLOCK_MONOTONIC) >= f->leave_deadline_usec ||
            function_watch(f) < 0)
                return false;

        function_keep(f);
        return true;
}

static void on_forgotten(FdStoreSync *sync) {
        Function *f = function_of_sync(sync);

        f->device = TAKE_PTR(f->job.device);
        if (function_must_stay(f)) {
                function_finish(f);
                return;
        }

        function_unwatch(f);
        f->job.device = TAKE_PTR(f->device);
        f->counters = NULL;
        ring_forget_function(f->context->ring, f->sysfs.fid);
        function_close(f);
}

/*
 * The service manager keeps it for the next run. It stays open until our very end, and is drained
 * until then: what is logged meanwhile and left in its queue would be told by us from the log, and
 * again by the next run.
 */
static bool function_outlives_us(const Function *f) {
        return f->facts.stopping && f->context->restarts && f->facts.vfio_bound &&
               !f->facts.requested && !f->requests && function_is_kept(f);
}

void function_let_go(Function *f) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        int r;

        assert(f);
        assert(f->device);
        assert(f->activity == FUNCTION_IDLE);

        /* One burst is many times what the kernel can hold. An error here changes nothing any more:
         * it was said when it first came, or the function is gone. */
        r = function_drain(f);

        /* The reset that a close does skips silently while the kernel handles an error. However many
         * errors come meanwhile, all of this is over by the deadline. */
        if (f->leave_deadline_usec == 0)
                f->leave_deadline_usec = now + LEAVE_USEC;
        if (function_owes_recovery(f) && now < f->leave_deadline_usec) {
                function_recover(f, f->leave_deadline_usec - now);
                return;
        }

        if (function_outlives_us(f))
                return;

        if (r != 0)
                function_announce_rest(f);
        function_unwatch(f);
        /* While the next run would still know of it: what else is to be told of its errors. */
        function_changed(f, FUNCTION_DRAINED_LAST);
        f->job.device = TAKE_PTR(f->device);

        /* Ours is the last close: it is the one that resets the function, and nobody else waits. */
        function_begin(f, FUNCTION_CLOSING);
        function_forget(f, on_forgotten);
}
