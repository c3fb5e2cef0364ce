/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "bus-owner.h"

/* A question to the bus, and whom it is about. */
typedef struct OwnerQuestion {
        BusModel *model;
        char name[HANDOVER_NAME_SIZE];
} OwnerQuestion;

/* name NULL: all of them. */
static void owner_left(BusModel *model, const char *name) {
        for (size_t i = 0; model->registry && i < registry_size(model->registry); i++) {
                Function *f = registry_get(model->registry, i);

                if (!f->facts.attached || (name && strcmp(f->owner.name, name) != 0))
                        continue;
                (void) function_log(
                        f, LOG_INFO, 0, NULL, "its owner %s left the bus", f->owner.name);
                function_detach(f, NULL);
        }
}

static int on_left(sd_bus_message *signal, void *userdata, sd_bus_error *ret_error) {
        const char *name;

        if (sd_bus_message_read(signal, "s", &name) >= 0)
                owner_left(userdata, name);
        return 0;
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        OwnerQuestion *question = userdata;
        int there;

        /* A bus that does not answer is none: its end is told by the connection. */
        if (!sd_bus_message_is_method_error(reply, NULL) &&
            sd_bus_message_read(reply, "b", &there) >= 0 && !there)
                owner_left(question->model, question->name);
        return 0;
}

/* Not before there is an owner: names come and go all the time on a bus. */
static int owner_listen(BusModel *model, sd_bus *connection) {
        int r;

        if (model->listening)
                return 0;

        r = sd_bus_add_match_async(connection,
                                   NULL,
                                   "type='signal',sender='org.freedesktop.DBus',"
                                   "path='/org/freedesktop/DBus',"
                                   "interface='org.freedesktop.DBus',"
                                   "member='NameOwnerChanged',arg2=''",
                                   on_left,
                                   NULL,
                                   model);
        model->listening = r >= 0;
        return r;
}

int bus_owner_ask(BusModel *model, sd_bus *connection, const Function *function) {
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        _cleanup_free_ OwnerQuestion *question = NULL;
        int r;

        assert(model);
        assert(connection);
        assert(function);

        r = owner_listen(model, connection);
        if (r < 0)
                return r;

        question = malloc(sizeof(*question));
        if (!question)
                return -ENOMEM;
        question->model = model;
        (void) strcpy(question->name, function->owner.name);

        r = sd_bus_call_method_async(connection,
                                     &slot,
                                     "org.freedesktop.DBus",
                                     "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus",
                                     "NameHasOwner",
                                     on_answer,
                                     question,
                                     "s",
                                     question->name);
        if (r < 0)
                return r;

        (void) sd_bus_slot_set_destroy_callback(slot, free);
        TAKE_PTR(question);
        return sd_bus_slot_set_floating(slot, true);
}

int bus_owner_watch(sd_bus *connection, BusModel *model) {
        sd_id128_t id;
        char bus_id[SD_ID128_STRING_MAX];
        int r, result = 0;

        assert(connection);
        assert(model);

        r = sd_bus_get_bus_id(connection, &id);
        if (r < 0)
                return r;
        if (strcmp(sd_id128_to_string(id, bus_id), model->bus_id) != 0) {
                owner_left(model, NULL);
                (void) strcpy(model->bus_id, bus_id);
        }

        model->listening = false;
        for (size_t i = 0; model->registry && i < registry_size(model->registry); i++) {
                const Function *f = registry_get(model->registry, i);

                if (!f->facts.attached)
                        continue;
                r = bus_owner_ask(model, connection, f);
                if (r < 0)
                        result = r;
        }
        return result;
}

void bus_owner_all_left(BusModel *model) {
        assert(model);

        owner_left(model, NULL);
}
