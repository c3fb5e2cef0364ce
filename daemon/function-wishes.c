/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "function-parts.h"

static void function_set_wishes(Function *f, const FunctionWishes *wishes) {
        bool holder = strcmp(f->wishes.holder, wishes->holder) != 0;

        f->wishes = *wishes;
        f->facts.claimed = wishes->claimed;
        f->facts.released = wishes->released;
        function_arm_grace(f);
        function_changed(f, FUNCTION_CHANGED_MEMORY | (holder ? FUNCTION_CHANGED_HOLDER : 0));
}

void function_claim(Function *f, FunctionRequest *request) {
        assert(f);
        assert(request);

        if (!function_request(f, FUNCTION_TO_BE_HELD)) {
                f->wishes_before = f->wishes;
                f->recovery_limit_before = f->facts.recovery_limit;
        }
        function_ask(f, request, FUNCTION_TO_BE_HELD);
        function_set_wishes(f, &(FunctionWishes){ .claimed = true });

        /* Whoever asks for it knows that it is not needed by anybody else just now. */
        f->facts.settled = true;
        f->facts.recovery_limit = f->facts.waiting = false;
        f->facts.error = 0;
        f->backoff_usec = f->open_again_usec = 0;
        function_settle(f);
        function_update(f);
}

void function_claim_ended(Function *f, bool done) {
        assert(f);

        if (done)
                f->recoveries = (RecoveryHistory){ 0 };
        else
                f->facts.recovery_limit = f->recovery_limit_before;
        function_set_wishes(f, done ? &f->wishes : &f->wishes_before);
}

void function_release(Function *f, uint64_t grace_usec, const char *who, FunctionRequest *request) {
        FunctionWishes wishes = { .released = true };

        assert(f);
        assert(who);
        assert(strlen(who) < sizeof(wishes.holder));
        assert(request);

        /* A claim that is under way fails by this, and changes nothing. */
        if (!function_request(f, FUNCTION_TO_BE_HELD))
                f->wishes_before = f->wishes;
        wishes.claimed = f->wishes_before.claimed;
        if (grace_usec > 0)
                wishes.released_until_usec = now_usec(CLOCK_MONOTONIC) + grace_usec;
        (void) strcpy(wishes.holder, who);
        f->wishes_before = wishes;
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

        f->wishes_before = (FunctionWishes){ 0 };
        f->recovery_limit_before = false;
        function_set_wishes(f, &f->wishes_before);
}

const char *function_holder(const Function *f) {
        const Inhibitor *inhibitor;

        assert(f);

        if (f->facts.released && f->wishes.holder[0] != '\0')
                return f->wishes.holder;
        inhibitor = inhibitors_find(f->context->inhibitors, f->sysfs.address);
        return inhibitor ? inhibitor->who : "";
}
