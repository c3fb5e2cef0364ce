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
        else if (facts->held && !facts->requested && !facts->awaited)
                *ret = FUNCTION_DONE;
        else if (f->activity != FUNCTION_IDLE || !facts->waiting || facts->error == 0)
                return false;
        else if (facts->error == -EBUSY)
                *ret = FUNCTION_BUSY;
        else {
                *ret = FUNCTION_SYSTEM_ERROR;
                *ret_error = facts->error;
        }

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

static void function_set_wishes(Function *f, const FunctionWishes *wishes) {
        bool holder = strcmp(f->wishes.holder, wishes->holder) != 0;

        f->wishes = *wishes;
        f->facts.claimed = wishes->claimed;
        f->facts.released = wishes->released;
        function_arm_grace(f);
        function_changed(f, FUNCTION_CHANGED_MEMORY | (holder ? FUNCTION_CHANGED_HOLDER : 0));
}

void function_drop_owner(FunctionOwner *owner) {
        assert(owner);

        owner->notify_fd = safe_close(owner->notify_fd);
        owner->name[0] = '\0';
}

/* What the request has, and what it changed for nothing. */
static void function_conclude(Function *f, FunctionRequest *request, FunctionOutcome outcome) {
        if (request->demand == FUNCTION_TO_BE_HELD && outcome != FUNCTION_DONE)
                function_set_wishes(f, &request->before);
        if (request->demand == FUNCTION_TO_BE_ATTACHED) {
                request->device = vfio_close(request->device);
                request->request_fd = safe_close(request->request_fd);
                function_drop_owner(&request->owner);
        }
}

void function_answer(Function *f) {
        bool again = false;

        assert(f);

        for (FunctionRequest **link = &f->requests; *link;) {
                FunctionRequest *request = *link;
                FunctionOutcome outcome;
                int error;

                if (!function_judge(f, request, &outcome, &error)) {
                        link = &request->next;
                        continue;
                }
                *link = request->next;
                function_conclude(f, request, outcome);
                again = true;
                function_changed(f, FUNCTION_ANSWERS);
                request->answer(request, outcome, error);
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

                f->requests = request->next;
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

static void function_ask(Function *f, FunctionRequest *request, FunctionDemand demand) {
        FunctionRequest **link;

        request->demand = demand;
        request->next = NULL;
        request->begun = request->over = false;
        request->error = 0;
        for (link = &f->requests; *link; link = &(*link)->next)
                ;
        *link = request;
}

void function_claim(Function *f, FunctionRequest *request) {
        assert(f);
        assert(request);

        request->before = f->wishes;
        function_ask(f, request, FUNCTION_TO_BE_HELD);
        function_set_wishes(f, &(FunctionWishes){ .claimed = true });

        /* Whoever asks for it knows that it is not needed by anybody else just now. */
        f->facts.settled = true;
        f->facts.recovery_limit = f->facts.waiting = false;
        f->facts.error = 0;
        f->recoveries = (RecoveryHistory){ 0 };
        f->backoff_usec = f->open_again_usec = 0;
        function_settle(f);
        function_update(f);
}

void function_release(Function *f, uint64_t grace_usec, const char *who, FunctionRequest *request) {
        FunctionWishes wishes = { .released = true };

        assert(f);
        assert(who);
        assert(strlen(who) < sizeof(wishes.holder));
        assert(request);

        wishes.claimed = f->wishes.claimed;
        if (grace_usec > 0)
                wishes.released_until_usec = now_usec(CLOCK_MONOTONIC) + grace_usec;
        (void) strcpy(wishes.holder, who);
        function_ask(f, request, FUNCTION_TO_BE_CLOSED);
        if (f->facts.attached)
                f->facts.requested = true;
        function_set_wishes(f, &wishes);
        function_settle(f);
        function_update(f);
}

static int on_grace_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Function *f = userdata;

        assert(f);

        function_set_wishes(f, &(FunctionWishes){ .claimed = f->wishes.claimed });
        function_settle_anew(f);
        function_update(f);
        return 0;
}

void function_arm_grace(Function *f) {
        assert(f);

        f->grace_timer = sd_event_source_disable_unref(f->grace_timer);
        if (!f->wishes.released || f->wishes.released_until_usec == 0)
                return;

        if (sd_event_add_time(f->context->event,
                              &f->grace_timer,
                              CLOCK_MONOTONIC,
                              f->wishes.released_until_usec,
                              USEC_PER_MSEC,
                              on_grace_timer,
                              f) < 0)
                (void) function_log(f,
                                    LOG_ERR,
                                    -ENOMEM,
                                    NULL,
                                    "no timer for the end of its release; it stays released until "
                                    "somebody claims it");
        else
                (void) sd_event_source_set_description(f->grace_timer, "function-grace");
}

void function_forget_wishes(Function *f) {
        assert(f);

        function_set_wishes(f, &(FunctionWishes){ 0 });
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

const char *function_holder(const Function *f) {
        const Inhibitor *inhibitor;

        assert(f);

        if (f->facts.released && f->wishes.holder[0] != '\0')
                return f->wishes.holder;
        inhibitor = inhibitors_find(f->context->inhibitors, f->sysfs.address);
        return inhibitor ? inhibitor->who : "";
}
