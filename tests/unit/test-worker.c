/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "worker.h"

#define N_THREADS 4U /* of which one never does patient jobs */
#define N_JOBS    100U
#define WAIT_USEC (10 * USEC_PER_SEC)

typedef struct Job {
        WorkerJob job;
        struct Bench *bench;
        sem_t *gate; /* what the work waits for, NULL for nothing */
        atomic_uint n_worked;
        unsigned n_done;
        unsigned order; /* how many were done before it */
} Job;

typedef struct Bench {
        sd_event *event;
        Worker *worker;
        pthread_t loop;
        atomic_uint n_running;
        unsigned n_done;
        Job jobs[N_JOBS];
        sem_t gate;
} Bench;

static void work(WorkerJob *job) {
        Job *j = (Job *) job;

        assert_false(pthread_equal(pthread_self(), j->bench->loop));
        atomic_fetch_add(&j->bench->n_running, 1);
        if (j->gate)
                assert_int_equal(sem_wait(j->gate), 0);
        atomic_fetch_add(&j->n_worked, 1);
}

static void done(WorkerJob *job) {
        Job *j = (Job *) job;

        assert_true(pthread_equal(pthread_self(), j->bench->loop));
        j->order = j->bench->n_done++;
        j->n_done++;
}

static int setup(void **state) {
        Bench *b = calloc(1, sizeof(*b));

        assert_non_null(b);
        b->loop = pthread_self();
        assert_int_equal(sem_init(&b->gate, 0, 0), 0);
        assert_int_equal(sd_event_new(&b->event), 0);
        assert_int_equal(worker_new(b->event, N_THREADS, &b->worker), 0);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        Bench *b = *state;

        worker_free(b->worker);
        sd_event_unref(b->event);
        sem_destroy(&b->gate);
        free(b);
        return 0;
}

static Job *submit(Bench *b, unsigned i, WorkerUrgency urgency, sem_t *gate) {
        Job *j = &b->jobs[i];

        *j = (Job){
                .job = { .work = work, .done = done, .urgency = urgency },
                .bench = b,
                .gate = gate,
        };
        worker_submit(b->worker, &j->job);
        return j;
}

static void run_until_done(Bench *b, unsigned n) {
        while (b->n_done < n)
                assert_true(sd_event_run(b->event, WAIT_USEC) > 0);
}

static void test_each_once(void **state) {
        Bench *b = *state;

        for (unsigned i = 0; i < N_JOBS; i++)
                submit(b, i, i % 2 == 0 ? WORKER_PATIENT : WORKER_URGENT, NULL);
        run_until_done(b, N_JOBS);

        for (unsigned i = 0; i < N_JOBS; i++) {
                assert_int_equal(b->jobs[i].n_worked, 1);
                assert_int_equal(b->jobs[i].n_done, 1);
        }
}

/* However many adapters hang in open(), somebody is there to close a device that is asked for. */
static void test_patient_jobs_leave_a_thread(void **state) {
        Bench *b = *state;
        Job *urgent;

        for (unsigned i = 0; i < 20; i++)
                submit(b, i, WORKER_PATIENT, &b->gate);
        urgent = submit(b, 20, WORKER_URGENT, NULL);
        run_until_done(b, 1);
        assert_int_equal(urgent->n_done, 1);
        assert_true(atomic_load(&b->n_running) <= N_THREADS);

        for (unsigned i = 0; i < 20; i++)
                assert_int_equal(sem_post(&b->gate), 0);
        run_until_done(b, 21);
}

/* Urgent jobs go before patient ones that have waited longer. */
static void test_urgent_first(void **state) {
        Bench *b = *state;
        Job *urgent, *patient;

        for (unsigned i = 0; i < N_THREADS; i++)
                submit(b, i, WORKER_URGENT, &b->gate);
        patient = submit(b, 50, WORKER_PATIENT, NULL);
        urgent = submit(b, 51, WORKER_URGENT, NULL);

        /* One thread comes free, and does both. */
        assert_int_equal(sem_post(&b->gate), 0);
        run_until_done(b, 3);
        assert_true(urgent->order < patient->order);

        for (unsigned i = 1; i < N_THREADS; i++)
                assert_int_equal(sem_post(&b->gate), 0);
        run_until_done(b, N_THREADS + 2);
}

static void resubmit(WorkerJob *job) {
        Job *j = (Job *) job;

        done(job);
        j->job.done = done;
        worker_submit(j->bench->worker, job);
}

static void test_again_from_done(void **state) {
        Bench *b = *state;
        Job *j = &b->jobs[0];

        *j = (Job){ .job = { .work = work, .done = resubmit, .urgency = WORKER_URGENT },
                    .bench = b };
        worker_submit(b->worker, &j->job);
        run_until_done(b, 2);
        assert_int_equal(j->n_worked, 2);
}

/* What runs is waited for, what waits is forgotten, and done() is called for neither. */
static void test_ending(void **state) {
        Bench *b = *state;

        for (unsigned i = 0; i < 10; i++)
                submit(b, i, WORKER_URGENT, &b->gate);
        for (unsigned i = 0; i < 10; i++)
                assert_int_equal(sem_post(&b->gate), 0);
        b->worker = worker_free(b->worker);

        assert_int_equal(b->n_done, 0);
        for (unsigned i = 0; i < 10; i++)
                assert_true(b->jobs[i].n_worked <= 1);
}

/* What hangs is not waited for. */
static void test_ending_in_time(void **state) {
        Bench *b = *state;

        submit(b, 0, WORKER_URGENT, &b->gate);
        while (atomic_load(&b->n_running) == 0)
                assert_int_equal(sched_yield(), 0);
        submit(b, 1, WORKER_PATIENT, NULL);
        assert_false(worker_end(b->worker, 0));
        assert_false(worker_end(b->worker, USEC_PER_MSEC));

        assert_int_equal(sem_post(&b->gate), 0);
        assert_true(worker_end(b->worker, WAIT_USEC));
        assert_int_equal(b->jobs[0].n_worked, 1);
        assert_int_equal(b->n_done, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_each_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_patient_jobs_leave_a_thread, setup, teardown),
                cmocka_unit_test_setup_teardown(test_urgent_first, setup, teardown),
                cmocka_unit_test_setup_teardown(test_again_from_done, setup, teardown),
                cmocka_unit_test_setup_teardown(test_ending, setup, teardown),
                cmocka_unit_test_setup_teardown(test_ending_in_time, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
