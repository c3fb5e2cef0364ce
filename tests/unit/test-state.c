/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "state.h"
#include "util.h"

/*
 * state_decide() for every combination of facts. What is expected is written down twice, and apart
 * from the code: as tables of what the documentation promises to show (the first line that fits
 * counts), and as single promises, each of which has to hold whatever else is the case.
 */

static const int errors[] = { 0, -EBUSY, -EACCES, -EPERM, -EIO, -ENODEV, -ENOENT };

#define N_BITS  14
#define N_FACTS (ELEMENTSOF(errors) * _POLICY_MAX << N_BITS)

/* The combination with this number. */
static Facts facts_of(unsigned number) {
        unsigned rest = number >> N_BITS;

#define BIT(n) ((number >> (n) &1) != 0)
        return (Facts){
                .vfio_bound = BIT(0),
                .settled = BIT(1),
                .held = BIT(2),
                .attached = BIT(3),
                .requested = BIT(4),
                .inhibited = BIT(5),
                .released = BIT(6),
                .unsupported = BIT(7),
                .permanent = BIT(8),
                .recovery_limit = BIT(9),
                .stopping = BIT(10),
                .waiting = BIT(11),
                .claimed = BIT(12),
                .awaited = BIT(13),
                .policy = (Policy) (rest % _POLICY_MAX),
                .error = errors[rest / _POLICY_MAX],
        };
#undef BIT
}

static const char *facts_text(const Facts *f) {
        static char text[256];

        (void) snprintf(text,
                        sizeof(text),
                        "%s error=%d%s%s%s%s%s%s%s%s%s%s%s%s%s%s",
                        policy_to_string(f->policy),
                        f->error,
                        f->vfio_bound ? " vfio_bound" : "",
                        f->settled ? " settled" : "",
                        f->held ? " held" : "",
                        f->attached ? " attached" : "",
                        f->requested ? " requested" : "",
                        f->inhibited ? " inhibited" : "",
                        f->released ? " released" : "",
                        f->unsupported ? " unsupported" : "",
                        f->permanent ? " permanent" : "",
                        f->recovery_limit ? " recovery_limit" : "",
                        f->stopping ? " stopping" : "",
                        f->waiting ? " waiting" : "",
                        f->claimed ? " claimed" : "",
                        f->awaited ? " awaited" : "");
        return text;
}

/* One letter a fact: 1 it holds, 0 it does not, - whichever. */
static bool fact_fits(char want, bool fact) {
        return want == '-' || (want == '1') == fact;
}

/* What the properties State and StateReason show. */
typedef struct Shown {
        char held, attached, bound, claim, released, inhibited, permanent, limit, unsupported;
        const char *error; /* "-", "none", or names of errors */
        const char *state;
        const char *reason; /* NULL: the name of the error */
} Shown;

static const Shown shown[] = {
        /* Held, and by whose leave. */
        { '1', '1', '-', '-', '-', '-', '-', '-', '-', "-", "delegated", "" },
        { '1', '0', '-', '-', '-', '-', '-', '-', '-', "-", "claimed", "" },
        /* Not ours to hold: nobody passes it through, or nobody allows it. */
        { '0', '-', '0', '-', '-', '-', '-', '-', '-', "-", "observed", "" },
        { '0', '-', '1', '0', '-', '-', '-', '-', '-', "-", "observed", "policy" },
        /* It should be ours. Somebody asked for it to be left alone: that is no failure. */
        { '0', '-', '1', '1', '1', '-', '-', '-', '-', "-", "observed", "released" },
        { '0', '-', '1', '1', '0', '1', '-', '-', '-', "-", "observed", "inhibited" },
        /* We let it go. */
        { '0', '-', '1', '1', '0', '0', '1', '-', '-', "-", "failed", "permanent-error" },
        { '0', '-', '1', '1', '0', '0', '0', '1', '-', "-", "failed", "recovery-limit" },
        /* This kernel has nothing for us. */
        { '0', '-', '1', '1', '0', '0', '0', '0', '1', "-", "observed", "unsupported" },
        /* How the last attempt ended. */
        { '0', '-', '1', '1', '0', '0', '0', '0', '0', "EBUSY", "observed", "busy" },
        { '0', '-', '1', '1', '0', '0', '0', '0', '0', "EACCES EPERM", "failed", "policy-denied" },
        { '0', '-', '1', '1', '0', '0', '0', '0', '0', "EIO ENODEV ENOENT", "failed", NULL },
        { '0', '-', '1', '1', '0', '0', '0', '0', '0', "none", "observed", "settling" },
};

static bool error_fits(const char *want, int error) {
        const char *name = error < 0 ? strerrorname_np(-error) : "none";
        size_t size = strlen(name);

        if (strcmp(want, "-") == 0)
                return true;

        for (const char *p = strstr(want, name); p; p = strstr(p + 1, name))
                if ((p == want || p[-1] == ' ') && (p[size] == '\0' || p[size] == ' '))
                        return true;

        return false;
}

static bool shown_fits(const Shown *want, const Facts *f) {
        return fact_fits(want->held, f->held) && fact_fits(want->attached, f->attached) &&
               fact_fits(want->bound, f->vfio_bound) &&
               fact_fits(want->claim, f->policy == POLICY_CLAIM || f->claimed) &&
               fact_fits(want->released, f->released) && fact_fits(want->inhibited, f->inhibited) &&
               fact_fits(want->permanent, f->permanent) &&
               fact_fits(want->limit, f->recovery_limit) &&
               fact_fits(want->unsupported, f->unsupported) && error_fits(want->error, f->error);
}

static void test_shown(void **state) {
        unsigned used[ELEMENTSOF(shown)] = {};

        for (unsigned number = 0; number < N_FACTS; number++) {
                Facts facts = facts_of(number);
                Verdict verdict = state_decide(&facts);
                const char *reason;
                size_t i = 0;

                while (i < ELEMENTSOF(shown) && !shown_fits(&shown[i], &facts))
                        i++;
                if (i == ELEMENTSOF(shown))
                        fail_msg("nothing is promised for %s", facts_text(&facts));
                used[i]++;

                reason = shown[i].reason ?: strerrorname_np(-facts.error);
                if (strcmp(state_to_string(verdict.state), shown[i].state) != 0 ||
                    strcmp(verdict.reason, reason) != 0)
                        fail_msg("%s: is %s (%s), should be %s (%s)",
                                 facts_text(&facts),
                                 state_to_string(verdict.state),
                                 verdict.reason,
                                 shown[i].state,
                                 reason);
        }

        for (size_t i = 0; i < ELEMENTSOF(shown); i++)
                assert_int_not_equal(used[i], 0); /* a line that never fits promises nothing */
}

/* When the device should be in our hands: if all of these hold for the one, or all for the other. */
static bool should_hold(const Facts *f) {
        const bool allowed_by_owner[] = {
                f->attached, f->vfio_bound, !f->requested, !f->stopping, !f->awaited
        };
        const bool allowed_by_administrator[] = {
                f->policy == POLICY_CLAIM || f->claimed,
                f->vfio_bound,
                f->settled,
                !f->requested,
                !f->stopping,
                !f->awaited,
                !f->released,
                !f->inhibited,
                !f->permanent,
                !f->recovery_limit,
                !f->unsupported,
                !f->waiting,
        };
        bool owner = true, administrator = true;

        for (size_t i = 0; i < ELEMENTSOF(allowed_by_owner); i++)
                owner = owner && allowed_by_owner[i];
        for (size_t i = 0; i < ELEMENTSOF(allowed_by_administrator); i++)
                administrator = administrator && allowed_by_administrator[i];

        return owner || administrator;
}

static void test_hold(void **state) {
        unsigned n_hold = 0;

        for (unsigned number = 0; number < N_FACTS; number++) {
                Facts facts = facts_of(number);
                Verdict verdict = state_decide(&facts);

                if (verdict.hold != should_hold(&facts))
                        fail_msg("%s: hold is %d", facts_text(&facts), verdict.hold);
                n_hold += verdict.hold;
        }

        assert_in_range(n_hold, 1, N_FACTS - 1);
}

typedef struct Promise {
        const char *text;
        bool (*when)(const Facts *facts);
        bool (*then)(const Facts *facts, const Verdict *verdict);
} Promise;

#define WHEN(name, expression)                                                                     \
        static bool name(const Facts *f) {                                                         \
                return expression;                                                                 \
        }
#define THEN(name, expression)                                                                     \
        static bool name(const Facts *f, const Verdict *v) {                                       \
                return expression;                                                                 \
        }

WHEN(always, true)
WHEN(asked_to_let_go, f->requested)
WHEN(ending, f->stopping)
WHEN(waited_for, f->awaited)
WHEN(unbound, !f->vfio_bound)
WHEN(not_held, !f->held)
WHEN(held_by_us, f->held)
WHEN(not_told_to_claim, f->policy != POLICY_CLAIM && !f->claimed && !f->attached)
WHEN(kept_off, (f->inhibited || f->released) && !f->attached)
WHEN(given_up, (f->permanent || f->recovery_limit) && !f->attached)
WHEN(attached_whatever_the_policy,
     f->attached && f->vfio_bound && !f->requested && !f->stopping && !f->awaited)

THEN(holds, v->hold)
THEN(does_not_hold, !v->hold)
THEN(shows_no_holding, v->state == FUNCTION_OBSERVED || v->state == FUNCTION_FAILED)
THEN(shows_holding, v->state == FUNCTION_CLAIMED || v->state == FUNCTION_DELEGATED)
THEN(fails_never, v->state != FUNCTION_FAILED)
THEN(failure_has_reason, v->state != FUNCTION_FAILED || v->reason[0] != '\0')
THEN(failure_is_of_a_claim,
     v->state != FUNCTION_FAILED ||
             ((f->policy == POLICY_CLAIM || f->claimed) && f->vfio_bound && !f->held))
THEN(state_has_name, v->reason &&state_to_string(v->state))

static const Promise promises[] = {
        { "every state has a name, and a reason that may be empty", always, state_has_name },
        { "who shows failed says why", always, failure_has_reason },
        { "only what should be claimed can fail", always, failure_is_of_a_claim },
        { "what the kernel asks for is let go", asked_to_let_go, does_not_hold },
        { "a daemon that ends lets go", ending, does_not_hold },
        { "whoever waits for the device to be closed gets that", waited_for, does_not_hold },
        { "what is not bound to VFIO is not held", unbound, does_not_hold },
        { "what is not held is not shown as held", not_held, shows_no_holding },
        { "what is held is shown as held", held_by_us, shows_holding },
        { "observe and ignore hold nothing", not_told_to_claim, does_not_hold },
        { "observe and ignore do not fail", not_told_to_claim, fails_never },
        { "an inhibitor or a release keeps our hands off", kept_off, does_not_hold },
        { "what cannot be recovered is let go", given_up, does_not_hold },
        { "an owner may attach whatever the policy", attached_whatever_the_policy, holds },
};

static void test_promises(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(promises); i++) {
                const Promise *promise = &promises[i];
                unsigned n = 0;

                for (unsigned number = 0; number < N_FACTS; number++) {
                        Facts facts = facts_of(number);
                        Verdict verdict = state_decide(&facts);

                        if (!promise->when(&facts))
                                continue;
                        n++;
                        if (!promise->then(&facts, &verdict))
                                fail_msg("broken: %s: %s", promise->text, facts_text(&facts));
                }

                assert_int_not_equal(n, 0);
        }
}

static void test_names(void **state) {
        for (Policy policy = 0; policy < _POLICY_MAX; policy++)
                assert_int_equal(policy_from_string(policy_to_string(policy)), policy);

        assert_string_equal(policy_to_string(POLICY_OBSERVE), "observe");
        assert_string_equal(policy_to_string(POLICY_CLAIM), "claim");
        assert_string_equal(policy_to_string(POLICY_IGNORE), "ignore");
        assert_null(policy_to_string(_POLICY_MAX));
        assert_null(state_to_string(_FUNCTION_STATE_MAX));
        assert_int_equal(policy_from_string(""), -EINVAL);
        assert_int_equal(policy_from_string("Claim"), -EINVAL);
        assert_int_equal(policy_from_string("claim "), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_shown),
                cmocka_unit_test(test_hold),
                cmocka_unit_test(test_promises),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
