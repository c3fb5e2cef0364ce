/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "bus-json.h"
#include "client.h"
#include "functions.h"
#include "names.h"
#include "text.h"

static json_object *get(json_object *array, size_t i) {
        return json_object_array_get_idx(array, i);
}

/* The array owns the function from then on. */
static int append(json_object *array, json_object *function) {
        if (json_object_array_add(array, function) == 0)
                return 0;

        (void) json_object_put(function);
        return -ENOMEM;
}

static int compare(const void *a, const void *b) {
        return address_compare(value_text(*(json_object *const *) a, "address"),
                               value_text(*(json_object *const *) b, "address"));
}

/* The interfaces of one object; only functions are of interest. */
static int read_interfaces(sd_bus_message *m, json_object *functions) {
        const char *interface;
        int r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
                r = sd_bus_message_read(m, "s", &interface);
                if (r < 0)
                        return r;

                if (strcmp(interface, ERRORD_FUNCTION_INTERFACE) == 0) {
                        _cleanup_(json_putp) json_object *function = json_object_new_object();

                        if (!function)
                                return -ENOMEM;

                        r = bus_json_read_dict(m, function);
                        if (r >= 0)
                                r = append(functions, TAKE_PTR(function));
                } else
                        r = sd_bus_message_skip(m, "a{sv}");
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r;
}

static int read_objects(sd_bus_message *m, json_object *functions) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
                r = sd_bus_message_skip(m, "o");
                if (r < 0)
                        return r;

                r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
                if (r < 0)
                        return r;

                r = read_interfaces(m, functions);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r;
}

int functions_get(Context *c, json_object **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_putp) json_object *functions = NULL;
        int r;

        assert(c);
        assert(ret);

        r = client_open(c);
        if (r != EXIT_DONE)
                return r;

        r = sd_bus_call_method(c->bus,
                               ERRORD_BUS_NAME,
                               ERRORD_MANAGER_PATH,
                               "org.freedesktop.DBus.ObjectManager",
                               "GetManagedObjects",
                               &error,
                               &reply,
                               NULL);
        if (r < 0)
                return client_fail(c, r, &error);

        functions = json_object_new_array();
        if (!functions)
                return fail_memory();

        r = read_objects(reply, functions);
        if (r < 0)
                return fail(_("Cannot read the daemon's answer: %s"), strerror(-r));

        json_object_array_sort(functions, compare);
        *ret = TAKE_PTR(functions);
        return EXIT_DONE;
}

int functions_get_one(const Context *c, const char *path, json_object **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_putp) json_object *function = NULL;
        int r;

        assert(c && c->bus);
        assert(path);
        assert(ret);

        r = sd_bus_call_method(c->bus,
                               ERRORD_BUS_NAME,
                               path,
                               "org.freedesktop.DBus.Properties",
                               "GetAll",
                               &error,
                               &reply,
                               "s",
                               ERRORD_FUNCTION_INTERFACE);
        if (r < 0)
                return client_fail(c, r, &error);

        function = json_object_new_object();
        if (!function)
                return fail_memory();

        r = bus_json_read_dict(reply, function);
        if (r < 0)
                return fail(_("Cannot read the daemon's answer: %s"), strerror(-r));

        *ret = TAKE_PTR(function);
        return EXIT_DONE;
}

static bool matches(const Address *address, json_object *function) {
        return address_matches(address,
                               value_text(function, "address"),
                               (uint32_t) value_number(function, "fid"),
                               (uint16_t) value_number(function, "pchid"));
}

/* Says which functions there are that an address may have meant; all of them without one. */
static void say_functions(json_object *all, const Address *address) {
        for (size_t i = 0; i < json_object_array_length(all); i++)
                if (!address || matches(address, get(all, i)))
                        (void) fprintf(stderr,
                                       "  %s  fid:%" PRIx64 "  pchid:%" PRIx64 "\n",
                                       value_text(get(all, i), "address"),
                                       value_number(get(all, i), "fid"),
                                       value_number(get(all, i), "pchid"));
}

static bool contains(json_object *array, json_object *function) {
        for (size_t i = 0; i < json_object_array_length(array); i++)
                if (get(array, i) == function)
                        return true;
        return false;
}

/* What cannot be an address needs no daemon to be refused. */
static int check_addresses(Selection selection, int n, char *const addresses[]) {
        Address address;

        for (int i = 0; i < n; i++) {
                bool valid = address_parse(addresses[i], &address) >= 0;

                if (selection == SELECT_TO_READ && !valid)
                        return fail_usage(
                                _("'%s' is no address: give a PCI address such as 0001:00:00.0 "
                                  "or a unique part of it, or fid:10, or pchid:104"),
                                addresses[i]);
                if (selection != SELECT_TO_READ && (!valid || address.kind == ADDRESS_PART))
                        return fail_usage(_("'%s' is no whole address: give a PCI address such as "
                                            "0001:00:00.0, or fid:10, or pchid:104"),
                                          addresses[i]);
        }
        return EXIT_DONE;
}

/* A function that has no object yet, once. */
static int select_absent(const char *pci_address, json_object *selected) {
        json_object *function;

        for (size_t i = 0; i < json_object_array_length(selected); i++)
                if (strcmp(value_text(get(selected, i), "address"), pci_address) == 0)
                        return EXIT_DONE;

        function = json_object_new_object();
        if (!function || append(selected, function) < 0 ||
            value_add_text(function, "address", pci_address) < 0)
                return fail_memory();
        return EXIT_DONE;
}

/* Says that nothing is called that, and what there is. */
static int fail_unknown(json_object *all, const char *text) {
        if (json_object_array_length(all) == 0)
                return fail(
                        _("There is no function '%s', nor any other: none is bound to a VFIO driver"),
                        text);

        say(_("There is no function '%s'. There are:"), text);
        say_functions(all, NULL);
        return EXIT_FAILED;
}

static int
select_one(json_object *all, Selection selection, const char *text, json_object *selected) {
        Address address;
        size_t n = 0;

        (void) address_parse(text, &address); /* checked before */

        for (size_t i = 0; i < json_object_array_length(all); i++) {
                json_object *function = get(all, i);

                if (!matches(&address, function))
                        continue;
                n++;
                if (!contains(selected, function) &&
                    append(selected, json_object_get(function)) < 0)
                        return fail_memory();
        }

        if (n == 0 && address.kind == ADDRESS_EXACT && selection == SELECT_TO_COME)
                return select_absent(address.text, selected);
        if (n == 0)
                return fail_unknown(all, text);
        if (n > 1 && address.kind == ADDRESS_PART) {
                say(_("'%s' is part of more than one address:"), text);
                say_functions(all, &address);
                return EXIT_FAILED;
        }
        return EXIT_DONE;
}

int functions_select(
        Context *c, Selection selection, int n, char *const addresses[], json_object **ret) {
        _cleanup_(json_putp) json_object *all = NULL, *selected = NULL;
        int r;

        assert(addresses || n == 0);
        assert(ret);

        r = check_addresses(selection, n, addresses);
        if (r != EXIT_DONE)
                return r;

        r = functions_get(c, &all);
        if (r != EXIT_DONE)
                return r;

        selected = json_object_new_array();
        if (!selected)
                return fail_memory();

        for (int i = 0; i < n; i++) {
                r = select_one(all, selection, addresses[i], selected);
                if (r != EXIT_DONE)
                        return r;
        }

        *ret = TAKE_PTR(selected);
        return EXIT_DONE;
}
