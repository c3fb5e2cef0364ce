/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One PCI function: the facts about it, the state they amount to, and the device while it is ours.
 *
 * Only function.c and its parts write to a Function; everybody may read it.
 */

#include <systemd/sd-event.h>

#include "config.h"
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
} FunctionChange;

typedef struct FunctionListener {
        /*
         * The kernel's queue dropped an error of the function. Returns the record of it with this
         * ordinal, committed, if somebody else saw it; otherwise NULL, and it is lost. May be NULL itself.
         */
        const Record *(*dropped)(Function *function, uint64_t ordinal, void *userdata);
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
        FunctionListener listener;
} FunctionContext;

typedef enum FunctionActivity {
        FUNCTION_IDLE,
        FUNCTION_OPENING,
        FUNCTION_RESETTING,
        FUNCTION_CLOSING,
} FunctionActivity;

/*
 * What the worker does for a function. Part of it, for letting go must not fail for want of memory.
 */
typedef struct FunctionJob {
        WorkerJob job;
        VfioNodes nodes;
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

        /* Claiming: when to try (again). */
        uint64_t bound_usec; /* CLOCK_MONOTONIC, since when it is bound and settling */
        sd_event_source *claim_timer;
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
};

/* What the configuration says of the function that sysfs describes. */
FunctionConfig function_config(const FunctionContext *context, const SysfsFunction *sysfs);

/*
 * Makes a function as sysfs describes it. context must outlive it. Returns 0, -ENOMEM, or an error
 * of sd-event.
 */
int function_new(const FunctionContext *context, const SysfsFunction *sysfs, Function **ret);
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
/* The daemon ends: lets go of it, recovered if it is in error. */
void function_stop(Function *function);
/*
 * Decides the state anew, and acquires or lets go of the device accordingly. After each corrected
 * fact.
 */
void function_update(Function *function);

/* How the recovery goes; published through the ring if it is news. */
void function_set_recovery(Function *function, RecordRecovery recovery);
/* An error was committed to the ring: counted in what the object shows. */
void function_count_error(Function *function, const Record *record);

/* Whose records these are, for the ring. */
void function_identity(const Function *function, RecordIdentity *ret);
/* Whether the worker or anybody else of us still has its device. */
static inline bool function_is_busy(const Function *function) {
        return function->device || function->activity != FUNCTION_IDLE;
}

/*
 * One journal entry about this function, with its address, FID, UID and PCHID as fields and at the
 * head of the message.
 */
int function_log(
        Function *function, int level, int error, const char *message_id, const char *format, ...)
        _printf_(5, 6);
