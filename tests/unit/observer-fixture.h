/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The observer over a fake kernel log, a fake witness and two functions that do what the test says.
 */

#include "kmsg.h"
#include "observer.h"
#include "pairing.h"
#include "witness.h"

#define HELD 0x10U /* FIDs of the two functions that there are */
#define SEEN 0x20U

/* The kernel log, and how it was opened. */
typedef struct KernelLog {
        const KmsgListener *listener; /* NULL while it is closed */
        int open_error;
        uint64_t from;
        const KmsgError *late; /* a line that only kmsg_catch_up() comes to */
} KernelLog;

/* What it saw, by number from 1 on. The observer hears of it where it catches up. */
typedef struct FakeWitness {
        bool runs; /* from the next begin() on */
        const WitnessListener *listener;
        struct witness_account accounts[16];
        unsigned seen, heard, released; /* how many of them */
} FakeWitness;

extern KernelLog kernel_log;
extern FakeWitness fake_witness;
extern Function functions[2];        /* of the first we hold the device */
extern RecordRecovery recoveries[2]; /* as they were set last */
extern uint16_t queued;              /* PEC of what the first one's device has, 0 for nothing */
extern bool undrained[2];            /* whether their devices may have records */

typedef struct Fixture {
        sd_event *event;
        FunctionContext context;
        Ring *ring;
        Observer *observer;
        uint64_t cursor;
} Fixture;

/* For cmocka: *state is a Fixture, with an observer that has begun. */
int setup(void **state);
int teardown(void **state);

/* Makes an observer, after the former one was freed. */
void begin(Fixture *f);
/* This run ends here, and another one takes over its ring. */
void begin_anew(Fixture *f);

/* Lets something happen in the loop, and the loop run until it has nothing left to do. */
void run(Fixture *f);

/* The witness sees an error. */
void see(Fixture *f, uint32_t fid, uint8_t pec);
/* A line of an error is read. Returns its time. */
uint64_t line_at(Fixture *f, uint32_t fid, uint16_t pec, uint64_t usec);
uint64_t line(Fixture *f, uint32_t fid, uint16_t pec);
/* A record comes from the device. */
void drained(Fixture *f, uint32_t fid, uint16_t pec);
/* A uevent comes of a function, by its place in functions. */
void uevent(Fixture *f, unsigned function, UeventError error);

void wait_for_one(Fixture *f);
/* The next record of the ring is this. */
const Record *assert_next(Fixture *f, RecordSource source, uint32_t fid, uint16_t pec);
void assert_no_more(Fixture *f);
