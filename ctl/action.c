/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "action.h"
#include "agent.h"
#include "client.h"
#include "describe.h"
#include "functions.h"
#include "names.h"
#include "output.h"
#include "text.h"

#define PATH_SIZE (sizeof(ERRORD_FUNCTION_PREFIX) + 9)

/* The daemon answers within some seconds; people have five minutes of it to type a password. */
#define TIMEOUT        (30 * USEC_PER_SEC)
#define TIMEOUT_PEOPLE (310 * USEC_PER_SEC)

static uint64_t timeout(const Context *c) {
        return geteuid() == 0 && !c->host ? TIMEOUT : TIMEOUT_PEOPLE;
}

/* Whether it was the daemon that refused, and not the bus that did not reach it. */
static bool is_refusal(int r, const sd_bus_error *error) {
        return error->message && !client_is_absent(error) && r != -ETIMEDOUT && r != -ECONNRESET &&
               r != -ENOTCONN && r != -EPIPE;
}

/* "0001:00:00.0: text. Advice"; the daemon may have said itself whom its text is about. */
static void write_refusal(char text[static DESCRIBE_SIZE],
                          const char *subject,
                          const char *message,
                          const char *advice) {
        size_t length = strlen(subject), end = strlen(message);
        bool named = strncmp(message, subject, length) == 0;
        bool full_stop = end > 0 && message[end - 1] == '.';

        (void) snprintf(text,
                        DESCRIBE_SIZE,
                        "%s%s%s%s%s",
                        named ? "" : subject,
                        named ? "" : ": ",
                        message,
                        !advice     ? ""
                        : full_stop ? " "
                                    : ". ",
                        advice ? advice : "");
}

static int fail_action(const Context *c, int r, const sd_bus_error *error, const char *subject) {
        char text[DESCRIBE_SIZE];

        if (!is_refusal(r, error))
                return client_fail(c, r, error);

        write_refusal(text, subject, error->message, describe_advice(error->name));

        /* What the daemon calls invalid is from the command line. */
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_INVALID_ARGS))
                return fail_usage("%s", text);
        return fail("%s", text);
}

int action_fail_arguments(int error, const char *subject) {
        /* D-Bus has no other text. */
        if (error == -EINVAL)
                return fail_usage(_("What is given with --who and --why has to be text in UTF-8"));
        return fail("%s: %s", subject, strerror(-error));
}

int action_call(Context *c, sd_bus_message *call, const char *subject, sd_bus_message **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        assert(c && c->bus);
        assert(call);
        assert(subject);

        r = sd_bus_message_set_allow_interactive_authorization(call, true);
        if (r < 0)
                return action_fail_arguments(r, subject);

        agent_open(c);
        r = sd_bus_call(c->bus, call, timeout(c), &error, ret);
        return r < 0 ? fail_action(c, r, &error, subject) : EXIT_DONE;
}

static int print(const Context *c, const char *path) {
        _cleanup_(json_putp) json_object *function = NULL;
        int r;

        r = functions_get_one(c, path, &function);
        if (r != EXIT_DONE)
                return r;

        output_json(c, function);
        return EXIT_DONE;
}

static int run_one(Context *c, json_object *function, const char *method, ActionArguments append) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        const char *address = value_text(function, "address");
        char path[PATH_SIZE];
        int r;

        (void) snprintf(path,
                        sizeof(path),
                        ERRORD_FUNCTION_PREFIX "/%08" PRIx32,
                        (uint32_t) value_number(function, "fid"));

        r = sd_bus_message_new_method_call(
                c->bus, &call, ERRORD_BUS_NAME, path, ERRORD_FUNCTION_INTERFACE, method);
        if (r >= 0 && append)
                r = append(c, call);
        if (r < 0)
                return action_fail_arguments(r, address);

        r = action_call(c, call, address, NULL);
        return r == EXIT_DONE && c->json != JSON_OFF ? print(c, path) : r;
}

int action_run(
        Context *c, int n, char *const addresses[], const char *method, ActionArguments append) {
        _cleanup_(json_putp) json_object *functions = NULL;
        int r, status = EXIT_DONE;

        assert(c);
        assert(method);

        r = functions_select(c, SELECT_TO_CHANGE, n, addresses, &functions);
        if (r != EXIT_DONE)
                return r;

        for (size_t i = 0; i < json_object_array_length(functions); i++) {
                r = run_one(c, json_object_array_get_idx(functions, i), method, append);
                if (r == EXIT_NO_DAEMON || r == EXIT_USAGE)
                        return r; /* so it would be of all others */
                if (r != EXIT_DONE)
                        status = r;
        }
        return status;
}
