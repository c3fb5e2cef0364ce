/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "function-parts.h"

static bool judge_closed(const Function *f, FunctionOutcome *ret) {
        *ret = FUNCTION_DONE;
        return !function_is_busy(f);
}

static bool judge_held(const Function *f, FunctionOutcome *ret, int *ret_error) {
        const Facts *facts = &f->facts;

        if (!facts->vfio_bound)
                *ret = FUNCTION_NOT_BOUND;
        else if (facts->inhibited)
                *ret = FUNCTION_INHIBITED;
        else if (facts->attached || facts->released)
                *ret = FUNCTION_BUSY;
        else if (facts->permanent)
                *ret = FUNCTION_PERMANENT;
        else if (facts->unsupported)
                *ret = FUNCTION_NOT_SUPPORTED;
        else if (f->device && state_decide(facts).hold)
                *ret = FUNCTION_DONE;
        else if (f->activity != FUNCTION_IDLE)
                return false;
        else if (facts->waiting && facts->error == -EBUSY)
                *ret = FUNCTION_BUSY;
        else if (facts->waiting && facts->error < 0) {
                *ret = FUNCTION_SYSTEM_ERROR;
                *ret_error = facts->error;
        } else if (!facts->claimed) /* forgotten: it was bound anew */
                *ret = FUNCTION_NOT_BOUND;
        else
                return false;

        return true;
}

static bool judge_reset(const Function *f,
                        const FunctionRequest *request,
                        FunctionOutcome *ret,
                        int *ret_error) {
        if (request->over) {
                *ret = request->error < 0 ? FUNCTION_SYSTEM_ERROR : FUNCTION_DONE;
                *ret_error = request->error;
        } else if (request->begun)
                return false;
        else if (!f->facts.vfio_bound)
                *ret = FUNCTION_NOT_BOUND;
        else if (f->facts.permanent)
                *ret = FUNCTION_PERMANENT;
        else if (f->facts.attached || (!f->device && f->activity == FUNCTION_IDLE))
                *ret = FUNCTION_NOT_HELD;
        else
                return false;

        return true;
}

static bool judge_attached(const Function *f,
                           const FunctionRequest *request,
                           FunctionOutcome *ret,
                           int *ret_error) {
        if (request->over) {
                *ret = request->error == 0             ? FUNCTION_DONE
                       : request->error == -ESTALE     ? FUNCTION_NOT_THE_DEVICE
                       : request->error == -EOPNOTSUPP ? FUNCTION_NOT_SUPPORTED
                                                       : FUNCTION_SYSTEM_ERROR;
                *ret_error = request->error;
        } else if (request->begun)
                return false;
        else if (!f->facts.vfio_bound)
                *ret = FUNCTION_NOT_BOUND;
        else if (f->facts.attached)
                *ret = FUNCTION_ALREADY_ATTACHED;
        else if (f->facts.inhibited)
                *ret = FUNCTION_INHIBITED;
        else if (f->device)
                *ret = FUNCTION_BUSY;
        else
                return false;

        return true;
}

/* Whether a request can be answered now, and how. */
static bool function_judge(const Function *f,
                           const FunctionRequest *request,
                           FunctionOutcome *ret,
                           int *ret_error) {
        *ret_error = 0;

        switch (request->demand) {
        case FUNCTION_TO_BE_CLOSED:
                return judge_closed(f, ret);
        case FUNCTION_TO_BE_HELD:
                return judge_held(f, ret, ret_error);
        case FUNCTION_TO_BE_RESET:
                return judge_reset(f, request, ret, ret_error);
        case FUNCTION_TO_BE_ATTACHED:
                return judge_attached(f, request, ret, ret_error);
        }

        assert(false);
        return false;
}

void function_drop_owner(FunctionOwner *owner) {
        assert(owner);

        owner->notify_fd = safe_close(owner->notify_fd);
        owner->name[0] = '\0';
}

/* What the request has, and what it changed for nothing. */
static void function_conclude(Function *f, FunctionRequest *request, FunctionOutcome outcome) {
        if (request->demand == FUNCTION_TO_BE_HELD)
                function_claim_ended(f, outcome == FUNCTION_DONE);
        if (request->demand == FUNCTION_TO_BE_ATTACHED) {
                request->device = vfio_close(request->device);
                request->request_fd = safe_close(request->request_fd);
                function_drop_owner(&request->owner);
        }
}

static void function_withdraw(Function *f, FunctionRequest *request) {
        FunctionRequest **link;

        for (link = &f->requests; *link != request; link = &(*link)->next)
                ;
        *link = request->next;
}

void function_answer(Function *f) {
        FunctionRequest *request;
        bool again = false;

        assert(f);

        request = f->requests;
        while (request) {
                FunctionOutcome outcome;
                int error;

                if (!function_judge(f, request, &outcome, &error)) {
                        request = request->next;
                        continue;
                }
                function_withdraw(f, request);
                function_conclude(f, request, outcome);
                again = true;
                function_changed(f, FUNCTION_ANSWERS);
                request->answer(request, outcome, error);

                /* Whoever was answered may have asked for something else. */
                request = f->requests;
        }

        if (again) {
                function_settle(f);
                function_update(f);
        }
}

void function_refuse_all(Function *f) {
        assert(f);

        while (f->requests) {
                FunctionRequest *request = f->requests;

                function_withdraw(f, request);
                function_conclude(f, request, FUNCTION_NOT_BOUND);
                request->answer(request, FUNCTION_NOT_BOUND, 0);
        }
}

FunctionRequest *function_request(const Function *f, FunctionDemand demand) {
        assert(f);

        for (FunctionRequest *request = f->requests; request; request = request->next)
                if (request->demand == demand && !request->begun)
                        return request;
        return NULL;
}

void function_request_over(Function *f, FunctionDemand demand, int error) {
        assert(f);

        for (FunctionRequest *request = f->requests; request; request = request->next)
                if (request->demand == demand && request->begun) {
                        request->over = true;
                        request->error = error;
                }
}

void function_ask(Function *f, FunctionRequest *request, FunctionDemand demand) {
        FunctionRequest **link;

        request->demand = demand;
        request->next = NULL;
        request->begun = request->over = false;
        request->error = 0;
        for (link = &f->requests; *link; link = &(*link)->next)
                ;
        *link = request;
}

void function_reset(Function *f, FunctionRequest *request) {
        assert(f);
        assert(request);

        function_ask(f, request, FUNCTION_TO_BE_RESET);
        function_update(f);
}

void function_attach(Function *f, FunctionRequest *request) {
        assert(f);
        assert(request);
        assert(request->device);

        function_ask(f, request, FUNCTION_TO_BE_ATTACHED);
        function_update(f);
}

void function_wait_closed(Function *f, FunctionRequest *request) {
        assert(f);
        assert(request);

        function_ask(f, request, FUNCTION_TO_BE_CLOSED);
        function_update(f);
}

void function_detach(Function *f, FunctionRequest *request) {
        assert(f);

        if (f->facts.attached)
                f->facts.requested = true;
        if (request)
                function_ask(f, request, FUNCTION_TO_BE_CLOSED);
        function_update(f);
}

void function_find_inhibitor(Function *f) {
        const Inhibitor *inhibitor;

        assert(f);

        inhibitor = inhibitors_find(f->context->inhibitors, f->sysfs.address);
        f->inhibitor = inhibitor ? inhibitor->id : 0;
        f->facts.inhibited = inhibitor != NULL;
}

void function_correct_inhibited(Function *f) {
        uint64_t former;

        assert(f);

        former = f->inhibitor;
        function_find_inhibitor(f);
        if (f->inhibitor == former)
                return;

        if (f->facts.inhibited && f->facts.attached)
                f->facts.requested = true;
        /* Who asked for it may be about to use it once more. */
        if (f->facts.inhibited)
                function_settle(f);
        else
                function_settle_anew(f);
        function_changed(f, FUNCTION_CHANGED_HOLDER);
        function_update(f);
}
