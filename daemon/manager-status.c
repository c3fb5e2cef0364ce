/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

#include "manager-private.h"
#include "names.h"

static int on_status(sd_event_source *source, void *userdata) {
        Manager *m = userdata;
        size_t n, held = 0;

        assert(m);

        n = registry_size(m->registry);
        for (size_t i = 0; i < n; i++)
                if (registry_get(m->registry, i)->facts.held)
                        held++;

        notify_status(m->notify, "Watching %zu PCI functions, holding %zu of them", n, held);
        return 0;
}

int manager_watch_status(Manager *m) {
        int r;

        assert(m);

        r = sd_event_add_defer(m->event, &m->status_source, on_status, m);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(m->status_source, "manager-status");
        return sd_event_source_set_enabled(m->status_source, SD_EVENT_OFF);
}

void manager_status_changed(Manager *m) {
        assert(m);

        (void) sd_event_source_set_enabled(m->status_source, SD_EVENT_ONESHOT);
}

void manager_say_start(Manager *m) {
        size_t n = registry_size(m->registry), observed = 0;
        struct stat st;

        for (size_t i = 0; i < n; i++)
                if (registry_get(m->registry, i)->facts.policy == POLICY_OBSERVE)
                        observed++;

        if (observed > 0 && strcmp(observer_witness(m->observer), "active") != 0)
                log_notice(
                        m->log,
                        "%zu VFIO-bound functions are only observed: their errors are published "
                        "with code and FID, as the kernel log shows them. To hold functions that "
                        "nobody else opens, and have full records of them, set Policy=claim in "
                        "zpci-errord.conf or the udev property " ERRORD_UDEV_POLICY,
                        observed);
        else if (n == 0 && stat("/sys/bus/pci/slots", &st) < 0)
                log_notice(
                        m->log,
                        "No zPCI functions here, and no PCI slots: this is no IBM Z or LinuxONE, "
                        "or it has no PCI. Waiting for functions all the same");
        else if (n == 0)
                log_info(m->log, "No zPCI function is bound to VFIO yet; waiting for one");

        if (stat("/dev/vfio", &st) < 0)
                log_notice(
                        m->log,
                        "There is no /dev/vfio: no VFIO module is loaded yet (modprobe vfio-pci)");
}
