/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "function-parts.h"

/*
 * What the service manager keeps of a function, by the ends of the names. The device of an owner has
 * a name of its own: if what was handed over is lost, it is not taken for ours, and not reset.
 */
static const char *const parts[] = { "device", "attached", "errors", "request", "notify" };

static const char *
function_part(const Function *f, const char *part, char name[static FDSTORE_NAME_SIZE]) {
        (void) snprintf(name, FDSTORE_NAME_SIZE, "function-%08" PRIx32 "-%s", f->sysfs.fid, part);
        return name;
}

static int function_take_part(Function *f, const char *part) {
        char name[FDSTORE_NAME_SIZE];

        return fdstore_take(f->context->store, function_part(f, part, name));
}

/* What was taken is of no use. */
static void function_drop_part(Function *f, const char *part, int *fd) {
        char name[FDSTORE_NAME_SIZE];

        *fd = safe_close(*fd);
        fdstore_remove(f->context->store, function_part(f, part, name));
}

/*
 * What the service manager calls an eventfd may be anything, and would be read and written by us. Any
 * other thing is as good as none.
 */
static int function_take_eventfd(Function *f, const char *part) {
        int fd;

        fd = function_take_part(f, part);
        if (fd >= 0 && !vfio_is_eventfd(fd))
                function_drop_part(f, part, &fd);
        return fd;
}

void function_find_former(Function *f, const HandoverFunction *former) {
        const char *device;
        bool attached;
        int notify_fd;

        assert(f);

        attached = former && former->owner[0] != '\0';
        device = attached ? "attached" : "device";
        notify_fd = function_take_eventfd(f, "notify");
        f->former = (VfioFds){
                .device = function_take_part(f, device),
                .error = function_take_eventfd(f, "errors"),
                .request = function_take_eventfd(f, "request"),
        };
        /* Whoever attached it does so only with the eventfd that asks for it back. */
        if (f->former.device < 0 || (attached && f->former.request < 0)) {
                function_drop_part(f, device, &f->former.device);
                function_drop_part(f, "errors", &f->former.error);
                function_drop_part(f, "request", &f->former.request);
                function_drop_part(f, "notify", &notify_fd);
                return;
        }

        f->facts.settled = true;
        if (!attached) {
                function_drop_part(f, "notify", &notify_fd);
                return;
        }
        f->facts.attached = true;
        (void) strcpy(f->owner.name, former->owner);
        f->owner.uid = former->owner_uid;
        f->owner.notify_fd = notify_fd;
}

static int function_put_part(Function *f, const char *part, int fd) {
        char name[FDSTORE_NAME_SIZE];

        function_part(f, part, name);
        if (fd < 0 || fdstore_has(f->context->store, name))
                return 0;
        return fdstore_put(f->context->store, name, fd, false);
}

static void function_forget_parts(Function *f) {
        char name[FDSTORE_NAME_SIZE];

        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                fdstore_remove(f->context->store, function_part(f, parts[i], name));
}

void function_keep(Function *f) {
        VfioFds fds;
        int r;

        assert(f);
        assert(f->device);

        /* The device last: without it, the next run takes none of them. */
        fds = vfio_fds(f->device);
        r = function_put_part(f, "errors", fds.error);
        if (r >= 0)
                r = function_put_part(f, "request", fds.request);
        if (r >= 0)
                r = function_put_part(f, "notify", f->owner.notify_fd);
        if (r >= 0)
                r = function_put_part(f, f->facts.attached ? "attached" : "device", fds.device);
        if (r >= 0)
                return;

        /* Nobody takes them, and others need the room. */
        function_forget_parts(f);
        (void) function_log(f,
                            LOG_WARNING,
                            r,
                            NULL,
                            "the service manager does not keep its device%s; errors while the "
                            "daemon restarts are lost",
                            r == -EXFULL ? ", FileDescriptorStoreMax= of the unit is too low" : "");
}

bool function_is_kept(const Function *f) {
        char name[FDSTORE_NAME_SIZE];

        assert(f);

        return fdstore_has(f->context->store,
                           function_part(f, f->facts.attached ? "attached" : "device", name));
}

void function_forget(Function *f, void (*done)(FdStoreSync *sync)) {
        assert(f);

        function_forget_parts(f);
        f->forgotten = (FdStoreSync){ .done = done };
        fdstore_sync(f->context->store, &f->forgotten);
}

Function *function_of_sync(FdStoreSync *sync) {
        return (Function *) ((char *) sync - offsetof(Function, forgotten));
}

int function_hand_over(const Function *f, Handover *handover) {
        const Facts *facts = &f->facts;
        HandoverFunction *function;

        assert(f);
        assert(handover);

        if (!function_is_busy(f) && !facts->claimed && !facts->released && !facts->permanent &&
            !facts->recovery_limit && f->recoveries.total == 0)
                return 0;

        function = handover_add_function(handover);
        if (!function)
                return -ENOMEM;
        *function = (HandoverFunction){
                .sysfs = f->sysfs,
                .claimed = f->wishes.claimed,
                .released = f->wishes.released,
                .released_until_usec = f->wishes.released_until_usec,
                .permanent = facts->permanent,
                .recovery_limit = facts->recovery_limit,
                .recoveries = f->recoveries,
                .owner_uid = f->owner.uid,
        };
        (void) strcpy(function->holder, f->wishes.holder);
        (void) strcpy(function->owner, facts->attached ? f->owner.name : "");
        return 1;
}
