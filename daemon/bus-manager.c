/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bus-attach.h"
#include "bus-function.h"
#include "bus-inhibit.h"
#include "bus-manager.h"
#include "bus-record.h"
#include "config-build.h"
#include "names.h"

#define GET_RECORDS_MAX 1000U
#define LISTED_MAX      16U /* functions that an error message names */

static int get_version(sd_bus *connection,
                       const char *path,
                       const char *interface,
                       const char *property,
                       sd_bus_message *reply,
                       void *userdata,
                       sd_bus_error *ret_error) {
        return sd_bus_message_append(reply, "s", VERSION);
}

static int get_stream_id(sd_bus *connection,
                         const char *path,
                         const char *interface,
                         const char *property,
                         sd_bus_message *reply,
                         void *userdata,
                         sd_bus_error *ret_error) {
        const BusModel *model = userdata;
        char stream[BUS_STREAM_SIZE];

        bus_stream_id(model->ring, stream);
        return sd_bus_message_append(reply, "s", stream);
}

static int get_last_sequence(sd_bus *connection,
                             const char *path,
                             const char *interface,
                             const char *property,
                             sd_bus_message *reply,
                             void *userdata,
                             sd_bus_error *ret_error) {
        const BusModel *model = userdata;

        return sd_bus_message_append(reply, "t", ring_last_sequence(model->ring));
}

static int get_lost(sd_bus *connection,
                    const char *path,
                    const char *interface,
                    const char *property,
                    sd_bus_message *reply,
                    void *userdata,
                    sd_bus_error *ret_error) {
        const BusModel *model = userdata;

        return sd_bus_message_append(reply, "t", ring_lost(model->ring));
}

static int get_witness(sd_bus *connection,
                       const char *path,
                       const char *interface,
                       const char *property,
                       sd_bus_message *reply,
                       void *userdata,
                       sd_bus_error *ret_error) {
        const BusModel *model = userdata;

        return sd_bus_message_append(reply, "s", observer_witness(model->observer));
}

/* Says which functions there are: whoever asks for another one has mistyped it, or unbound it. */
static void list_functions(const Registry *registry, char *text, size_t size) {
        size_t n, used = 0;

        assert(size > 0);

        text[0] = 0;
        n = registry ? registry_size(registry) : 0;

        for (size_t i = 0; i < n && i < LISTED_MAX; i++) {
                const Function *f = registry_get(registry, i);
                int k;

                k = snprintf(text + used,
                             size - used,
                             "%s%s (FID 0x%08x)",
                             i == 0 ? " There are: " : ", ",
                             f->sysfs.address,
                             f->sysfs.fid);
                if (k < 0 || (size_t) k >= size - used) {
                        text[used] = 0;
                        return;
                }
                used += (size_t) k;
        }

        if (n == 0)
                (void) snprintf(text, size, " There are none.");
        else if (n > LISTED_MAX)
                (void) snprintf(text + used, size - used, " and %zu more.", n - LISTED_MAX);
        else
                (void) snprintf(text + used, size - used, ".");
}

static int reply_function(sd_bus_message *m,
                          const BusModel *model,
                          const Function *function,
                          const char *wanted,
                          sd_bus_error *ret_error) {
        char path[BUS_FUNCTION_PATH_SIZE];
        char text[LISTED_MAX * 64];

        if (!function) {
                list_functions(model->registry, text, sizeof(text));
                return sd_bus_error_setf(ret_error,
                                         ERRORD_ERROR_NO_FUNCTION,
                                         "No VFIO-bound PCI function has %s.%s",
                                         wanted,
                                         text);
        }

        bus_function_path(function->sysfs.fid, path);
        return sd_bus_reply_method_return(m, "o", path);
}

static int
method_get_function_by_address(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        char wanted[sizeof("address ") + PCI_ADDRESS_SIZE];
        const BusModel *model = userdata;
        const Function *function;
        const char *address;
        int r;

        r = sd_bus_message_read(m, "s", &address);
        if (r < 0)
                return r;

        if (!pci_address_valid(address))
                return sd_bus_error_set(
                        ret_error,
                        SD_BUS_ERROR_INVALID_ARGS,
                        "This is no PCI address. One looks like 0001:00:00.0, in lower case.");

        function = model->registry ? registry_by_address(model->registry, address) : NULL;
        (void) snprintf(wanted, sizeof(wanted), "address %s", address);
        return reply_function(m, model, function, wanted, ret_error);
}

static int method_get_function_by_fid(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        char wanted[sizeof("FID 0x00000000")];
        const BusModel *model = userdata;
        const Function *function;
        uint32_t fid;
        int r;

        r = sd_bus_message_read(m, "u", &fid);
        if (r < 0)
                return r;

        function = model->registry ? registry_by_fid(model->registry, fid) : NULL;
        (void) snprintf(wanted, sizeof(wanted), "FID 0x%08x", fid);
        return reply_function(m, model, function, wanted, ret_error);
}

static bool stream_valid(const char *stream) {
        size_t length = strlen(stream);

        return length == 0 || (length == BUS_STREAM_SIZE - 1 &&
                               strspn(stream, "0123456789abcdefABCDEF") == length);
}

static int append_records(
        sd_bus_message *m, const Ring *ring, uint64_t after, uint32_t max, const char *stream) {
        uint64_t cursor, missed;
        const Record *record;
        int r;

        r = sd_bus_message_open_container(m, 'a', "(" BUS_RECORD_TYPES ")");
        if (r < 0)
                return r;

        cursor = ring_cursor_after(ring, after);
        for (uint32_t n = 0; n < max && (record = ring_next(ring, &cursor, &missed));) {
                if (record->kind != RECORD_ERROR)
                        continue;

                r = sd_bus_message_open_container(m, 'r', BUS_RECORD_TYPES);
                if (r < 0)
                        return r;

                r = bus_record_append(m, record, stream);
                if (r < 0)
                        return r;

                r = sd_bus_message_close_container(m);
                if (r < 0)
                        return r;

                n++;
        }

        return sd_bus_message_close_container(m);
}

static int method_get_records(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const BusModel *model = userdata;
        char current[BUS_STREAM_SIZE];
        const char *stream;
        uint64_t after;
        uint32_t max;
        int r;

        r = sd_bus_message_read(m, "stu", &stream, &after, &max);
        if (r < 0)
                return r;

        if (!stream_valid(stream))
                return sd_bus_error_set(
                        ret_error,
                        SD_BUS_ERROR_INVALID_ARGS,
                        "A stream is named by 32 hexadecimal digits, the current one by nothing.");

        /* Sequence numbers of another stream say nothing about this one. */
        bus_stream_id(model->ring, current);
        if (stream[0] && strcasecmp(stream, current) != 0)
                after = 0;

        if (max == 0 || max > GET_RECORDS_MAX)
                max = GET_RECORDS_MAX;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r < 0)
                return r;

        r = sd_bus_message_append(reply,
                                  "stt",
                                  current,
                                  ring_oldest_sequence(model->ring),
                                  ring_last_sequence(model->ring));
        if (r < 0)
                return r;

        r = append_records(reply, model->ring, after, max, current);
        if (r < 0)
                return r;

        return sd_bus_send(NULL, reply, NULL);
}

/*
 * Unprivileged means that sd-bus does not check who the sender is: the policy of the bus decides
 * that, and sd-bus would ask the bus and wait for its answer.
 */
static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("GetFunctionByAddress",
                                SD_BUS_ARGS("s", address),
                                SD_BUS_RESULT("o", function),
                                method_get_function_by_address,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetFunctionByFid",
                                SD_BUS_ARGS("u", fid),
                                SD_BUS_RESULT("o", function),
                                method_get_function_by_fid,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "GetRecords",
                SD_BUS_ARGS("s", stream, "t", after, "u", max),
                SD_BUS_RESULT(
                        "s", current, "t", oldest, "t", last, "a(" BUS_RECORD_TYPES ")", records),
                method_get_records,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Attach",
                                SD_BUS_ARGS("h", device, "a{sv}", options),
                                SD_BUS_RESULT("o", function),
                                bus_call_attach,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Detach",
                                SD_BUS_ARGS("o", function),
                                SD_BUS_NO_RESULT,
                                bus_call_detach,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Inhibit",
                                SD_BUS_ARGS("as", addresses, "s", who, "s", why),
                                SD_BUS_RESULT("h", inhibitor),
                                bus_call_inhibit,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListInhibitors",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(asssuu)", inhibitors),
                                bus_call_list_inhibitors,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("StreamId", "s", get_stream_id, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("LastSequence", "t", get_last_sequence, 0, 0),
        SD_BUS_PROPERTY("Lost", "t", get_lost, 0, 0),
        SD_BUS_PROPERTY("Witness", "s", get_witness, 0, 0),
        SD_BUS_VTABLE_END,
};

int bus_manager_add(sd_bus *connection, BusModel *model) {
        int r;

        assert(connection);
        assert(model);

        r = sd_bus_add_object_manager(connection, NULL, ERRORD_MANAGER_PATH);
        if (r < 0)
                return r;

        return sd_bus_add_object_vtable(connection,
                                        NULL,
                                        ERRORD_MANAGER_PATH,
                                        ERRORD_MANAGER_INTERFACE,
                                        manager_vtable,
                                        model);
}
