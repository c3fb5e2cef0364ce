/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether the sender of a method call may have it: root may, and whom polkit lets.
 *
 * Both questions, who the sender is (to the bus) and what he may do (to polkit), are asked without
 * waiting for the answer. A question ends with exactly one reply to the call, or with
 * polkit_forget().
 */

#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "log.h"
#include "util.h"

/*
 * How many questions may be open, of all senders and of one sender; the latter is also how many a
 * user may have waiting for polkit, which can take as long as somebody needs to type a password.
 */
#define POLKIT_QUESTIONS_MAX        256U
#define POLKIT_SENDER_QUESTIONS_MAX 32U

typedef struct Polkit Polkit;

/* The sender of a call, as the bus knows him. */
typedef struct PolkitCaller {
        uid_t uid;
        pid_t pid; /* 0 if the bus does not tell it; may have ended meanwhile, so for people only */
} PolkitCaller;

typedef struct PolkitQuestion {
        const char *action;  /* ERRORD_ACTION_*; must outlive the question */
        const char *address; /* PCI address of the function in question, or NULL; copied */
        /*
         * The sender may: do it, and reply to the call, now or later. It runs later than the method
         * handler did: what the call is about may be gone, so look it up again. Returns as a method
         * handler of sd-bus does: an error that is returned or set is what polkit.c replies.
         */
        int (*allowed)(sd_bus_message *call,
                       const PolkitCaller *caller,
                       void *userdata,
                       sd_bus_error *ret_error);
        void *userdata; /* must outlive the question */
} PolkitQuestion;

/* log must outlive it. Returns 0 or -ENOMEM. */
int polkit_new(Log *log, Polkit **ret);
/* Forgets all questions, see below. */
Polkit *polkit_free(Polkit *polkit);
DEFINE_TRIVIAL_CLEANUP_FUNC(Polkit *, polkit_free);

/*
 * Asks whether the sender of the call may do what *question is about. For the handler of a method
 * that is SD_BUS_VTABLE_UNPRIVILEGED (of others sd-bus asks by itself, and waits), which returns
 * what this returns: 1, or a negative errno, which sd-bus replies. The call is kept as long as the
 * question is open, file descriptors included: check its arguments first.
 *
 * If the sender may not, the reply is one of the errors
 *   org.freedesktop.DBus.Error.AccessDenied                       polkit says no, or cannot be asked
 *   org.freedesktop.DBus.Error.InteractiveAuthorizationRequired   with a password he may
 *   org.freedesktop.DBus.Error.LimitsExceeded                     too many questions are open
 */
int polkit_ask(Polkit *polkit, sd_bus_message *call, const PolkitQuestion *question);

/*
 * The connection is gone: no open question is answered any more. Nothing refers to the connection
 * or its messages afterwards. May be called from allowed().
 */
void polkit_forget(Polkit *polkit);
