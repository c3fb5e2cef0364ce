/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "manager-private.h"

static void on_complaint(const char *file, uint64_t line, const char *text, void *userdata) {
        Manager *m = userdata;

        if (line > 0)
                (void) log_warning(m->log, 0, "%s:%llu: %s", file, (unsigned long long) line, text);
        else
                (void) log_warning(m->log, 0, "%s: %s", file, text);
}

int manager_configure(Manager *m) {
        Config config;
        int r;

        config_defaults(&config);
        r = config_read(&config, "", on_complaint, m);
        if (r < 0) {
                config_done(&config);
                return log_error(m->log, r, "Cannot read the configuration");
        }

        if (m->options->policy)
                (void) config_set(&config, "Policy", m->options->policy);

        config_done(&m->config);
        m->config = config;
        return 0;
}

void manager_reload(Manager *m) {
        int r;

        assert(m);

        if (!m->started) {
                (void) manager_configure(m);
                return;
        }

        m->reloading = true;
        sysfs_problems_done(&m->problems); /* who has us look again wants to hear of them again */
        notify_reloading(m->notify);

        r = manager_configure(m);
        if (r >= 0) {
                log_info(m->log, "Configuration read, looking at all functions");
                r = uevent_rescan(m->uevent);
                if (r < 0)
                        (void) log_error(m->log, r, "Cannot look for PCI functions");
        }
        if (r < 0)
                manager_reloaded(m);
}

void manager_reloaded(Manager *m) {
        assert(m);

        if (!m->reloading)
                return;

        m->reloading = false;
        manager_status_changed(m);
        notify_ready(m->notify);
}
