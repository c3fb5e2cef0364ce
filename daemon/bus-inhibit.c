/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "bus-answer.h"
#include "bus-inhibit.h"
#include "bus-model.h"
#include "names.h"

#define ADDRESSES_MAX 512U

typedef struct BusInhibit BusInhibit;

/* One of the functions that the inhibitor names, until it is closed. */
typedef struct BusInhibitWait {
        FunctionRequest request;
        BusInhibit *inhibit;
} BusInhibitWait;

/* A call of Inhibit(), until all its functions are closed. */
struct BusInhibit {
        sd_bus_message *call;
        int fd; /* the writing end: if nobody gets it, the inhibitor is over */
        size_t n_waiting;
        BusInhibitWait waits[];
};

static void freep_strv(char ***strv) {
        for (char **s = *strv; s && *s; s++)
                free(*s);
        free(*strv);
}

/* What the terms have is the message's, but for the array of addresses. */
static int
read_inhibit(sd_bus_message *call, char ***ret_addresses, Inhibitor *ret, sd_bus_error *ret_error) {
        const char *who, *why;
        int r;

        *ret = (Inhibitor){ 0 };
        r = sd_bus_message_read_strv(call, ret_addresses);
        if (r < 0)
                return r;
        r = sd_bus_message_read(call, "ss", &who, &why);
        if (r < 0)
                return r;
        ret->addresses = *ret_addresses;

        for (char **address = ret->addresses; address && *address; address++) {
                if (!pci_address_valid(*address))
                        return sd_bus_error_setf(
                                ret_error,
                                SD_BUS_ERROR_INVALID_ARGS,
                                "'%.32s' is no PCI address. One looks like 0001:00:00.0, in lower "
                                "case.",
                                *address);
                ret->n_addresses++;
        }
        if (ret->n_addresses == 0 || ret->n_addresses > ADDRESSES_MAX)
                return sd_bus_error_setf(ret_error,
                                         SD_BUS_ERROR_INVALID_ARGS,
                                         "An inhibitor names from 1 to %u PCI addresses.",
                                         ADDRESSES_MAX);

        r = bus_check_text(who, 1, BUS_WHO_SIZE, "who", ret_error);
        if (r >= 0)
                r = bus_check_text(why, 0, BUS_WHY_SIZE, "why", ret_error);
        if (r < 0)
                return r;
        (void) strcpy(ret->who, who);
        (void) strcpy(ret->why, why);
        return 0;
}

static int inhibit_refuse(int r, sd_bus_error *ret_error) {
        switch (r) {
        case -EDQUOT:
                return sd_bus_error_setf(ret_error,
                                         ERRORD_ERROR_LIMIT_EXCEEDED,
                                         "A user may have %u inhibitors.",
                                         INHIBITORS_PER_USER);
        case -EXFULL:
                return sd_bus_error_set(ret_error,
                                        ERRORD_ERROR_LIMIT_EXCEEDED,
                                        "The service manager keeps nothing more for the daemon "
                                        "(FileDescriptorStoreMax=).");
        default:
                return r;
        }
}

/* All are closed: the caller gets what keeps them closed. */
static void inhibit_finish(BusInhibit *inhibit) {
        int r;

        r = sd_bus_reply_method_return(inhibit->call, "h", inhibit->fd);
        if (r < 0)
                (void) sd_bus_reply_method_errno(inhibit->call, r, NULL);
        (void) safe_close(inhibit->fd);
        (void) sd_bus_message_unref(inhibit->call);
        free(inhibit);
}

static void inhibit_answer(FunctionRequest *request, FunctionOutcome outcome, int error) {
        BusInhibit *inhibit = ((BusInhibitWait *) request)->inhibit;

        if (--inhibit->n_waiting == 0)
                inhibit_finish(inhibit);
}

/* Those that the daemon holds are closing since the inhibitor is there. */
static void inhibit_wait(BusInhibit *inhibit, Registry *registry, const Inhibitor *terms) {
        /* One more, so that it does not finish in the middle of this. */
        inhibit->n_waiting = 1;

        for (size_t i = 0; registry && i < terms->n_addresses; i++) {
                BusInhibitWait *wait = &inhibit->waits[i];
                Function *f = registry_by_address(registry, terms->addresses[i]);

                if (!f)
                        continue;
                *wait = (BusInhibitWait){ .request.answer = inhibit_answer, .inhibit = inhibit };
                inhibit->n_waiting++;
                function_wait_closed(f, &wait->request);
        }

        if (--inhibit->n_waiting == 0)
                inhibit_finish(inhibit);
}

static int inhibit_allowed(sd_bus_message *call,
                           const PolkitCaller *caller,
                           void *userdata,
                           sd_bus_error *ret_error) {
        _cleanup_(freep_strv) char **addresses = NULL;
        BusModel *model = userdata;
        BusInhibit *inhibit;
        Inhibitor terms;
        int r;

        r = sd_bus_message_rewind(call, true);
        if (r >= 0)
                r = read_inhibit(call, &addresses, &terms, ret_error);
        if (r < 0)
                return r;
        terms.uid = caller->uid;
        terms.pid = caller->pid;

        inhibit = malloc(sizeof(*inhibit) + terms.n_addresses * sizeof(inhibit->waits[0]));
        if (!inhibit)
                return -ENOMEM;
        r = inhibitors_add(model->inhibitors, &terms, &inhibit->fd);
        if (r < 0) {
                free(inhibit);
                return inhibit_refuse(r, ret_error);
        }

        inhibit->call = sd_bus_message_ref(call);
        inhibit_wait(inhibit, model->registry, &terms);
        return 1;
}

int bus_call_inhibit(sd_bus_message *call, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(freep_strv) char **addresses = NULL;
        BusModel *model = userdata;
        Inhibitor terms;
        int r;

        r = read_inhibit(call, &addresses, &terms, ret_error);
        if (r < 0)
                return r;

        return polkit_ask(model->polkit,
                          call,
                          &(PolkitQuestion){
                                  .action = ERRORD_ACTION_INHIBIT,
                                  .address = terms.addresses[0],
                                  .allowed = inhibit_allowed,
                                  .userdata = model,
                          });
}

static int append_inhibitor(sd_bus_message *reply, const Inhibitor *inhibitor) {
        int r;

        r = sd_bus_message_open_container(reply, 'r', "asssuu");
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "s");
        if (r < 0)
                return r;
        for (size_t i = 0; i < inhibitor->n_addresses; i++) {
                r = sd_bus_message_append(reply, "s", inhibitor->addresses[i]);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        r = sd_bus_message_append(reply,
                                  "ssuu",
                                  inhibitor->who,
                                  inhibitor->why,
                                  (uint32_t) inhibitor->uid,
                                  (uint32_t) inhibitor->pid);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(reply);
}

int bus_call_list_inhibitors(sd_bus_message *call, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const BusModel *model = userdata;
        int r;

        r = sd_bus_message_new_method_return(call, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(asssuu)");
        if (r < 0)
                return r;
        for (const Inhibitor *i = inhibitors_next(model->inhibitors, NULL); i;
             i = inhibitors_next(model->inhibitors, i)) {
                r = append_inhibitor(reply, i);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}
