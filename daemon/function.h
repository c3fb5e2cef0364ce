/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One PCI function: the facts about it, the state they amount to, and the device while it is ours.
 *
 * Only function.c and its parts write to a Function; everybody may read it.
 */

#include <systemd/sd-event.h>

#include "config.h"
#include "fdstore.h"
#include "handover.h"
#include "inhibitor.h"
#include "log.h"
#include "ring.h"
#include "state.h"
#include "sysfs.h"
#include "vfio.h"
#include "worker.h"

typedef struct Function Function;

/* What changed, as bits. */
typedef enum FunctionChange {
        FUNCTION_CHANGED_STATE = 1 << 0, /* state or reason */
        FUNCTION_CHANGED_RECOVERY = 1 << 1,
        FUNCTION_CHANGED_SYSFS = 1 << 2,     /* driver or function handle */
        FUNCTION_CHANGED_INTERFACE = 1 << 3, /* the error interface was learned */
        /*
         * Told also of functions that have left the registry. Each busy is followed by one idle,
         * after what comes next has begun: who counts them comes to zero when nothing is going on
         * any more.
         */
        FUNCTION_BECAME_BUSY = 1 << 4,
        FUNCTION_BECAME_IDLE = 1 << 5,
        FUNCTION_CHANGED_HOLDER = 1 << 6,
        FUNCTION_CHANGED_MEMORY = 1 << 7, /* what the next run of the daemon has to know */
        /* Somebody is going to be told that what they asked for is so, or the service manager is
         * given the device: what the next run has to know is to be written down now. */
        FUNCTION_ANSWERS = 1 << 8,
        /* Its device was drained for the last time, and is about to be forgotten and closed. */
        FUNCTION_DRAINED_LAST = 1 << 9,
} FunctionChange;

typedef struct FunctionListener {
        /*
         * The kernel's queue dropped an error of the function. Returns 1 and the record of it with this
         * ordinal, committed, if somebody else saw it; 0 if nobody did, and it is lost. If patient, also
         * -EAGAIN: this is known in a later turn of the event loop only. May be NULL itself.
         */
        int (*dropped)(Function *function,
                       uint64_t ordinal,
                       bool patient,
                       const Record **ret,
                       void *userdata);
        /*
         * The fields have their new values already: sd-bus reads them back while it builds the
         * signal.
         */
        void (*changed)(Function *function, FunctionChange what, void *userdata);
        void *userdata;
} FunctionListener;

/* What all functions share. Outlives them. */
typedef struct FunctionContext {
        sd_event *event;
        Ring *ring;
        Worker *worker;
        Log *log;
        const Config *config;
        FdStore *store;
        const Inhibitors *inhibitors;
        bool restarts; /* the daemon ends, and another run follows that takes the devices back */
        FunctionListener listener;
} FunctionContext;

typedef enum FunctionActivity {
        FUNCTION_IDLE,
        FUNCTION_OPENING,
        FUNCTION_RESETTING,
        FUNCTION_CLOSING,
} FunctionActivity;

/* What became of something that was asked of a function. */
typedef enum FunctionOutcome {
        FUNCTION_DONE,
        FUNCTION_NOT_BOUND, /* it was unbound meanwhile */
        FUNCTION_BUSY,      /* somebody else has the device, or we have, or its owner attached it */
        FUNCTION_INHIBITED, /* an inhibitor names it */
        FUNCTION_NOT_SUPPORTED, /* this kernel has no error records for it */
        FUNCTION_NOT_HELD,      /* we do not hold it, or not to recover it */
        FUNCTION_PERMANENT,     /* it reported an error that no reset recovers */
        FUNCTION_ALREADY_ATTACHED,
        FUNCTION_NOT_THE_DEVICE, /* the device is not that of the function */
        FUNCTION_SYSTEM_ERROR,   /* errno says which */
} FunctionOutcome;

typedef enum FunctionDemand {
        FUNCTION_TO_BE_HELD,
        FUNCTION_TO_BE_CLOSED,
        FUNCTION_TO_BE_RESET,
        FUNCTION_TO_BE_ATTACHED,
} FunctionDemand;

/* What Claim() and Release() changed last. */
typedef struct FunctionWishes {
        bool claimed;
        bool released;
        uint64_t released_until_usec;    /* CLOCK_MONOTONIC, 0: until Claim() */
        char holder[HANDOVER_TEXT_SIZE]; /* who it was released to */
} FunctionWishes;

/* Who attached it. */
typedef struct FunctionOwner {
        char name[HANDOVER_NAME_SIZE]; /* its unique name on the bus; empty for nobody */
        uid_t uid;
        int notify_fd; /* eventfd to which 1 is added after each drain, or negative */
} FunctionOwner;

/* Something asked of a function, and who waits for it. The caller's; the function's until answered. */
typedef struct FunctionRequest FunctionRequest;
struct FunctionRequest {
        /* Exactly once, from the event loop or at once. May free the request. error is 0 or an errno. */
        void (*answer)(FunctionRequest *request, FunctionOutcome outcome, int error);

        /* All that follows is the function's. */
        FunctionDemand demand;
        FunctionRequest *next;
        bool begun;
        bool over;          /* TO_BE_RESET, TO_BE_ATTACHED: it was tried, with … */
        int error;          /* … this result */
        VfioDevice *device; /* TO_BE_ATTACHED: recognised, and not handed over yet */
        int request_fd;     /* the owner's eventfd for the kernel's request */
        FunctionOwner owner;
};

/*
 * What the worker does for a function. Part of it, for letting go must not fail for want of memory.
 */
typedef struct FunctionJob {
        WorkerJob job;
        VfioNodes nodes; /* to open it */
        VfioFds fds;     /* to take it back */
        int request_fd;  /* to attach it */
        VfioDevice *device;
        VfioProblem problem;
        int result;
} FunctionJob;

struct Function {
        const FunctionContext *context;
        unsigned n_ref;

        SysfsFunction sysfs;
        FunctionConfig config;
        Facts facts;
        FunctionState state; /* written by function_update() only, as is the reason */
        const char *reason;  /* static */
        RecordInterface interface;

        /* What was published of its errors since the object exists. */
        uint64_t records;
        uint64_t lost;
        uint16_t last_pec;
        uint64_t last_error_usec; /* CLOCK_REALTIME */

        /* The device while it is ours. */
        VfioDevice *device;
        FunctionActivity activity; /* what the worker is doing with it: one thing at a time */
        FunctionJob job;
        RingFunction *counters;      /* in the ring … */
        RingFunction counters_spare; /* … or here, if the ring has no place left */
        sd_event_source *error_source;
        sd_event_source *more_source; /* comes back for the rest of a burst */
        sd_event_source *request_source;
        bool opened_now;    /* no settlement of the balance yet since it was opened */
        bool revision_said; /* the administrator was told of an unknown revision of the interface */

        /* What somebody asked for. */
        FunctionWishes wishes;        /* claimed and released are facts too */
        FunctionWishes wishes_before; /* what is so again if the claims under way fail, … */
        bool recovery_limit_before;   /* … as is this */
        sd_event_source *grace_timer;
        uint64_t inhibitor; /* id of the one that counts, 0 if there is none */
        FunctionOwner owner;
        FunctionRequest *requests;

        /* What the service manager has of it. */
        VfioFds former;        /* a device of the former run that is to be taken back */
        FdStoreSync forgotten; /* what it had is forgotten: the device can be closed */

        /* Claiming: when to try (again). */
        uint64_t bound_usec; /* CLOCK_MONOTONIC, since when it is bound and settling */
        sd_event_source *claim_timer;
        sd_event_source *node_watch; /* tells that somebody used the node */
        uint64_t used_usec;          /* CLOCK_MONOTONIC, when we used it last */
        uint64_t backoff_usec;
        uint64_t open_again_usec; /* for how long the kernel has been handling an error */

        /* Recovery of what we hold. */
        RecordRecovery recovery;
        RecoveryHistory recoveries;
        uint64_t errors;           /* recoverable errors drained since the device was opened */
        uint64_t errors_recovered; /* how many of these a reset has dealt with */
        uint64_t errors_resetting; /* how many of these the reset under way deals with */
        sd_event_source *reset_timer;
        uint64_t reset_delay_usec;
        /* CLOCK_MONOTONIC, 0 if there is none. */
        uint64_t reset_deadline_usec; /* when the reset under way is given up */
        uint64_t leave_deadline_usec; /* when letting go waits for no recovery any more */
        bool stayed;                  /* an error had letting go begin anew */
};

/* What the configuration says of the function that sysfs describes. */
FunctionConfig function_config(const FunctionContext *context, const SysfsFunction *sysfs);

/*
 * Makes a function as sysfs describes it; former is what the former run remembered of it, or NULL.
 * Takes its device back if the service manager kept it. context must outlive it. Returns 0, -ENOMEM
 * or an error of sd-event.
 */
int function_new(const FunctionContext *context,
                 const SysfsFunction *sysfs,
                 const HandoverFunction *former,
                 Function **ret);
Function *function_ref(Function *function);
/*
 * Drops a reference. The last one frees it; the worker keeps one for as long as it works on the
 * device.
 */
Function *function_unref(Function *function);
DEFINE_TRIVIAL_CLEANUP_FUNC(Function *, function_unref);

/*
 * sysfs says this now, and the configuration may have changed. The identity (address and FID) must
 * be the same. If it was bound again meanwhile, nothing of its former life is held against it.
 */
void function_correct(Function *function, const SysfsFunction *sysfs);
/* It is not bound to VFIO any more, or not there: lets go of it. */
void function_gone(Function *function);
/*
 * The daemon ends: lets go of it, recovered if it is in error. What the service manager keeps stays
 * open until the function is freed.
 */
void function_stop(Function *function);
/* Whether there may be records in the queue of its device, or of one that is just being opened. */
bool function_is_undrained(const Function *function);
/* Right before the end: what is queued by now is drained, if the device is still open. */
void function_drain_rest(Function *function);
/*
 * Decides the state anew, and acquires or lets go of the device accordingly. After each corrected
 * fact.
 */
void function_update(Function *function);

/*
 * Something is asked of a function: whatever becomes of it, request is answered (FunctionOutcome).
 *
 * Has it held, whatever the policy says, until it is unbound or released. A failure changes nothing.
 * NOT_BOUND, BUSY, INHIBITED, NOT_SUPPORTED, PERMANENT, or the errno of vfio_open().
 */
void function_claim(Function *function, FunctionRequest *request);
/*
 * Lets go of it, to whom (empty if nobody said) until grace_usec from now, 0 for until it is
 * claimed; and gives it back to its policy after that. Answered once its device is closed.
 */
void function_release(Function *function,
                      uint64_t grace_usec,
                      const char *who,
                      FunctionRequest *request);
/* Drains and resets it. NOT_BOUND, NOT_HELD, PERMANENT, or the errno of vfio_reset(). */
void function_reset(Function *function, FunctionRequest *request);
/*
 * Has its owner's device drained: device, request_fd and owner of the request are filled in, and are
 * the function's from now on. NOT_BOUND, BUSY, INHIBITED, ALREADY_ATTACHED, NOT_THE_DEVICE,
 * NOT_SUPPORTED, or the errno of vfio_attach().
 */
void function_attach(Function *function, FunctionRequest *request);
/* Ends the attachment, if there is one. request may be NULL. Answered once the device is closed. */
void function_detach(Function *function, FunctionRequest *request);
/* Only waits until its device is closed. */
void function_wait_closed(Function *function, FunctionRequest *request);

/* Inhibitors came or went. */
void function_correct_inhibited(Function *function);
/* Who has it instead of us, where somebody said so; empty otherwise. */
const char *function_holder(const Function *function);
/* What the next run of the daemon has to know of it. Returns 1, 0 if nothing, or -ENOMEM. */
int function_hand_over(const Function *function, Handover *handover);

/* How the recovery goes; published through the ring if it is news. */
void function_set_recovery(Function *function, RecordRecovery recovery);
/* An error was committed to the ring: counted in what the object shows. */
void function_count_error(Function *function, const Record *record);

/* Whose records these are, for the ring. */
void function_identity(const Function *function, RecordIdentity *ret);
/* Whether the worker or anybody else of us still has its device. */
static inline bool function_is_busy(const Function *function) {
        return function->device || function->former.device >= 0 ||
               function->activity != FUNCTION_IDLE;
}

/*
 * One journal entry about this function, with its address, FID, UID and PCHID as fields and at the
 * head of the message.
 */
int function_log(
        Function *function, int level, int error, const char *message_id, const char *format, ...)
        _printf_(5, 6);
