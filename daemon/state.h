/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a function is to us, decided from what is known about it.
 *
 * Nothing moves a function from state to state. An event corrects a fact, and state_decide() says
 * what the facts amount to. It is pure, hence it is tested for every combination of facts.
 */

#include <stdbool.h>

typedef enum Policy {
        POLICY_OBSERVE, /* hold nothing, publish what the kernel shows everybody */
        POLICY_CLAIM,   /* hold the function while it is bound and idle */
        POLICY_IGNORE,  /* no object, no records */
        _POLICY_MAX,
} Policy;

typedef enum FunctionState {
        FUNCTION_OBSERVED,  /* not ours to hold: we publish what the kernel shows everybody */
        FUNCTION_CLAIMED,   /* we hold its VFIO device */
        FUNCTION_DELEGATED, /* its owner handed us its VFIO device */
        FUNCTION_FAILED,    /* it should be ours, and it is not */
        _FUNCTION_STATE_MAX,
} FunctionState;

typedef struct Facts {
        Policy policy;
        bool claimed;     /* somebody asked us to hold it, whatever the policy says */
        bool vfio_bound;  /* its driver is vfio-pci or a variant of it */
        bool settled;     /* bound and idle for as long as the configuration asks */
        bool held;        /* its VFIO device is open in our hands */
        bool attached;    /* its owner handed us its device */
        bool requested;   /* the kernel asks whoever holds it to let go */
        bool awaited;     /* somebody waits for it to be closed, whatever is asked for after that */
        bool inhibited;   /* somebody asked us to keep our hands off */
        bool released;    /* somebody asked us to let go until further notice */
        bool unsupported; /* this kernel has no error records or no error interrupt for it */
        bool permanent;   /* it reported an error that no reset recovers */
        bool recovery_limit; /* it was recovered too often */
        bool stopping;       /* the daemon ends */
        bool waiting;        /* the last attempt failed, the time of the next has not come */
        int error;           /* negative errno of the last attempt to hold it, or 0 */
} Facts;

typedef struct Verdict {
        FunctionState state;
        const char *reason; /* StateReason of the D-Bus interface: static, may be empty */
        bool hold;          /* whether its device should be in our hands now */
} Verdict;

Verdict state_decide(const Facts *facts);

/* "observed", "claimed", "delegated", "failed"; NULL if out of range. */
const char *state_to_string(FunctionState state);

/* "observe", "claim", "ignore"; NULL if out of range. The other way: a policy, or -EINVAL. */
const char *policy_to_string(Policy policy);
int policy_from_string(const char *text);
