/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

#include "polkit-wire.h"
#include "polkit.h"

typedef struct Question {
        Polkit *polkit;
        LIST_ENTRY(Question) link;

        sd_bus_message *call;
        const char *action;
        char *address;
        int (*allowed)(sd_bus_message *call,
                       const PolkitCaller *caller,
                       void *userdata,
                       sd_bus_error *ret_error);
        void *userdata;

        PolkitCaller caller;
        bool identified;   /* the caller is known, and polkit is asked */
        sd_bus_slot *slot; /* of the answer that is waited for */
} Question;

struct Polkit {
        Log *log;
        LIST_HEAD(, Question) questions;
        bool warned; /* that polkit cannot be asked, since it answered last */
};

static Question *question_free(Question *q) {
        if (!q)
                return NULL;

        sd_bus_slot_unref(q->slot);
        sd_bus_message_unref(q->call);
        free(q->address);
        free(q);
        return NULL;
}
DEFINE_TRIVIAL_CLEANUP_FUNC(Question *, question_free);

/* An answer to the question is here, or none is waited for any more: it is the caller's now. */
static Question *question_take(Question *q) {
        LIST_REMOVE(q, link);
        q->slot = sd_bus_slot_unref(q->slot);
        return q;
}

/* The question waits for an answer. */
static void question_put(Question *q) {
        LIST_INSERT_HEAD(&q->polkit->questions, q, link);
}

static int
question_new(Polkit *polkit, sd_bus_message *call, const PolkitQuestion *question, Question **ret) {
        _cleanup_(question_freep) Question *q = NULL;

        q = malloc(sizeof(*q));
        if (!q)
                return -ENOMEM;

        *q = (Question){
                .polkit = polkit,
                .call = sd_bus_message_ref(call),
                .action = question->action,
                .allowed = question->allowed,
                .userdata = question->userdata,
        };

        if (question->address) {
                q->address = strdup(question->address);
                if (!q->address)
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(q);
        return 0;
}

static bool question_is_interactive(const Question *q) {
        return sd_bus_message_get_allow_interactive_authorization(q->call) > 0;
}

/* A reply that cannot be sent any more has nobody to go to. */
static void question_deny(Question *q, const char *why) {
        (void) sd_bus_reply_method_errorf(
                q->call, SD_BUS_ERROR_ACCESS_DENIED, "No permission for %s: %s", q->action, why);
}

static void question_limit(sd_bus_message *call) {
        (void) sd_bus_reply_method_errorf(
                call,
                SD_BUS_ERROR_LIMITS_EXCEEDED,
                "Too many calls wait for polkit to allow them. Wait for their replies.");
}

static void question_allow(Question *q) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = q->allowed(q->call, &q->caller, q->userdata, &error);
        if (r < 0)
                (void) sd_bus_reply_method_errno(q->call, r, &error);
        else if (sd_bus_error_is_set(&error))
                (void) sd_bus_reply_method_error(q->call, &error);

        sd_bus_error_free(&error);
}

/* Once until polkit answers again: it is users who ask, as often as they like. */
static void question_warn(Question *q, const char *what, const char *hint) {
        if (q->polkit->warned)
                return;

        q->polkit->warned = true;
        (void) log_warning(q->polkit->log,
                           0,
                           "polkit does not say who may do %s, so only root may: %s%s",
                           q->action,
                           what,
                           hint);
}

static void question_failed(Question *q, const sd_bus_error *error) {
        const char *what = error->message ? error->message : error->name;

        if (sd_bus_is_open(sd_bus_message_get_bus(q->call)) <= 0)
                return; /* sd-bus ends all calls of a connection that ended */

        if (polkit_wire_is_absent(error)) {
                question_deny(q, "only root may, as there is no polkit that could let others");
                return;
        }
        if (question_is_interactive(q) && sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY)) {
                question_deny(q, "nobody authenticated in time");
                return;
        }

        question_deny(q, "polkit cannot be asked, see the journal of zpci-errord");
        if (strncmp(error->name, POLKIT_NAME ".", strlen(POLKIT_NAME ".")) == 0)
                question_warn(q, what, " (is org.zpci.Errord1.policy installed as it came?)");
        else
                question_warn(q, what, "");
}

static void question_challenge(Question *q) {
        (void) sd_bus_reply_method_errorf(q->call,
                                          SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                          "polkit wants authentication for %s, %s.",
                                          q->action,
                                          question_is_interactive(q)
                                                  ? "and found no agent to ask for it"
                                                  : "which the call does not allow to ask for");
}

static int on_verdict(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(question_freep) Question *q = question_take(userdata);
        PolkitVerdict verdict;

        if (sd_bus_message_is_method_error(m, NULL)) {
                question_failed(q, sd_bus_message_get_error(m));
                return 0;
        }

        if (polkit_wire_read_verdict(m, &verdict) < 0) {
                question_deny(q, "the answer of polkit makes no sense");
                question_warn(q, "its answer makes no sense", "");
                return 0;
        }

        q->polkit->warned = false;

        if (verdict == POLKIT_YES)
                question_allow(q);
        else if (verdict == POLKIT_CHALLENGE)
                question_challenge(q);
        else
                question_deny(q, "polkit says no");
        return 0;
}

static bool same_user(const Question *a, const Question *b) {
        return a->identified && b->identified && a->caller.uid == b->caller.uid;
}

static unsigned count_of_user(const Question *q) {
        const Question *other;
        unsigned n = 0;

        LIST_FOREACH(other, &q->polkit->questions, link) {
                n += same_user(q, other);
        }
        return n;
}

static int question_ask_verdict(Question *q) {
        return polkit_wire_ask_verdict(sd_bus_message_get_bus(q->call),
                                       &q->slot,
                                       &(PolkitCheck){
                                               .sender = sd_bus_message_get_sender(q->call),
                                               .action = q->action,
                                               .address = q->address,
                                               .interactive = question_is_interactive(q),
                                       },
                                       on_verdict,
                                       q);
}

static int on_caller(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(question_freep) Question *q = question_take(userdata);

        if (sd_bus_message_is_method_error(m, NULL) || polkit_wire_read_caller(m, &q->caller) < 0) {
                question_deny(q, "the bus does not say whose call it is");
                return 0;
        }

        if (q->caller.uid == 0) {
                question_allow(q);
                return 0;
        }

        q->identified = true;
        if (count_of_user(q) >= POLKIT_SENDER_QUESTIONS_MAX)
                question_limit(q->call);
        else if (question_ask_verdict(q) < 0)
                question_deny(q, "polkit cannot be asked now");
        else
                question_put(TAKE_PTR(q));

        return 0;
}

/* Whether there is room for a question of this sender. */
static bool polkit_has_room(const Polkit *polkit, const char *sender) {
        unsigned n = 0, n_sender = 0;
        const Question *q;

        LIST_FOREACH(q, &polkit->questions, link) {
                n++;
                n_sender += strcmp(sd_bus_message_get_sender(q->call), sender) == 0;
        }
        return n < POLKIT_QUESTIONS_MAX && n_sender < POLKIT_SENDER_QUESTIONS_MAX;
}

int polkit_ask(Polkit *polkit, sd_bus_message *call, const PolkitQuestion *question) {
        _cleanup_(question_freep) Question *q = NULL;
        const char *sender;
        int r;

        assert(polkit);
        assert(call);
        assert(question);
        assert(question->action);
        assert(question->allowed);

        sender = sd_bus_message_get_sender(call);
        if (!sender)
                return -EACCES; /* no bus, which could say whose call it is, between us */

        if (!polkit_has_room(polkit, sender)) {
                question_limit(call);
                return 1;
        }

        r = question_new(polkit, call, question, &q);
        if (r < 0)
                return r;

        r = polkit_wire_ask_caller(sd_bus_message_get_bus(call), &q->slot, sender, on_caller, q);
        if (r < 0)
                return r;

        question_put(TAKE_PTR(q));
        return 1;
}

void polkit_forget(Polkit *polkit) {
        assert(polkit);

        while (!LIST_EMPTY(&polkit->questions))
                question_free(question_take(LIST_FIRST(&polkit->questions)));
}

int polkit_new(Log *log, Polkit **ret) {
        Polkit *polkit;

        assert(log);
        assert(ret);

        polkit = calloc(1, sizeof(*polkit));
        if (!polkit)
                return -ENOMEM;

        polkit->log = log;
        LIST_INIT(&polkit->questions);
        *ret = polkit;
        return 0;
}

Polkit *polkit_free(Polkit *polkit) {
        if (!polkit)
                return NULL;

        polkit_forget(polkit);
        free(polkit);
        return NULL;
}
