/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "action.h"
#include "bus-json.h"
#include "client.h"
#include "inhibitors.h"
#include "names.h"
#include "output.h"
#include "pager.h"
#include "text.h"

enum {
        COLUMN_WHO,
        COLUMN_UID,
        COLUMN_PID,
        COLUMN_ADDRESSES,
        COLUMN_WHY,
        _COLUMN_MAX,
};

static const Column columns[_COLUMN_MAX] = {
        [COLUMN_WHO] = { "WHO" },
        [COLUMN_UID] = { "UID", SCOLS_FL_RIGHT },
        [COLUMN_PID] = { "PID", SCOLS_FL_RIGHT },
        [COLUMN_ADDRESSES] = { "ADDRESSES", SCOLS_FL_WRAP },
        [COLUMN_WHY] = { "WHY", SCOLS_FL_TRUNC },
};

static int append_addresses(sd_bus_message *call, json_object *functions) {
        int r;

        r = sd_bus_message_open_container(call, 'a', "s");
        for (size_t i = 0; r >= 0 && i < json_object_array_length(functions); i++)
                r = sd_bus_message_append(
                        call, "s", value_text(json_object_array_get_idx(functions, i), "address"));
        return r < 0 ? r : sd_bus_message_close_container(call);
}

static int new_call(const Context *c,
                    json_object *functions,
                    const char *who,
                    const char *why,
                    sd_bus_message **ret) {
        int r;

        r = sd_bus_message_new_method_call(c->bus,
                                           ret,
                                           ERRORD_BUS_NAME,
                                           ERRORD_MANAGER_PATH,
                                           ERRORD_MANAGER_INTERFACE,
                                           "Inhibit");
        if (r >= 0)
                r = append_addresses(*ret, functions);
        if (r >= 0)
                r = sd_bus_message_append(*ret, "ss", who, why);
        return r;
}

int inhibitors_take(
        Context *c, json_object *functions, const char *who, const char *why, int *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        int r, fd;

        assert(c && c->bus);
        assert(functions);
        assert(who);
        assert(why);
        assert(ret);

        r = new_call(c, functions, who, why, &call);
        if (r < 0)
                return action_fail_arguments(r, who);

        r = action_call(c, call, who, &reply);
        if (r != EXIT_DONE)
                return r;

        r = sd_bus_message_read(reply, "h", &fd); /* the message's own */
        if (r >= 0) {
                *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
                r = *ret < 0 ? -errno : 0;
        }
        return r < 0 ? fail(_("Cannot read the daemon's answer: %s"), strerror(-r)) : EXIT_DONE;
}

static int read_addresses(sd_bus_message *m, json_object *inhibitor) {
        json_object *addresses = json_object_new_array();
        const char *address;
        int r;

        r = value_add(inhibitor, "addresses", addresses);
        if (r < 0)
                return r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_read(m, "s", &address)) > 0)
                if (json_object_array_add(addresses, json_object_new_string(address)) < 0)
                        return -ENOMEM;
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_inhibitor(sd_bus_message *m, json_object *inhibitors) {
        static const char *const keys[] = { "who", "why", "uid", "pid" };
        json_object *inhibitor = json_object_new_object();
        int r;

        if (!inhibitor || json_object_array_add(inhibitors, inhibitor) < 0) {
                (void) json_object_put(inhibitor);
                return -ENOMEM;
        }

        r = read_addresses(m, inhibitor);
        if (r < 0)
                return r;

        return bus_json_read(m, "ssuu", keys, inhibitor);
}

static int read_inhibitors(sd_bus_message *m, json_object *inhibitors) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(asssuu)");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'r', "asssuu")) > 0) {
                r = read_inhibitor(m, inhibitors);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r;
}

static int get_inhibitors(Context *c, json_object **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_putp) json_object *inhibitors = NULL;
        int r;

        r = client_open(c);
        if (r != EXIT_DONE)
                return r;

        r = sd_bus_call_method(c->bus,
                               ERRORD_BUS_NAME,
                               ERRORD_MANAGER_PATH,
                               ERRORD_MANAGER_INTERFACE,
                               "ListInhibitors",
                               &error,
                               &reply,
                               NULL);
        if (r < 0)
                return client_fail(c, r, &error);

        inhibitors = json_object_new_array();
        if (!inhibitors)
                return fail_memory();

        r = read_inhibitors(reply, inhibitors);
        if (r < 0)
                return fail(_("Cannot read the daemon's answer: %s"), strerror(-r));

        *ret = TAKE_PTR(inhibitors);
        return EXIT_DONE;
}

/* With blanks between them, so that they wrap. */
static char *join_addresses(json_object *inhibitor) {
        json_object *addresses = json_object_object_get(inhibitor, "addresses");
        char *text = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;

        for (size_t i = 0; i < json_object_array_length(addresses); i++)
                (void) fprintf(f,
                               "%s%s",
                               i > 0 ? " " : "",
                               json_object_get_string(json_object_array_get_idx(addresses, i)));
        if (fclose(f) == 0)
                return text;

        free(text);
        return NULL;
}

static int add_inhibitor(struct libscols_table *table, json_object *inhibitor) {
        _cleanup_free_ char *addresses = join_addresses(inhibitor);
        struct libscols_line *line = scols_table_new_line(table, NULL);
        const char *why = value_text(inhibitor, "why");
        char uid[16], pid[16];

        if (!line || !addresses)
                return -ENOMEM;

        (void) snprintf(uid, sizeof(uid), "%" PRIu32, (uint32_t) value_number(inhibitor, "uid"));
        (void) snprintf(pid, sizeof(pid), "%" PRIu32, (uint32_t) value_number(inhibitor, "pid"));

        if (output_cell(line, COLUMN_WHO, value_text(inhibitor, "who"), NULL) < 0 ||
            output_cell(line, COLUMN_UID, uid, NULL) < 0 ||
            output_cell(line, COLUMN_PID, pid, NULL) < 0 ||
            output_cell(line, COLUMN_ADDRESSES, addresses, NULL) < 0)
                return -ENOMEM;
        return output_cell(line, COLUMN_WHY, why[0] ? why : "-", NULL);
}

static int print_table(Context *c, json_object *inhibitors) {
        _cleanup_(scols_unref_tablep) struct libscols_table *table = NULL;
        size_t n = json_object_array_length(inhibitors);

        if (n == 0) {
                if (c->legend)
                        (void) puts(_("No inhibitors."));
                return EXIT_DONE;
        }

        table = output_table(c, columns, ELEMENTSOF(columns));
        if (!table)
                return fail_memory();

        for (size_t i = 0; i < n; i++)
                if (add_inhibitor(table, json_object_array_get_idx(inhibitors, i)) < 0)
                        return fail_memory();

        pager_open(c);
        if (scols_print_table(table) < 0)
                return fail_memory();
        if (c->legend)
                (void) printf(
                        ngettext("\n%zu inhibitor listed.\n", "\n%zu inhibitors listed.\n", n), n);
        return EXIT_DONE;
}

int inhibitors_list(Context *c) {
        _cleanup_(json_putp) json_object *inhibitors = NULL;
        int r;

        assert(c);

        r = get_inhibitors(c, &inhibitors);
        if (r != EXIT_DONE)
                return r;

        if (c->json == JSON_OFF)
                return print_table(c, inhibitors);

        if (c->json == JSON_PRETTY)
                pager_open(c);
        output_json(c, inhibitors);
        return EXIT_DONE;
}
