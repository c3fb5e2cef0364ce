/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What somebody asks of the function of function-bench.h, and who names it in an inhibitor. */

#include "function-bench.h"

typedef struct Ask {
        FunctionRequest request;
        unsigned n_answers;
        FunctionOutcome outcome;
        int error;
} Ask;

static inline void on_answer(FunctionRequest *request, FunctionOutcome outcome, int error) {
        Ask *ask = (Ask *) request;

        ask->n_answers++;
        ask->outcome = outcome;
        ask->error = error;
}

#define NEW_ASK()                                                                                  \
        { .request.answer = on_answer }

static inline void assert_answered(const Ask *ask, FunctionOutcome outcome, int error) {
        assert_int_equal(ask->n_answers, 1);
        assert_int_equal(ask->outcome, outcome);
        assert_int_equal(ask->error, error);
}

#define run_until_answered(bench, ask, outcome, error)                                             \
        do {                                                                                       \
                run_until((bench), (ask)->n_answers > 0);                                          \
                assert_answered((ask), (outcome), (error));                                        \
        } while (false)

static inline void observe(Bench *b) {
        b->config.function.policy = POLICY_OBSERVE;
        begin(b);
        assert_state(b, FUNCTION_OBSERVED, "policy");
}

/* Returns the fd that ends it. */
static inline int inhibit(Bench *b) {
        char *addresses[] = { (char *) example.address }; /* only read from */
        const Inhibitor terms = { .addresses = addresses, .n_addresses = 1, .who = "backup" };
        int fd;

        assert_int_equal(inhibitors_add(b->inhibitors, &terms, &fd), 0);
        return fd;
}
