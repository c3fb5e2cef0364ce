/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "bus-answer.h"
#include "bus-calls.h"
#include "bus-function.h"
#include "names.h"

#define GRACE_MAX_USEC (UINT64_C(24) * 60 * 60 * USEC_PER_SEC)

/* Asks whether the caller may, and then does it. */
static int bus_call_ask(sd_bus_message *call,
                        const char *action,
                        int (*allowed)(sd_bus_message *call,
                                       const PolkitCaller *caller,
                                       void *userdata,
                                       sd_bus_error *ret_error)) {
        sd_bus_slot *slot = sd_bus_get_current_slot(sd_bus_message_get_bus(call));
        BusModel *model = sd_bus_slot_get_userdata(slot);
        const Function *f = bus_function_of_path(model, sd_bus_message_get_path(call));

        return polkit_ask(model->polkit,
                          call,
                          &(PolkitQuestion){
                                  .action = action,
                                  .address = f ? f->sysfs.address : NULL,
                                  .allowed = allowed,
                                  .userdata = model,
                          });
}

/* The function of the call, which may be gone by now, and a request for it. */
static int
bus_call_request(sd_bus_message *call, BusModel *model, BusRequest **ret, sd_bus_error *ret_error) {
        Function *f = bus_function_of_path(model, sd_bus_message_get_path(call));

        if (!f)
                return sd_bus_error_set(ret_error,
                                        ERRORD_ERROR_NO_FUNCTION,
                                        "The function is not bound to VFIO any more.");

        *ret = bus_request_new(call, f);
        return *ret ? 0 : -ENOMEM;
}

static int claim_allowed(sd_bus_message *call,
                         const PolkitCaller *caller,
                         void *userdata,
                         sd_bus_error *ret_error) {
        BusRequest *request;
        int r;

        r = bus_call_request(call, userdata, &request, ret_error);
        if (r < 0)
                return r;

        function_claim(request->function, &request->request);
        return 1;
}

int bus_call_claim(sd_bus_message *call, void *userdata, sd_bus_error *ret_error) {
        return bus_call_ask(call, ERRORD_ACTION_CLAIM, claim_allowed);
}

static int reset_allowed(sd_bus_message *call,
                         const PolkitCaller *caller,
                         void *userdata,
                         sd_bus_error *ret_error) {
        BusRequest *request;
        int r;

        r = bus_call_request(call, userdata, &request, ret_error);
        if (r < 0)
                return r;

        function_reset(request->function, &request->request);
        return 1;
}

int bus_call_reset(sd_bus_message *call, void *userdata, sd_bus_error *ret_error) {
        return bus_call_ask(call, ERRORD_ACTION_RESET, reset_allowed);
}

static int read_release_option(sd_bus_message *call, const char **who, sd_bus_error *ret_error) {
        const char *name;
        int r;

        r = sd_bus_message_read(call, "s", &name);
        if (r < 0)
                return r;
        if (strcmp(name, "who") != 0)
                return sd_bus_error_setf(ret_error,
                                         SD_BUS_ERROR_INVALID_ARGS,
                                         "There is no option '%s'; there is 'who'.",
                                         name);

        r = sd_bus_message_read(call, "v", "s", who);
        if (r < 0)
                return sd_bus_error_set(
                        ret_error, SD_BUS_ERROR_INVALID_ARGS, "The option 'who' is a string.");
        return bus_check_text(*who, 0, BUS_WHO_SIZE, "who", ret_error);
}

static int read_release(sd_bus_message *call,
                        uint64_t *ret_grace_usec,
                        const char **ret_who,
                        sd_bus_error *ret_error) {
        int r;

        *ret_who = "";
        r = sd_bus_message_read(call, "t", ret_grace_usec);
        if (r < 0)
                return r;
        if (*ret_grace_usec > GRACE_MAX_USEC)
                return sd_bus_error_set(ret_error,
                                        SD_BUS_ERROR_INVALID_ARGS,
                                        "The grace is at most a day; 0 is until Claim().");

        r = sd_bus_message_enter_container(call, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(call, 'e', "sv")) > 0) {
                r = read_release_option(call, ret_who, ret_error);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(call);
                if (r < 0)
                        return r;
        }
        return r;
}

static int release_allowed(sd_bus_message *call,
                           const PolkitCaller *caller,
                           void *userdata,
                           sd_bus_error *ret_error) {
        BusRequest *request;
        uint64_t grace_usec;
        const char *who;
        int r;

        r = sd_bus_message_rewind(call, true);
        if (r >= 0)
                r = read_release(call, &grace_usec, &who, ret_error);
        if (r >= 0)
                r = bus_call_request(call, userdata, &request, ret_error);
        if (r < 0)
                return r;

        function_release(request->function, grace_usec, who, &request->request);
        return 1;
}

int bus_call_release(sd_bus_message *call, void *userdata, sd_bus_error *ret_error) {
        uint64_t grace_usec;
        const char *who;
        int r;

        r = read_release(call, &grace_usec, &who, ret_error);
        if (r < 0)
                return r;

        return bus_call_ask(call, ERRORD_ACTION_RELEASE, release_allowed);
}
