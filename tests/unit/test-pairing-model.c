/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Pairing against a model: errors are made up, each is told by the sources that would tell it, and the
 * accounts come in any order that the documented bounds allow. The kernel log and the witness have
 * each an order of their own, but not between them; only after the daemon was stopped, no line comes
 * before what the witness saw.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pairing-fixture.h"

#define SEC  USEC_PER_SEC
#define MSEC USEC_PER_MSEC

#define START (1000 * SEC)
#define RUNS  3000U

enum {
        MAX_ERRORS = 48,
        MAX_ARRIVALS = 4 * MAX_ERRORS,
};

typedef struct Made {
        uint32_t fid;
        uint16_t pec;
        uint8_t place; /* where the DMA failed */
        uint64_t time;
        bool held;
        unsigned told; /* bits of the sources that told it */
        unsigned records;
} Made;

typedef struct Arrival {
        uint64_t at;
        RecordSource source;
        Made *error;
} Arrival;

typedef struct World {
        uint64_t random;
        bool witness; /* whether it runs */
        bool packed;  /* the VFIO device tells no more than FID and PEC */
        Made errors[MAX_ERRORS];
        Arrival arrivals[MAX_ARRIVALS];
        unsigned n_errors, n_arrivals;
        uint64_t stall_from, stall_to; /* the daemon is stopped, then takes in all that has come */
        uint64_t newest[_RECORD_SOURCE_MAX]; /* when a source told the last time */
        PairingAccount published[MAX_ARRIVALS];
        unsigned n_published;
} World;

static uint64_t draw(World *world, uint64_t below) {
        world->random ^= world->random << 13;
        world->random ^= world->random >> 7;
        world->random ^= world->random << 17;
        return world->random % below;
}

static bool made_sends_uevent(const Made *error) {
        return error->pec != 0x3b && error->pec != 0x40 && error->pec != 0x2a;
}

static void made_tell(World *world, Made *error, RecordSource source, uint64_t max_delay) {
        uint64_t at = error->time + draw(world, max_delay);

        if (at >= world->stall_from && at < world->stall_to)
                at = world->stall_to + draw(world, 100 * MSEC);

        /* What the kernel saw first is taken in first, or a line of an old error could be taken for one
         * of a drained error that is much younger. */
        if (source == RECORD_KMSG && world->stall_to > 0 && at < world->newest[RECORD_WITNESS])
                at = world->newest[RECORD_WITNESS];
        if (source == RECORD_KMSG || source == RECORD_WITNESS) {
                if (at < world->newest[source])
                        at = world->newest[source];
                world->newest[source] = at;
        }

        error->told |= 1U << source;
        world->arrivals[world->n_arrivals++] = (Arrival){ at, source, error };
}

/* percent_lost: how many of the accounts never come */
static void made_tell_all(World *world, Made *error, unsigned percent_lost) {
        if (error->held && error->pec != 0x2a && draw(world, 100) >= percent_lost)
                made_tell(world, error, RECORD_VFIO, 200 * MSEC);
        if (world->witness && draw(world, 100) >= percent_lost)
                made_tell(world, error, RECORD_WITNESS, 200 * MSEC);
        if (draw(world, 100) >= percent_lost)
                made_tell(world, error, RECORD_KMSG, 200 * MSEC);
        if (made_sends_uevent(error) && draw(world, 100) >= percent_lost)
                made_tell(world, error, RECORD_UEVENT, draw(world, 4) == 0 ? 20 * SEC : 200 * MSEC);
}

static int arrival_compare(const void *a, const void *b) {
        const Arrival *x = a, *y = b;

        if (x->at != y->at)
                return x->at < y->at ? -1 : 1;
        if (x->source != y->source)
                return x->source < y->source ? -1 : 1;
        return x->error < y->error ? -1 : x->error > y->error;
}

/* Takes out what is due up to a time, as a timer would that yields to every other source. */
static void world_advance(World *world, Pairing *pairing, uint64_t to) {
        for (;;) {
                uint64_t next = pairing_next_usec(pairing);

                if (next >= world->stall_from && next < world->stall_to + 100 * MSEC)
                        next = world->stall_to + 100 * MSEC;
                if (next > to || next == UINT64_MAX)
                        return;
                assert_true(pairing_due(pairing, next, &world->published[world->n_published]));
                world->n_published++;
        }
}

static void world_drain(World *world, Pairing *pairing, const Made *error, uint64_t at) {
        PairingAccount account =
                make_account(RECORD_VFIO, error->fid, error->pec, error->place, at);

        account.detailed = !world->packed;
        account.number = 1 + (uint64_t) (error - world->errors);
        (void) pairing_vfio(pairing, &account);
        account.time_usec = error->time;
        world->published[world->n_published++] = account;
}

static void world_witness(World *world, Pairing *pairing, const Made *error, uint64_t at) {
        PairingAccount account =
                make_account(RECORD_WITNESS, error->fid, error->pec, error->place, error->time);

        account.number = 1 + (uint64_t) (error - world->errors);
        (void) pairing_witness(pairing, &account, error->held, at);
}

static void world_run(World *world) {
        _cleanup_(pairing_freep) Pairing *pairing = NULL;

        assert_int_equal(pairing_new(&pairing), 0);
        pairing_expect_witness(pairing, world->witness);

        qsort(world->arrivals, world->n_arrivals, sizeof(Arrival), arrival_compare);

        for (unsigned i = 0; i < world->n_arrivals; i++) {
                const Arrival *arrival = &world->arrivals[i];
                const Made *error = arrival->error;

                world_advance(world, pairing, arrival->at);
                if (arrival->source == RECORD_VFIO)
                        world_drain(world, pairing, error, arrival->at);
                else if (arrival->source == RECORD_WITNESS)
                        world_witness(world, pairing, error, arrival->at);
                else if (arrival->source == RECORD_KMSG)
                        pairing_kmsg(pairing, error->fid, error->pec, error->time, arrival->at);
                else
                        pairing_uevent(pairing, error->fid, arrival->at, arrival->at);
        }
        world_advance(world, pairing, UINT64_MAX);
        assert_true(pairing_oldest_witness(pairing) == UINT64_MAX);
}

static int made_compare(const void *a, const void *b) {
        const Made *x = a, *y = b;

        return x->time < y->time ? -1 : x->time > y->time;
}

static uint16_t draw_pec(World *world) {
        static const uint16_t pecs[] = { 0x2, 0x2, 0x2, 0x2, 0x4, 0x3a, 0x3b, 0x40, 0x2a, 0x1234 };

        return pecs[draw(world, ELEMENTSOF(pecs))];
}

/* Each record uses up one error with its FID and PEC; none is left of a uevent, which knows no PEC. */
static void world_check_dense(World *world, unsigned seed) {
        for (unsigned i = 0; i < world->n_published; i++) {
                const PairingAccount *record = &world->published[i];
                unsigned j;

                for (j = 0; j < world->n_errors; j++)
                        if (world->errors[j].records == 0 && world->errors[j].fid == record->fid &&
                            world->errors[j].pec == record->pec)
                                break;
                if (j == world->n_errors)
                        fail_msg("seed %u: record %u (source %d, FID %u, PEC %x) is one too many",
                                 seed,
                                 i,
                                 record->source,
                                 record->fid,
                                 record->pec);
                world->errors[j].records++;
        }

        /* A full record of every error, if the witness runs. */
        for (unsigned i = 0; i < world->n_published && world->witness; i++)
                assert_true(world->published[i].source <= RECORD_WITNESS);

        if (world->n_published != world->n_errors)
                fail_msg("seed %u: %u errors, %u records",
                         seed,
                         world->n_errors,
                         world->n_published);
}

/*
 * Errors in quick succession, of functions that are held or not from one error to the next. Which
 * account belongs to which error cannot be told then, but how many errors there were can.
 */
static void test_dense(void **state) {
        for (uint64_t seed = 1; seed <= RUNS; seed++) {
                World world = {
                        .random = seed * UINT64_C(0x9e3779b97f4a7c15),
                        .witness = seed % 3 != 0,
                        .packed = seed % 4 == 0,
                };
                unsigned functions = 1 + (unsigned) draw(&world, 3);

                if (draw(&world, 3) == 0) {
                        world.stall_from = START + draw(&world, 3 * SEC);
                        world.stall_to = world.stall_from + draw(&world, 5 * SEC);
                }

                world.n_errors = 1 + (unsigned) draw(&world, MAX_ERRORS);
                for (unsigned i = 0; i < world.n_errors; i++) {
                        Made *error = &world.errors[i];

                        *error = (Made){
                                .fid = (uint32_t) draw(&world, functions),
                                .pec = draw_pec(&world),
                                .time = START + draw(&world, 3 * SEC),
                        };
                        error->held = draw(&world, 2) == 0;
                        error->place = (uint8_t) draw(&world, 3);
                }
                qsort(world.errors, world.n_errors, sizeof(Made), made_compare);
                for (unsigned i = 0; i < world.n_errors; i++)
                        made_tell_all(&world, &world.errors[i], 0);

                world_run(&world);

                world_check_dense(&world, (unsigned) seed);
        }
}

static RecordSource richest(const Made *error) {
        for (unsigned source = RECORD_VFIO; source < _RECORD_SOURCE_MAX; source++)
                if (error->told & 1U << source)
                        return (RecordSource) source;

        return _RECORD_SOURCE_MAX;
}

/* One record of each error that anybody told, and it is the richest account. */
static void world_check_losses(World *world, uint64_t gap, unsigned seed) {
        for (unsigned i = 0; i < world->n_published; i++) {
                const PairingAccount *record = &world->published[i];
                Made *error = NULL;

                for (unsigned j = 0; j < world->n_errors && !error; j++)
                        if (world->errors[j].fid == record->fid &&
                            record->time_usec >= world->errors[j].time &&
                            record->time_usec < world->errors[j].time + gap)
                                error = &world->errors[j];
                assert_non_null(error);
                error->records++;
                if (record->source != richest(error))
                        fail_msg("seed %u: error %u: record of source %d",
                                 seed,
                                 (unsigned) (error - world->errors),
                                 record->source);
                assert_int_equal(record->pec, record->source == RECORD_UEVENT ? 0 : error->pec);
        }

        for (unsigned i = 0; i < world->n_errors; i++)
                if (world->errors[i].records != (world->errors[i].told ? 1 : 0))
                        fail_msg(
                                "seed %u: error %u: %u records", seed, i, world->errors[i].records);
}

/*
 * Any account may be lost. The errors of one function are far enough from each other for the rest to
 * be paired.
 */
static void test_losses(void **state) {
        enum {
                FUNCTIONS = 6,
        };

        for (uint64_t seed = 1; seed <= RUNS; seed++) {
                World world = {
                        .random = seed * UINT64_C(0xd1342543de82ef95),
                        .witness = seed % 3 != 0,
                        .packed = seed % 4 == 0,
                };
                unsigned percent_lost = (unsigned) draw(&world, 100);
                uint64_t gap = PAIRING_MEMORY_USEC + PAIRING_WAIT_USEC + 21 * SEC;

                world.n_errors = MAX_ERRORS;
                for (unsigned i = 0; i < world.n_errors; i++) {
                        Made *error = &world.errors[i];

                        *error = (Made){
                                .fid = i % FUNCTIONS,
                                .pec = draw_pec(&world),
                                .time = START + i / FUNCTIONS * (gap + SEC) + draw(&world, SEC),
                        };
                        error->held = draw(&world, 2) == 0;
                }
                qsort(world.errors, world.n_errors, sizeof(Made), made_compare);
                for (unsigned i = 0; i < world.n_errors; i++)
                        made_tell_all(&world, &world.errors[i], percent_lost);

                world_run(&world);

                world_check_losses(&world, gap, (unsigned) seed);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_dense),
                cmocka_unit_test(test_losses),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
