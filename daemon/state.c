/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "state.h"
#include "util.h"

/*
 * What keeps our hands off a function that the administrator gave us, in the order in which it is
 * said.
 */
static bool state_is_barred(const Facts *facts) {
        return facts->released || facts->inhibited || facts->permanent || facts->recovery_limit ||
               facts->unsupported || facts->requested || facts->waiting;
}

static bool state_is_wanted(const Facts *facts) {
        return facts->policy == POLICY_CLAIM || facts->claimed;
}

static bool state_should_hold(const Facts *facts) {
        if (!facts->vfio_bound || facts->stopping || facts->requested || facts->awaited)
                return false;
        if (facts->attached)
                return true;

        return state_is_wanted(facts) && facts->settled && !state_is_barred(facts);
}

/* A claim that is not held, and why. */
static Verdict state_explain_claim(const Facts *facts) {
        if (facts->released)
                return (Verdict){ FUNCTION_OBSERVED, "released" };
        if (facts->inhibited)
                return (Verdict){ FUNCTION_OBSERVED, "inhibited" };
        if (facts->permanent)
                return (Verdict){ FUNCTION_FAILED, "permanent-error" };
        if (facts->recovery_limit)
                return (Verdict){ FUNCTION_FAILED, "recovery-limit" };
        if (facts->unsupported)
                return (Verdict){ FUNCTION_OBSERVED, "unsupported" };
        if (facts->error == -EBUSY)
                return (Verdict){ FUNCTION_OBSERVED, "busy" };
        if (facts->error == -EACCES || facts->error == -EPERM)
                return (Verdict){ FUNCTION_FAILED, "policy-denied" };
        if (facts->error < 0) {
                const char *name = strerrorname_np(-facts->error);

                return (Verdict){ FUNCTION_FAILED, name ?: "EUNKNOWN" };
        }

        return (Verdict){ FUNCTION_OBSERVED, "settling" };
}

Verdict state_decide(const Facts *facts) {
        Verdict verdict;

        assert(facts);

        if (facts->held)
                verdict = (Verdict){
                        .state = facts->attached ? FUNCTION_DELEGATED : FUNCTION_CLAIMED,
                        .reason = "",
                };
        else if (!facts->vfio_bound)
                verdict = (Verdict){ FUNCTION_OBSERVED, "" };
        else if (state_is_wanted(facts))
                verdict = state_explain_claim(facts);
        else
                verdict = (Verdict){ FUNCTION_OBSERVED, "policy" };

        verdict.hold = state_should_hold(facts);
        return verdict;
}

static const char *const state_table[_FUNCTION_STATE_MAX] = {
        [FUNCTION_OBSERVED] = "observed",
        [FUNCTION_CLAIMED] = "claimed",
        [FUNCTION_DELEGATED] = "delegated",
        [FUNCTION_FAILED] = "failed",
};

const char *state_to_string(FunctionState state) {
        return state < ELEMENTSOF(state_table) ? state_table[state] : NULL;
}

static const char *const policy_table[_POLICY_MAX] = {
        [POLICY_OBSERVE] = "observe",
        [POLICY_CLAIM] = "claim",
        [POLICY_IGNORE] = "ignore",
};

const char *policy_to_string(Policy policy) {
        return policy < ELEMENTSOF(policy_table) ? policy_table[policy] : NULL;
}

int policy_from_string(const char *text) {
        assert(text);

        for (Policy policy = 0; policy < _POLICY_MAX; policy++)
                if (strcmp(text, policy_table[policy]) == 0)
                        return (int) policy;

        return -EINVAL;
}
