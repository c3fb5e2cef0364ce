/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "bus-answer.h"
#include "bus-attach.h"
#include "bus-function.h"
#include "bus-owner.h"
#include "names.h"

/* What a call of Attach() hands over; the message's. */
typedef struct AttachFds {
        int device;
        int request; /* negative if it is not there */
        int notify;
} AttachFds;

/* A call of Attach(), until it is answered. */
typedef struct BusAttach {
        FunctionRequest request; /* the first member */
        WorkerJob job;
        BusModel *model;
        sd_bus_message *call;
        AttachFds fds;
        uid_t uid;
        Function *function;

        /* What the worker found out. */
        VfioDevice *device;
        VfioProblem problem;
        const char *wrong_option; /* the one that is no eventfd */
        int result;
} BusAttach;

static void attach_free(BusAttach *attach) {
        attach->model->n_attaching--;
        (void) vfio_close(attach->device);
        (void) sd_bus_message_unref(attach->call);
        free(attach);
}

static void attach_refuse(BusAttach *attach, const sd_bus_error *error) {
        (void) sd_bus_reply_method_error(attach->call, error);
        attach_free(attach);
}

static void attach_answer(FunctionRequest *request, FunctionOutcome outcome, int error) {
        BusAttach *attach = (BusAttach *) request;
        _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
        char path[BUS_FUNCTION_PATH_SIZE];
        Function *f = attach->function;
        int r;

        if (bus_outcome(f, outcome, error, &failure) < 0) {
                attach_refuse(attach, &failure);
                return;
        }

        (void) function_log(f,
                            LOG_INFO,
                            0,
                            NULL,
                            "its owner %s (user %u) attached it",
                            f->owner.name,
                            f->owner.uid);
        /* Nobody would tell that he left before. */
        r = bus_owner_ask(attach->model, sd_bus_message_get_bus(attach->call), f);
        if (r < 0)
                (void) function_log(
                        f,
                        LOG_WARNING,
                        r,
                        NULL,
                        "cannot learn whether its owner leaves the bus; the attachment ends by "
                        "Detach(), or when the device is asked for");
        bus_function_path(f->sysfs.fid, path);
        (void) sd_bus_reply_method_return(attach->call, "o", path);
        attach_free(attach);
}

/*
 * What is no VFIO device may take its time to be closed, or never be: that is a matter for this
 * thread, and the message closes something harmless.
 */
static void attach_defuse(int fd) {
        _cleanup_close_ int harmless = -EBADF;

        harmless = eventfd(0, EFD_CLOEXEC);
        if (harmless >= 0)
                (void) dup3(harmless, fd, O_CLOEXEC);
}

static void work_recognise(WorkerJob *job) {
        BusAttach *attach = (BusAttach *) ((char *) job - offsetof(BusAttach, job));
        const AttachFds *fds = &attach->fds;

        if (!vfio_is_eventfd(fds->request)) {
                attach->wrong_option = "Request";
                attach_defuse(fds->request);
        }
        if (fds->notify >= 0 && !vfio_is_eventfd(fds->notify)) {
                attach->wrong_option = "Notify";
                attach_defuse(fds->notify);
        }

        attach->result = vfio_recognise(fds->device, &attach->device, &attach->problem);
        if (attach->result < 0)
                attach_defuse(fds->device);
}

static int attach_judge(const BusAttach *attach, sd_bus_error *ret_error) {
        int r = attach->result;

        if (r == -ENOTTY || r == -ENXIO || r == -EBADMSG)
                return sd_bus_error_setf(ret_error,
                                         ERRORD_ERROR_NOT_VFIO_DEVICE,
                                         "This is no open VFIO device of a zPCI function: %s.",
                                         attach->problem.what);
        if (r == -EOPNOTSUPP)
                return sd_bus_error_setf(ret_error,
                                         ERRORD_ERROR_NOT_SUPPORTED,
                                         "It cannot be drained: %s.",
                                         attach->problem.what);
        if (r < 0)
                return sd_bus_error_set_errnof(
                        ret_error, r, "%s: %s", attach->problem.what, strerror(-r));
        if (attach->wrong_option)
                return sd_bus_error_setf(ret_error,
                                         ERRORD_ERROR_NOT_VFIO_DEVICE,
                                         "The option '%s' is no eventfd.",
                                         attach->wrong_option);
        return 0;
}

/* Fills in what the function is to have. Its fds are duplicates: the message's are closed with it. */
static int attach_prepare(BusAttach *attach) {
        FunctionRequest *request = &attach->request;
        FunctionOwner *owner = &request->owner;

        *request = (FunctionRequest){
                .answer = attach_answer,
                .request_fd = fcntl(attach->fds.request, F_DUPFD_CLOEXEC, 3),
                .owner = { .uid = attach->uid, .notify_fd = -EBADF },
        };
        if (request->request_fd < 0)
                return -errno;
        if (attach->fds.notify >= 0) {
                owner->notify_fd = fcntl(attach->fds.notify, F_DUPFD_CLOEXEC, 3);
                if (owner->notify_fd < 0) {
                        int r = -errno;

                        request->request_fd = safe_close(request->request_fd);
                        return r;
                }
        }

        (void) snprintf(
                owner->name, sizeof(owner->name), "%s", sd_bus_message_get_sender(attach->call));
        request->device = TAKE_PTR(attach->device);
        return 0;
}

static void done_recognise(WorkerJob *job) {
        BusAttach *attach = (BusAttach *) ((char *) job - offsetof(BusAttach, job));
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const Registry *registry = attach->model->registry;
        uint32_t fh;
        int r;

        if (attach_judge(attach, &error) < 0) {
                attach_refuse(attach, &error);
                return;
        }

        fh = vfio_function_handle(attach->device);
        attach->function = registry ? registry_by_handle(registry, fh) : NULL;
        if (!attach->function) {
                (void) sd_bus_error_setf(
                        &error,
                        ERRORD_ERROR_NO_FUNCTION,
                        "No VFIO-bound PCI function that is not ignored has the handle 0x%08x.",
                        fh);
                attach_refuse(attach, &error);
                return;
        }

        r = attach_prepare(attach);
        if (r < 0) {
                (void) sd_bus_error_set_errno(&error, r);
                attach_refuse(attach, &error);
                return;
        }
        function_attach(attach->function, &attach->request);
}

static int read_attach_option(sd_bus_message *call, AttachFds *fds, sd_bus_error *ret_error) {
        const char *name;
        int r, *fd;

        r = sd_bus_message_read(call, "s", &name);
        if (r < 0)
                return r;
        if (strcmp(name, "Request") == 0)
                fd = &fds->request;
        else if (strcmp(name, "Notify") == 0)
                fd = &fds->notify;
        else
                return sd_bus_error_setf(ret_error,
                                         SD_BUS_ERROR_INVALID_ARGS,
                                         "There is no option '%s'; there are 'Request' and "
                                         "'Notify'.",
                                         name);

        r = sd_bus_message_read(call, "v", "h", fd);
        if (r < 0)
                return sd_bus_error_setf(ret_error,
                                         SD_BUS_ERROR_INVALID_ARGS,
                                         "The option '%s' is a file descriptor.",
                                         name);
        return 0;
}

static int read_attach(sd_bus_message *call, AttachFds *ret, sd_bus_error *ret_error) {
        int r;

        *ret = (AttachFds){ .request = -EBADF, .notify = -EBADF };
        r = sd_bus_message_read(call, "h", &ret->device);
        if (r < 0)
                return r;

        r = sd_bus_message_enter_container(call, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(call, 'e', "sv")) > 0) {
                r = read_attach_option(call, ret, ret_error);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(call);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        if (ret->request < 0)
                return sd_bus_error_set(
                        ret_error,
                        SD_BUS_ERROR_INVALID_ARGS,
                        "The option 'Request' is required: the eventfd that was set for "
                        "VFIO_PCI_REQ_IRQ_INDEX. Without it the daemon would keep the device from "
                        "being unbound.");
        return 0;
}

static unsigned attachments_of_user(const BusModel *model, uid_t uid) {
        unsigned n = model->n_attaching;

        for (size_t i = 0; model->registry && i < registry_size(model->registry); i++) {
                const Function *f = registry_get(model->registry, i);

                if (f->facts.attached && f->owner.uid == uid)
                        n++;
        }
        return n;
}

static int attach_allowed(sd_bus_message *call,
                          const PolkitCaller *caller,
                          void *userdata,
                          sd_bus_error *ret_error) {
        BusModel *model = userdata;
        BusAttach *attach;
        AttachFds fds;
        int r;

        r = sd_bus_message_rewind(call, true);
        if (r >= 0)
                r = read_attach(call, &fds, ret_error);
        if (r < 0)
                return r;
        if (attachments_of_user(model, caller->uid) >= BUS_ATTACHMENTS_PER_USER)
                return sd_bus_error_setf(ret_error,
                                         ERRORD_ERROR_LIMIT_EXCEEDED,
                                         "A user may have %u attachments.",
                                         BUS_ATTACHMENTS_PER_USER);

        attach = malloc(sizeof(*attach));
        if (!attach)
                return -ENOMEM;
        *attach = (BusAttach){
                .job = { .work = work_recognise,
                         .done = done_recognise,
                         .urgency = WORKER_PATIENT },
                .model = model,
                .call = sd_bus_message_ref(call),
                .fds = fds,
                .uid = caller->uid,
        };
        model->n_attaching++;
        worker_submit(model->worker, &attach->job);
        return 1;
}

int bus_call_attach(sd_bus_message *call, void *userdata, sd_bus_error *ret_error) {
        BusModel *model = userdata;
        AttachFds fds;
        int r;

        r = read_attach(call, &fds, ret_error);
        if (r < 0)
                return r;

        return polkit_ask(model->polkit,
                          call,
                          &(PolkitQuestion){
                                  .action = ERRORD_ACTION_ATTACH,
                                  .allowed = attach_allowed,
                                  .userdata = model,
                          });
}

static int detach(sd_bus_message *call, BusModel *model, sd_bus_error *ret_error) {
        BusRequest *request;
        const char *path;
        Function *f;
        int r;

        r = sd_bus_message_read(call, "o", &path);
        if (r < 0)
                return r;
        f = bus_function_of_path(model, path);
        if (!f || !f->facts.attached)
                return sd_bus_error_set(ret_error,
                                        ERRORD_ERROR_NO_FUNCTION,
                                        "No attached PCI function has this object.");

        request = bus_request_new(call, f);
        if (!request)
                return -ENOMEM;
        function_detach(f, &request->request);
        return 1;
}

static int detach_allowed(sd_bus_message *call,
                          const PolkitCaller *caller,
                          void *userdata,
                          sd_bus_error *ret_error) {
        int r;

        r = sd_bus_message_rewind(call, true);
        return r < 0 ? r : detach(call, userdata, ret_error);
}

int bus_call_detach(sd_bus_message *call, void *userdata, sd_bus_error *ret_error) {
        const char *path, *sender = sd_bus_message_get_sender(call);
        BusModel *model = userdata;
        const Function *f;
        int r;

        r = sd_bus_message_read(call, "o", &path);
        if (r < 0)
                return r;
        f = bus_function_of_path(model, path);

        /* Its owner needs nobody's leave. */
        if (f && f->facts.attached && sender && strcmp(f->owner.name, sender) == 0) {
                r = sd_bus_message_rewind(call, true);
                return r < 0 ? r : detach(call, model, ret_error);
        }

        return polkit_ask(model->polkit,
                          call,
                          &(PolkitQuestion){
                                  .action = ERRORD_ACTION_ATTACH,
                                  .address = f ? f->sysfs.address : NULL,
                                  .allowed = detach_allowed,
                                  .userdata = model,
                          });
}
