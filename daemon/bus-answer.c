/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "bus-answer.h"
#include "names.h"

static int bus_refuse(const Function *f, const char *name, const char *text, sd_bus_error *error) {
        return sd_bus_error_setf(error, name, "%s: %s", f->sysfs.address, text);
}

int bus_outcome(const Function *f, FunctionOutcome outcome, int error, sd_bus_error *ret_error) {
        assert(f);
        assert(ret_error);

        switch (outcome) {
        case FUNCTION_DONE:
                return 0;
        case FUNCTION_NOT_BOUND:
                return bus_refuse(
                        f, ERRORD_ERROR_NOT_BOUND, "it is not bound to VFIO any more", ret_error);
        case FUNCTION_BUSY:
                return bus_refuse(f,
                                  ERRORD_ERROR_BUSY,
                                  f->facts.attached ? "its owner attached it"
                                  : f->facts.held   ? "the daemon itself holds its VFIO device"
                                                    : "somebody else holds its VFIO device",
                                  ret_error);
        case FUNCTION_INHIBITED:
                return sd_bus_error_setf(
                        ret_error,
                        ERRORD_ERROR_INHIBITED,
                        "%s: %s keeps the daemon from it (zpci-errctl inhibit --list)",
                        f->sysfs.address,
                        function_holder(f));
        case FUNCTION_NOT_SUPPORTED:
                return bus_refuse(f,
                                  ERRORD_ERROR_NOT_SUPPORTED,
                                  "this kernel gives no error records of it",
                                  ret_error);
        case FUNCTION_NOT_HELD:
                return bus_refuse(f,
                                  ERRORD_ERROR_NOT_SUPPORTED,
                                  f->facts.attached
                                          ? "its owner attached it, and is who recovers it"
                                          : "the daemon does not hold it; claim it first",
                                  ret_error);
        case FUNCTION_PERMANENT:
                return bus_refuse(f,
                                  ERRORD_ERROR_PERMANENT,
                                  "it reported an error that no reset recovers; the platform has "
                                  "to repair or replace it",
                                  ret_error);
        case FUNCTION_ALREADY_ATTACHED:
                return bus_refuse(f,
                                  ERRORD_ERROR_ALREADY_ATTACHED,
                                  "its device is attached already",
                                  ret_error);
        case FUNCTION_NOT_THE_DEVICE:
                return bus_refuse(f,
                                  ERRORD_ERROR_NOT_VFIO_DEVICE,
                                  "the function has another handle than the VFIO device",
                                  ret_error);
        case FUNCTION_SYSTEM_ERROR:
                return sd_bus_error_set_errno(ret_error, error);
        }

        assert(false);
        return -EINVAL;
}

static void bus_request_answer(FunctionRequest *request, FunctionOutcome outcome, int error) {
        BusRequest *r = (BusRequest *) request; /* its first member */
        _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;

        /* Whoever asked may be gone, and the connection with him: then nobody misses the answer. */
        if (bus_outcome(r->function, outcome, error, &failure) < 0)
                (void) sd_bus_reply_method_error(r->call, &failure);
        else
                (void) sd_bus_reply_method_return(r->call, NULL);

        (void) sd_bus_message_unref(r->call);
        free(r);
}

BusRequest *bus_request_new(sd_bus_message *call, Function *function) {
        BusRequest *r;

        assert(call);
        assert(function);

        r = malloc(sizeof(*r));
        if (r)
                *r = (BusRequest){
                        .request.answer = bus_request_answer,
                        .function = function,
                        .call = sd_bus_message_ref(call),
                };
        return r;
}

int bus_check_text(
        const char *text, size_t min, size_t size, const char *name, sd_bus_error *ret_error) {
        size_t length = strlen(text);

        if (length < min || length >= size)
                return sd_bus_error_setf(ret_error,
                                         SD_BUS_ERROR_INVALID_ARGS,
                                         "'%s' has to have from %zu to %zu bytes.",
                                         name,
                                         min,
                                         size - 1);
        for (const char *c = text; *c; c++)
                if ((unsigned char) *c < ' ' || *c == '\x7f')
                        return sd_bus_error_setf(ret_error,
                                                 SD_BUS_ERROR_INVALID_ARGS,
                                                 "'%s' must not have control characters.",
                                                 name);
        return 0;
}
