/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "worker.h"

typedef struct JobList {
        WorkerJob *first;
        WorkerJob **last;
} JobList;

struct Worker {
        sd_event_source *source;
        int done_fd; /* eventfd: there is something in done */

        pthread_mutex_t mutex; /* guards what follows */
        pthread_cond_t wakeup;
        JobList waiting[2]; /* by urgency */
        JobList done;
        unsigned n_patient;     /* threads that do a patient job now */
        unsigned n_patient_max; /* threads that may */
        bool stopping;

        unsigned n_threads;
        pthread_t threads[];
};

static void list_init(JobList *list) {
        *list = (JobList){ .last = &list->first };
}

static void list_append(JobList *list, WorkerJob *job) {
        job->next = NULL;
        *list->last = job;
        list->last = &job->next;
}

static WorkerJob *list_take(JobList *list) {
        WorkerJob *job = list->first;

        if (!job)
                return NULL;

        list->first = job->next;
        if (!list->first)
                list->last = &list->first;
        job->next = NULL;
        return job;
}

/* Called with the mutex held. */
static WorkerJob *worker_next(Worker *worker) {
        WorkerJob *job;

        job = list_take(&worker->waiting[WORKER_URGENT]);
        if (job || worker->n_patient >= worker->n_patient_max)
                return job;

        job = list_take(&worker->waiting[WORKER_PATIENT]);
        if (job)
                worker->n_patient++;
        return job;
}

static void worker_do(Worker *worker, WorkerJob *job) {
        bool patient = job->urgency == WORKER_PATIENT;

        (void) pthread_mutex_unlock(&worker->mutex);
        job->work(job);
        (void) pthread_mutex_lock(&worker->mutex);

        if (patient)
                worker->n_patient--;
        list_append(&worker->done, job);
        (void) eventfd_write(worker->done_fd, 1);
}

static void *worker_thread(void *userdata) {
        Worker *worker = userdata;

        (void) pthread_mutex_lock(&worker->mutex);
        while (!worker->stopping) {
                WorkerJob *job = worker_next(worker);

                if (job)
                        worker_do(worker, job);
                else
                        (void) pthread_cond_wait(&worker->wakeup, &worker->mutex);
        }
        (void) pthread_mutex_unlock(&worker->mutex);
        return NULL;
}

static WorkerJob *worker_take_done(Worker *worker) {
        WorkerJob *job;

        (void) pthread_mutex_lock(&worker->mutex);
        job = list_take(&worker->done);
        (void) pthread_mutex_unlock(&worker->mutex);
        return job;
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Worker *worker = userdata;
        WorkerJob *job;
        eventfd_t count;

        assert(worker);

        (void) eventfd_read(fd, &count);
        while ((job = worker_take_done(worker)))
                job->done(job);
        return 0;
}

/* Signals are the event loop's. */
static int worker_start_threads(Worker *worker, unsigned n_threads) {
        sigset_t all, before;
        int r = 0;

        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        while (worker->n_threads < n_threads) {
                r = pthread_create(
                        &worker->threads[worker->n_threads], NULL, worker_thread, worker);
                if (r != 0)
                        break;
                worker->n_threads++;
        }
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

int worker_new(sd_event *event, unsigned n_threads, Worker **ret) {
        _cleanup_(worker_freep) Worker *worker = NULL;
        int r;

        assert(event);
        assert(n_threads >= 2);
        assert(ret);

        worker = calloc(1, sizeof(*worker) + n_threads * sizeof(worker->threads[0]));
        if (!worker)
                return -ENOMEM;

        (void) pthread_mutex_init(&worker->mutex, NULL);
        (void) pthread_cond_init(&worker->wakeup, NULL);
        list_init(&worker->waiting[WORKER_PATIENT]);
        list_init(&worker->waiting[WORKER_URGENT]);
        list_init(&worker->done);
        worker->n_patient_max = n_threads - (n_threads + 3U) / 4U;

        worker->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (worker->done_fd < 0)
                return -errno;

        r = sd_event_add_io(event, &worker->source, worker->done_fd, EPOLLIN, on_done, worker);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(worker->source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(worker->source, "worker-done");

        r = worker_start_threads(worker, n_threads);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(worker);
        return 0;
}

static void worker_stop_threads(Worker *worker) {
        (void) pthread_mutex_lock(&worker->mutex);
        worker->stopping = true;
        (void) pthread_cond_broadcast(&worker->wakeup);
        (void) pthread_mutex_unlock(&worker->mutex);
}

bool worker_end(Worker *worker, uint64_t patience_usec) {
        struct timespec until;

        assert(worker);

        worker_stop_threads(worker);
        until = usec_to_timespec(now_usec(CLOCK_MONOTONIC) + patience_usec);
        for (unsigned i = worker->n_threads; i-- > 0;)
                if (pthread_clockjoin_np(worker->threads[i], NULL, CLOCK_MONOTONIC, &until) == 0)
                        worker->threads[i] = worker->threads[--worker->n_threads];
        return worker->n_threads == 0;
}

Worker *worker_free(Worker *worker) {
        if (!worker)
                return NULL;

        worker_stop_threads(worker);
        for (unsigned i = 0; i < worker->n_threads; i++)
                (void) pthread_join(worker->threads[i], NULL);

        (void) sd_event_source_disable_unref(worker->source);
        (void) safe_close(worker->done_fd);
        (void) pthread_cond_destroy(&worker->wakeup);
        (void) pthread_mutex_destroy(&worker->mutex);
        free(worker);
        return NULL;
}

void worker_submit(Worker *worker, WorkerJob *job) {
        assert(worker);
        assert(job);
        assert(job->work);
        assert(job->done);

        (void) pthread_mutex_lock(&worker->mutex);
        list_append(&worker->waiting[job->urgency], job);
        /* All of them: the one that wakes up may be one of too many for a patient job. */
        (void) pthread_cond_broadcast(&worker->wakeup);
        (void) pthread_mutex_unlock(&worker->mutex);
}
