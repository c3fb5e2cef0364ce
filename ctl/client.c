/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "client.h"
#include "names.h"
#include "text.h"

int client_connect(Context *c) {
        assert(c);

        if (c->bus)
                return 0;
        return c->host ? sd_bus_open_system_remote(&c->bus, c->host) : sd_bus_open_system(&c->bus);
}

void client_disconnect(Context *c) {
        assert(c);

        /* Not flushed: that would wait for a bus that hangs. */
        sd_bus_close(c->bus);
        c->bus = sd_bus_unref(c->bus);
}

static int fail_connection(const Context *c, int error) {
        if (c->host)
                say(_("Cannot reach the system bus of %s: %s. Does 'ssh %s systemd-stdio-bridge' work?"),
                    c->host,
                    strerror(-error),
                    c->host);
        else
                say(_("Cannot reach the system bus: %s. Is dbus.service running?"),
                    strerror(-error));
        return EXIT_NO_DAEMON;
}

int client_open(Context *c) {
        int r = client_connect(c);

        return r < 0 ? fail_connection(c, r) : EXIT_DONE;
}

static bool has_prefix(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool client_is_absent(const sd_bus_error *error) {
        return sd_bus_error_has_names(
                       error,
                       SD_BUS_ERROR_SERVICE_UNKNOWN,
                       SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                       SD_BUS_ERROR_NO_REPLY,                    /* it left while it was asked */
                       "org.freedesktop.DBus.Error.TimedOut") || /* it did not start */
               (error->name && (has_prefix(error->name, "org.freedesktop.DBus.Error.Spawn.") ||
                                has_prefix(error->name, "org.freedesktop.systemd1.")));
}

int client_fail(const Context *c, int r, const sd_bus_error *error) {
        assert(c);
        assert(error);

        if (client_is_absent(error)) {
                if (c->host)
                        say(_("zpci-errord does not run on %s. To start it there, now and at every boot: "
                              "systemctl enable --now zpci-errord"),
                            c->host);
                else
                        say(_("zpci-errord does not run. To start it now and at every boot: "
                              "systemctl enable --now zpci-errord"));
                return EXIT_NO_DAEMON;
        }
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
                return fail(
                        _("The system bus does not let you ask zpci-errord: be root, or a member of the "
                          "group systemd-journal or adm. Or its policy file %s.conf is not installed"),
                        ERRORD_BUS_NAME);
        if (r == -ETIMEDOUT)
                return fail(_(
                        "zpci-errord does not answer. To see what it does: systemctl status zpci-errord"));
        if (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE)
                return fail_connection(c, r);
        return fail("%s", error->message ? error->message : strerror(-r));
}

int client_get_records(const Context *c,
                       const char *stream,
                       uint64_t after,
                       uint32_t max,
                       sd_bus_error *ret_error,
                       sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        assert(c && c->bus);

        r = sd_bus_message_new_method_call(c->bus,
                                           &call,
                                           ERRORD_BUS_NAME,
                                           ERRORD_MANAGER_PATH,
                                           ERRORD_MANAGER_INTERFACE,
                                           "GetRecords");
        if (r < 0)
                return r;

        r = sd_bus_message_set_auto_start(call, false);
        if (r < 0)
                return r;

        r = sd_bus_message_append(call, "stu", stream, after, max);
        if (r < 0)
                return r;

        r = sd_bus_call(c->bus, call, 0, ret_error, ret);
        return r < 0 ? r : 0;
}
