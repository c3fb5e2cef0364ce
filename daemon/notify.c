/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>

#include "notify.h"
#include "service-manager.h"

#define STATUS_SIZE 256U

struct Notify {
        sd_event *event;
        ServiceManager manager;
        sd_event_source *writable; /* owns the socket; there while the service manager's is full */
        sd_event_source *watchdog;
        uint64_t watchdog_usec; /* how often it is fed */

        /* What waits to be told. */
        bool ready;
        bool reloading;
        bool stopping;
        bool fed;
        bool status;
        char status_text[STATUS_SIZE];
};

static void notify_flush(Notify *notify);

static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Notify *notify = userdata;

        assert(notify);

        notify->writable = sd_event_source_disable_unref(notify->writable);
        notify_flush(notify);
        return 0;
}

/* Comes back to it as soon as the service manager has read something. */
static void notify_wait(Notify *notify, int fd) {
        if (sd_event_add_io(notify->event, &notify->writable, fd, EPOLLOUT, on_writable, notify) <
            0) {
                (void) close(fd); /* the next message tries again */
                return;
        }
        (void) sd_event_source_set_io_fd_own(notify->writable, true);
        (void) sd_event_source_set_description(notify->writable, "notify-writable");
}

static void notify_flush(Notify *notify) {
        char text[STATUS_SIZE + 64];
        int n, r, fd;

        if (!service_manager_exists(&notify->manager) || notify->writable)
                return;

        n = snprintf(text,
                     sizeof(text),
                     "%s%s%s%s%s%s%s",
                     notify->ready ? "READY=1\n" : "",
                     notify->reloading ? "RELOADING=1\n" : "",
                     notify->stopping ? "STOPPING=1\n" : "",
                     notify->fed ? "WATCHDOG=1\n" : "",
                     notify->status ? "STATUS=" : "",
                     notify->status ? notify->status_text : "",
                     notify->status ? "\n" : "");
        assert(n > 0 && (size_t) n < sizeof(text));

        r = service_manager_send(&notify->manager, text, (size_t) n, -EBADF, &fd);
        if (r == -EAGAIN)
                notify_wait(notify, fd);
        if (r < 0)
                return;

        notify->ready = notify->reloading = notify->stopping = notify->fed = notify->status = false;
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata) {
        Notify *notify = userdata;

        assert(notify);

        notify->fed = true;
        notify_flush(notify);
        (void) sd_event_source_set_time_relative(source, notify->watchdog_usec);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

static int notify_watch(Notify *notify) {
        int r;

        r = sd_watchdog_enabled(0, &notify->watchdog_usec);
        if (r <= 0)
                return r;

        notify->watchdog_usec /= 2;
        r = sd_event_add_time_relative(notify->event,
                                       &notify->watchdog,
                                       CLOCK_MONOTONIC,
                                       0,
                                       notify->watchdog_usec / 2,
                                       on_watchdog,
                                       notify);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(notify->watchdog, "notify-watchdog");
        /* Being busy with errors is no reason to be killed. */
        return sd_event_source_set_priority(notify->watchdog, SD_EVENT_PRIORITY_IMPORTANT);
}

int notify_new(sd_event *event, Notify **ret) {
        _cleanup_(notify_freep) Notify *notify = NULL;
        int r;

        assert(event);
        assert(ret);

        notify = calloc(1, sizeof(*notify));
        if (!notify)
                return -ENOMEM;
        notify->event = sd_event_ref(event);

        r = service_manager_find(&notify->manager);
        if (r < 0)
                return r;
        r = notify_watch(notify);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(notify);
        return 0;
}

Notify *notify_free(Notify *notify) {
        if (!notify)
                return NULL;

        (void) sd_event_source_disable_unref(notify->writable);
        (void) sd_event_source_disable_unref(notify->watchdog);
        (void) sd_event_unref(notify->event);
        free(notify);
        return NULL;
}

void notify_ready(Notify *notify) {
        assert(notify);

        notify->ready = true;
        notify->reloading = false;
        notify_flush(notify);
}

void notify_reloading(Notify *notify) {
        assert(notify);

        notify->reloading = true;
        notify->ready = false;
        notify_flush(notify);
}

void notify_stopping(Notify *notify) {
        assert(notify);

        notify->stopping = true;
        notify_flush(notify);
}

void notify_status(Notify *notify, const char *format, ...) {
        va_list ap;

        assert(notify);

        va_start(ap, format);
        (void) vsnprintf(notify->status_text, sizeof(notify->status_text), format, ap);
        va_end(ap);

        notify->status = true;
        notify_flush(notify);
}
