/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the parts of the manager share: manager.c makes and ends them, manager-config.c reads the
 * configuration, manager-handover.c keeps what must survive, manager-listen.c passes on what the parts
 * tell, and manager-status.c says what there is.
 */

#include <stdbool.h>

#include "bus.h"
#include "fdstore.h"
#include "journal-check.h"
#include "journal-pump.h"
#include "journal.h"
#include "manager.h"
#include "notify.h"
#include "observer.h"
#include "registry.h"
#include "sysfs-problems.h"
#include "uevent.h"

struct Manager {
        const ManagerOptions *options;
        Log *log;
        Config config;
        sd_event *event;
        FdStoreListener store_listener;
        FdStore *store;
        Handover former; /* until the functions are there */
        int handover_fd; /* the memfd, or negative */
        sd_event_source *handover_timer;
        bool handover_due;
        sd_event_source *status_source;
        InhibitorsListener inhibitors_listener;
        Inhibitors *inhibitors;
        Ring *ring;
        Notify *notify;
        Journal *journal;
        JournalPump *journal_pump;
        Worker *worker;
        JournalCheck *journal_check;
        FunctionContext context;
        RegistryListener registry_listener;
        Registry *registry;
        Observer *observer;
        UeventListener uevent_listener;
        Uevent *uevent;
        SysfsProblems problems; /* that were said */
        BusListener bus_listener;
        Bus *bus;
        unsigned n_busy; /* functions on which the worker is at work */
        bool started;
        bool reloading; /* the functions are looked at because the configuration was read */
        bool stopping;
        bool stop_begun; /* the functions were told */
        bool hangs;
        int result;
};

/* Takes back what the former run handed over, and makes the place for the next. */
int manager_take_over(Manager *manager);
/* Writes what the next run has to know, soon or now, if there is something new. */
void manager_hand_over_soon(Manager *manager);
void manager_hand_over(Manager *manager);

/*
 * Listens to the witness, by what its loader left with the service manager; or says why not. If it
 * is switched off, that is left there to be removed, which ends it.
 */
void manager_watch_witness(Manager *manager);

/* Fills in the listeners. */
void manager_listen(Manager *manager);
/* SIGTERM and SIGINT stop, SIGHUP reloads. Returns 0 or a negative errno. */
int manager_catch_signals(Manager *manager);
/*
 * Reads the configuration anew. What it says wins only over the built-in defaults and loses against
 * the command line.
 */
int manager_configure(Manager *manager);
/*
 * Reads the configuration anew, and has all functions looked at. What they still are allowed to
 * hold stays held.
 */
void manager_reload(Manager *manager);
/* All functions are as the new configuration has them, or as far as it goes. */
void manager_reloaded(Manager *manager);
/* The bus is ready or absent: devices may be touched. */
void manager_start(Manager *manager);
/* Lets go of everything, then ends the event loop. */
void manager_stop(Manager *manager);
/* Ends the event loop if it is to end and nothing is held any more. */
void manager_check_stopped(Manager *manager);
/* Makes what manager_status_changed() needs. Returns 0 or a negative errno. */
int manager_watch_status(Manager *manager);
/*
 * The service manager is told how many functions there are, once for all that changed in this
 * iteration of the event loop.
 */
void manager_status_changed(Manager *manager);
/* What an administrator should hear at once, rather than miss records and wonder. */
void manager_say_start(Manager *manager);
