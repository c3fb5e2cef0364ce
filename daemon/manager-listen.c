/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <signal.h>
#include <string.h>

#include "manager-private.h"
#include "names.h"

static void on_function_changed(Function *f, FunctionChange what, void *userdata) {
        Manager *m = userdata;

        if (what & FUNCTION_BECAME_BUSY)
                m->n_busy++;
        if (what & FUNCTION_BECAME_IDLE) {
                assert(m->n_busy > 0);
                m->n_busy--;
                registry_became_idle(m->registry, f);
                manager_check_stopped(m);
        }

        if (what & FUNCTION_DRAINED_LAST)
                observer_closing(m->observer, f);
        if (what & FUNCTION_CHANGED_MEMORY)
                manager_hand_over_soon(m);
        if (what & FUNCTION_ANSWERS)
                manager_hand_over(m);

        /* Those that left the registry have no object. */
        if (registry_by_fid(m->registry, f->sysfs.fid) != f)
                return;

        bus_function_changed(m->bus, f, what);
        if (what & FUNCTION_CHANGED_STATE)
                manager_status_changed(m);
}

static int on_function_dropped(
        Function *f, uint64_t ordinal, bool patient, const Record **ret, void *userdata) {
        Manager *m = userdata;

        return observer_dropped(m->observer, f, ordinal, patient, ret);
}

static void on_inhibitors_changed(Inhibitors *inhibitors, void *userdata) {
        Manager *m = userdata;

        m->handover_due = true;
        manager_hand_over(m);
        for (size_t i = 0; i < registry_size(m->registry); i++)
                function_correct_inhibited(registry_get(m->registry, i));
}

static void on_store_failed(int error, void *userdata) {
        Manager *m = userdata;

        (void) log_warning(m->log,
                           error,
                           "The service manager does not keep the records and devices for the "
                           "next run");
}

static void on_function_added(Function *f, void *userdata) {
        Manager *m = userdata;

        (void) function_log(f,
                            LOG_INFO,
                            0,
                            ERRORD_MESSAGE_APPEARED_ID,
                            "appeared, bound to %s; policy is %s",
                            f->sysfs.driver,
                            policy_to_string(f->facts.policy));
        bus_function_added(m->bus, f);
        manager_status_changed(m);
}

/* Why a function has no object any more. */
static void on_function_leaving(Function *f, const SysfsFunction *now, void *userdata) {
        const char *why;

        if (!now)
                why = "it is not there any more";
        else if (now->vfio_bound)
                why = "its policy is ignore now";
        else if (now->driver[0] == '\0')
                why = "no driver is bound to it any more";
        else if (strcmp(now->driver, f->sysfs.driver) == 0)
                why = "its driver took its VFIO device away";
        else {
                (void) function_log(f,
                                    LOG_INFO,
                                    0,
                                    ERRORD_MESSAGE_GONE_ID,
                                    "gone: its driver changed from %s to %s",
                                    f->sysfs.driver,
                                    now->driver);
                return;
        }

        (void) function_log(f, LOG_INFO, 0, ERRORD_MESSAGE_GONE_ID, "gone: %s", why);
}

static void on_function_removing(Function *f, void *userdata) {
        Manager *m = userdata;

        observer_hasten(m->observer, f);
        bus_function_removing(m->bus, f);
        manager_status_changed(m);
}

static void on_seen(const SysfsFunction *sysfs, void *userdata) {
        Manager *m = userdata;
        int r;

        r = registry_correct(m->registry, sysfs);
        if (r < 0)
                (void) log_error(m->log, r, "%s cannot be watched", sysfs->address);
}

static void on_bad(const char *address, const SysfsProblem *problem, void *userdata) {
        bool known, property = strcmp(problem->attribute, ERRORD_UDEV_POLICY) == 0;
        Manager *m = userdata;

        known = registry_keep(m->registry, address);
        if (!sysfs_problems_add(&m->problems, address, problem))
                return;

        (void) log_warning(m->log,
                           0,
                           "%s: its %s %s is %s%s%s; %s",
                           address,
                           property ? "udev property" : "attribute in sysfs",
                           problem->attribute,
                           problem->value[0] != '\0' ? "wrong (\"" : "missing or empty",
                           problem->value,
                           problem->value[0] != '\0' ? "\")" : "",
                           property ? "leaving the policy to the configuration"
                           : known  ? "going by what it was before"
                                    : "ignoring the function until a uevent tells of it again");
}

static void on_gone(const char *address, void *userdata) {
        Manager *m = userdata;

        registry_remove(m->registry, address);
}

static void on_scan_begin(void *userdata) {
        Manager *m = userdata;

        registry_scan_begin(m->registry);
}

static void on_scan_end(void *userdata) {
        Manager *m = userdata;

        registry_scan_end(m->registry);
        manager_reloaded(m);
}

static void on_uevent_error(const char *address, UeventError error, void *userdata) {
        Manager *m = userdata;

        observer_uevent(m->observer, address, error);
}

static void on_overrun(void *userdata) {
        Manager *m = userdata;

        (void) log_warning(
                m->log,
                0,
                "udev sent more events than could be taken in; looking at all functions anew");
}

static void on_uevent_failed(int error, void *userdata) {
        Manager *m = userdata;

        (void) log_error(
                m->log,
                error,
                "Cannot take in what udev tells of PCI functions; those that are known stay "
                "watched, and 'systemctl reload " ERRORD_PROGRAM "' looks for others");
        manager_reloaded(m);
}

static void on_bus_ready(bool connected, void *userdata) {
        Manager *m = userdata;

        manager_start(m);
}

static void on_name_taken(void *userdata) {
        Manager *m = userdata;

        m->result = log_error(m->log,
                              -EEXIST,
                              "Another daemon owns " ERRORD_BUS_NAME
                              " on the system bus; only one can run");
        /* There may have been no bus for long, and devices be held by now. */
        manager_stop(m);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Manager *m = userdata;

        assert(m);

        if (info->ssi_signo == SIGHUP)
                manager_reload(m);
        else
                manager_stop(m);
        return 0;
}

int manager_catch_signals(Manager *m) {
        static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
        sigset_t set;
        int r;

        (void) sigemptyset(&set);
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                (void) sigaddset(&set, signals[i]);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;

        for (size_t i = 0; i < ELEMENTSOF(signals); i++) {
                _cleanup_(sd_event_source_unrefp) sd_event_source *source = NULL;

                r = sd_event_add_signal(m->event, &source, signals[i], on_signal, m);
                if (r >= 0)
                        r = sd_event_source_set_floating(source, true);
                /* A storm of errors does not keep us from ending. */
                if (r >= 0)
                        r = sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT);
                if (r < 0)
                        return r;
        }
        return 0;
}

void manager_listen(Manager *m) {
        m->context.listener = (FunctionListener){
                .dropped = on_function_dropped,
                .changed = on_function_changed,
                .userdata = m,
        };
        m->inhibitors_listener = (InhibitorsListener){
                .changed = on_inhibitors_changed,
                .userdata = m,
        };
        m->store_listener = (FdStoreListener){ .failed = on_store_failed, .userdata = m };
        m->registry_listener = (RegistryListener){
                .added = on_function_added,
                .leaving = on_function_leaving,
                .removing = on_function_removing,
                .userdata = m,
        };
        m->uevent_listener = (UeventListener){
                .seen = on_seen,
                .bad = on_bad,
                .gone = on_gone,
                .scan_begin = on_scan_begin,
                .scan_end = on_scan_end,
                .error = on_uevent_error,
                .overrun = on_overrun,
                .failed = on_uevent_failed,
                .userdata = m,
        };
        m->bus_listener = (BusListener){
                .ready = on_bus_ready,
                .name_taken = on_name_taken,
                .userdata = m,
        };
}
