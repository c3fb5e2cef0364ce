/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "pairing-fixture.h"

#define SEC  USEC_PER_SEC
#define MSEC USEC_PER_MSEC

#define FID   UINT32_C(0x10)
#define START (1000 * SEC)

static Pairing *new_pairing(void) {
        Pairing *pairing = NULL;

        assert_int_equal(pairing_new(&pairing), 0);
        assert_non_null(pairing);
        return pairing;
}

static void check_nothing(Pairing *pairing) {
        PairingAccount account;

        /* at a time at which nothing that is remembered is forgotten yet */
        assert_true(pairing_next_usec(pairing) == UINT64_MAX);
        assert_false(pairing_due(pairing, START, &account));
}

static void check_due(Pairing *pairing,
                      uint64_t now,
                      RecordSource source,
                      uint32_t fid,
                      uint16_t pec,
                      uint64_t time) {
        PairingAccount account;

        assert_true(pairing_next_usec(pairing) <= now);
        assert_true(pairing_due(pairing, now, &account));
        assert_int_equal(account.source, source);
        assert_int_equal(account.fid, fid);
        assert_int_equal(account.pec, pec);
        assert_true(account.time_usec == time);
}

/* One account of one error, all at the same time. */
static void tell(Pairing *pairing, char source, uint16_t pec) {
        if (source == 'v')
                tell_packed(pairing, FID, pec, START);
        else if (source == 'k')
                pairing_kmsg(pairing, FID, pec, START, START);
        else
                pairing_uevent(pairing, FID, START, START);
}

/* In whatever order the accounts come, the richest is the record. */
static void test_orders(void **state) {
        static const struct {
                const char *order;
                RecordSource record;
        } cases[] = {
                { "vku", RECORD_VFIO }, { "vuk", RECORD_VFIO }, { "kvu", RECORD_VFIO },
                { "kuv", RECORD_VFIO }, { "uvk", RECORD_VFIO }, { "ukv", RECORD_VFIO },
                { "vk", RECORD_VFIO },  { "kv", RECORD_VFIO },  { "vu", RECORD_VFIO },
                { "uv", RECORD_VFIO },  { "v", RECORD_VFIO },   { "ku", RECORD_KMSG },
                { "uk", RECORD_KMSG },  { "k", RECORD_KMSG },   { "u", RECORD_UEVENT },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
                uint64_t due = START + PAIRING_WAIT_USEC;
                PairingAccount account;

                for (const char *source = cases[i].order; *source; source++)
                        tell(pairing, *source, 0x2);

                if (cases[i].record != RECORD_VFIO) {
                        assert_true(pairing_next_usec(pairing) == due);
                        assert_false(pairing_due(pairing, due - 1, &account));
                        check_due(pairing,
                                  due,
                                  cases[i].record,
                                  FID,
                                  cases[i].record == RECORD_KMSG ? 0x2 : 0,
                                  START);
                }
                check_nothing(pairing);

                /* A uevent more is the one that was missing, or another error's. */
                tell(pairing, 'u', 0);
                if (strchr(cases[i].order, 'u'))
                        check_due(pairing, due, RECORD_UEVENT, FID, 0, START);
                check_nothing(pairing);
        }
}

/* Permanent errors and measurement-block events send no uevent: one that comes is another error's. */
static void test_no_uevent(void **state) {
        static const uint16_t pecs[] = { 0x3b, 0x40, 0x2a, 0x2b, 0x2c };

        for (size_t i = 0; i < ELEMENTSOF(pecs); i++) {
                static const char *const orders[] = { "kvu", "vku", "vuk", "ukv", "uvk", "kuv" };

                for (size_t j = 0; j < ELEMENTSOF(orders); j++) {
                        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();

                        for (const char *source = orders[j]; *source; source++)
                                tell(pairing, *source, pecs[i]);
                        check_due(pairing, START + PAIRING_WAIT_USEC, RECORD_UEVENT, FID, 0, START);
                        check_nothing(pairing);
                }
        }

        for (size_t i = 0; i < ELEMENTSOF(pecs); i++) {
                _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
                uint64_t due = START + PAIRING_WAIT_USEC;

                tell(pairing, 'k', pecs[i]);
                tell(pairing, 'u', pecs[i]);
                check_due(pairing, due, RECORD_KMSG, FID, pecs[i], START);
                check_due(pairing, due, RECORD_UEVENT, FID, 0, START);
                check_nothing(pairing);
        }
}

static void test_two_equal_errors(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        uint64_t due = START + PAIRING_WAIT_USEC;

        /* two errors, of which the kernel's full queue gave out one */
        tell(pairing, 'k', 0x2);
        tell(pairing, 'u', 0x2);
        tell(pairing, 'k', 0x2);
        tell(pairing, 'u', 0x2);
        tell(pairing, 'v', 0x2);
        check_due(pairing, due, RECORD_KMSG, FID, 0x2, START);
        check_nothing(pairing);

        /* the same, the record first */
        tell(pairing, 'v', 0x2);
        tell(pairing, 'k', 0x2);
        tell(pairing, 'k', 0x2);
        tell(pairing, 'u', 0x2);
        tell(pairing, 'u', 0x2);
        check_due(pairing, due, RECORD_KMSG, FID, 0x2, START);
        check_nothing(pairing);

        /* everything was used up: another uevent is another error */
        tell(pairing, 'u', 0);
        check_due(pairing, due, RECORD_UEVENT, FID, 0, START);
        check_nothing(pairing);
}

static void test_strangers(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        uint64_t due = START + PAIRING_WAIT_USEC;

        tell_packed(pairing, FID, 0x2, START);
        pairing_kmsg(pairing, FID, 0x4, START + 1, START);
        pairing_kmsg(pairing, FID + 1, 0x2, START + 2, START);
        tell_packed(pairing, FID, 0x5, START);
        check_due(pairing, due, RECORD_KMSG, FID, 0x4, START + 1);
        check_due(pairing, due, RECORD_KMSG, FID + 1, 0x2, START + 2);
        check_nothing(pairing);

        pairing_uevent(pairing, FID + 2, START, START);
        tell_packed(pairing, FID + 3, 0x2, START);
        check_due(pairing, due, RECORD_UEVENT, FID + 2, 0, START);
        check_nothing(pairing);
}

/* The record lay in the kernel's queue while the daemon was stopped; its line is as old as the error. */
static void test_old_line(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();

        tell_packed(pairing, FID, 0x2, START);
        pairing_kmsg(pairing, FID, 0x2, START - 600 * SEC, START);
        check_nothing(pairing);

        pairing_kmsg(pairing, FID, 0x2, START - 600 * SEC, START);
        tell_packed(pairing, FID, 0x2, START);
        check_nothing(pairing);

        /* Not held: it has waited from now on, and keeps its own time. */
        pairing_kmsg(pairing, FID, 0x4, START - 600 * SEC, START);
        check_due(pairing, START + PAIRING_WAIT_USEC, RECORD_KMSG, FID, 0x4, START - 600 * SEC);
        check_nothing(pairing);
}

/* A line that is younger than the record tells of another error. */
static void test_young_line(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        uint64_t line = START + PAIRING_SLACK_USEC;

        tell_packed(pairing, FID, 0x2, START);
        pairing_kmsg(pairing, FID, 0x2, line + 1, line + 1);
        check_due(pairing, line + 1 + PAIRING_WAIT_USEC, RECORD_KMSG, FID, 0x2, line + 1);
        pairing_kmsg(pairing, FID, 0x2, line, line + 1);
        check_nothing(pairing);

        /* and one that is too old for the first record may belong to the second */
        tell_packed(pairing, FID, 0x2, START);
        tell_packed(pairing, FID, 0x2, START + 10 * SEC);
        pairing_kmsg(pairing, FID, 0x2, START + 10 * SEC, START + 10 * SEC);
        check_nothing(pairing);
}

/* What a former run published: the line that it may not have noted is not read as news, a younger one is. */
static void test_former(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();

        tell_former(pairing, FID, 0x2, START, START + 5 * SEC);
        tell_former(pairing, FID, 0x2, START + SEC, START + 5 * SEC);
        check_nothing(pairing);

        pairing_kmsg(pairing, FID, 0x2, START - MSEC, START + 5 * SEC);
        pairing_kmsg(pairing, FID, 0x2, START + SEC, START + 5 * SEC);
        check_nothing(pairing);

        /* Each record has one line, of its own PEC. */
        tell_former(pairing, FID, 0x2, START, START + 5 * SEC);
        pairing_kmsg(pairing, FID, 0x3, START, START + 5 * SEC);
        pairing_kmsg(pairing, FID, 0x2, START + 1, START + 5 * SEC);
        check_due(pairing, START + 6 * SEC, RECORD_KMSG, FID, 0x3, START);
        check_due(pairing, START + 6 * SEC, RECORD_KMSG, FID, 0x2, START + 1);
        check_nothing(pairing);
}

/* The uevent of what a former run published may come only now. */
static void test_former_uevent(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        uint64_t late = START + PAIRING_MEMORY_USEC, due = late + PAIRING_WAIT_USEC;

        tell_former(pairing, FID, 0x2, START, late);
        tell_former(pairing, FID + 1, 0x3b, START, late);    /* permanent: it has none */
        tell_former(pairing, FID + 2, 0x2, START - 1, late); /* too old to have one still */
        tell_former(pairing, FID + 3, 0x2, late + 1, late);  /* a clock that lies */
        for (uint32_t i = 0; i < 4; i++)
                pairing_uevent(pairing, FID + i, late, late);
        for (uint32_t i = 1; i < 4; i++)
                check_due(pairing, due, RECORD_UEVENT, FID + i, 0, late);
        check_nothing(pairing);

        /* It has one, and it makes no difference whether the line is read before it or after. */
        pairing_uevent(pairing, FID, late, late);
        check_due(pairing, due, RECORD_UEVENT, FID, 0, late);
        for (unsigned i = 0; i < 2; i++) {
                tell_former(pairing, FID, 0x2, START, late);
                if (i == 0)
                        pairing_kmsg(pairing, FID, 0x2, START, late);
                pairing_uevent(pairing, FID, late, late);
                if (i == 1)
                        pairing_kmsg(pairing, FID, 0x2, START, late);
                check_nothing(pairing);
        }

        /* The line of a new error waits for a uevent of its own, the first that comes. */
        tell_former(pairing, FID, 0x2, START, late);
        pairing_kmsg(pairing, FID, 0x2, late, late);
        pairing_uevent(pairing, FID, late, late);
        pairing_uevent(pairing, FID, late, late);
        check_due(pairing, due, RECORD_KMSG, FID, 0x2, late);
        check_nothing(pairing);
}

static void test_memory(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        uint64_t published = START + PAIRING_WAIT_USEC, late;

        /* of a record */
        tell_packed(pairing, FID, 0x2, START);
        late = START + PAIRING_MEMORY_USEC;
        pairing_uevent(pairing, FID, late, late);
        check_nothing(pairing);
        tell_packed(pairing, FID, 0x2, START);
        pairing_uevent(pairing, FID, late + 1, late + 1);
        check_due(pairing, late + 1 + PAIRING_WAIT_USEC, RECORD_UEVENT, FID, 0, late + 1);
        check_nothing(pairing);

        /* of a published line */
        late = published + PAIRING_MEMORY_USEC;
        pairing_kmsg(pairing, FID, 0x2, START, START);
        check_due(pairing, published, RECORD_KMSG, FID, 0x2, START);
        pairing_uevent(pairing, FID, late, late);
        check_nothing(pairing);
        pairing_kmsg(pairing, FID, 0x2, START, START);
        check_due(pairing, published, RECORD_KMSG, FID, 0x2, START);
        pairing_uevent(pairing, FID, late + 1, late + 1);
        check_due(pairing, late + 1 + PAIRING_WAIT_USEC, RECORD_UEVENT, FID, 0, late + 1);
        check_nothing(pairing);
}

static void test_defer(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        uint64_t deferred = START + 400 * MSEC;
        PairingAccount account;

        pairing_kmsg(pairing, FID, 0x2, START, START);
        pairing_kmsg(pairing, FID + 1, 0x2, START, START);
        pairing_defer(pairing, FID, deferred);

        /* the other function's does not wait longer */
        check_due(pairing, START + PAIRING_WAIT_USEC, RECORD_KMSG, FID + 1, 0x2, START);
        assert_true(pairing_next_usec(pairing) == deferred + PAIRING_WAIT_USEC);
        assert_false(pairing_due(pairing, deferred + PAIRING_WAIT_USEC - 1, &account));
        tell_packed(pairing, FID, 0x2, deferred + 300 * MSEC);
        check_nothing(pairing);

        /* What is remembered does not start to wait. */
        pairing_defer(pairing, FID, deferred);
        check_nothing(pairing);
}

static void test_take(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account;

        pairing_kmsg(pairing, FID + 1, 0x2, START, START);
        pairing_kmsg(pairing, FID, 0x2, START, START);
        pairing_kmsg(pairing, FID, 0x3, START, START);
        tell_packed(pairing, FID, 0x4, START);
        for (uint16_t pec = 2; pec <= 3; pec++) {
                assert_true(pairing_take(pairing, FID, START + 1, &account));
                assert_int_equal(account.source, RECORD_KMSG);
                assert_int_equal(account.fid, FID);
                assert_int_equal(account.pec, pec);
        }
        assert_false(pairing_take(pairing, FID, START + 1, &account));
        assert_false(pairing_due(pairing, START + 1, &account));

        /* It has its record: a uevent is still superfluous, also that of the one remembered before. */
        tell(pairing, 'u', 0);
        tell(pairing, 'u', 0);
        tell(pairing, 'u', 0);

        /* Nobody else's is taken, be it due or not. */
        assert_false(pairing_take(pairing, FID, START + PAIRING_WAIT_USEC, &account));
        check_due(pairing, START + PAIRING_WAIT_USEC, RECORD_KMSG, FID + 1, 0x2, START);
        check_nothing(pairing);
}

/* One account with all that is to be known, of the error number at that place. */
static uint64_t tell_full(Pairing *pairing, char source, uint8_t place, uint64_t number) {
        PairingAccount account =
                make_account(source == 'v' ? RECORD_VFIO : RECORD_WITNESS, FID, 0x2, place, START);

        account.number = number;
        return source == 'v' ? pairing_vfio(pairing, &account)
                             : pairing_witness(pairing, &account, true, START);
}

/* Every order of every set of the four sources: one record, of the richest. */
static void test_witness_orders(void **state) {
        static const char sources[] = "vwku";

        for (unsigned n = 0; n < 4 * 4 * 4 * 4; n++) {
                _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
                const unsigned order[] = { n % 4, n / 4 % 4, n / 16 % 4, n / 64 };
                RecordSource best = _RECORD_SOURCE_MAX;
                unsigned told = 0;

                pairing_expect_witness(pairing, true);
                for (unsigned i = 0; i < 4; i++) {
                        char source = sources[order[i]];

                        /* A source that comes once more ends the row: so there are shorter ones. */
                        if (told & 1U << order[i])
                                break;
                        told |= 1U << order[i];
                        if ((RecordSource) (order[i] + 1) < best)
                                best = (RecordSource) (order[i] + 1);
                        if (source == 'v' || source == 'w')
                                (void) tell_full(pairing, source, 1, 7);
                        else
                                tell(pairing, source, 0x2);
                }

                assert_true(pairing_oldest_witness(pairing) ==
                            (best == RECORD_WITNESS ? 7 : UINT64_MAX));
                if (best != RECORD_VFIO)
                        check_due(pairing,
                                  START + PAIRING_WAIT_USEC,
                                  best,
                                  FID,
                                  best == RECORD_UEVENT ? 0 : 0x2,
                                  START);
                check_nothing(pairing);
                assert_true(pairing_oldest_witness(pairing) == UINT64_MAX);
        }
}

/* Each says what it was paired with, in whatever order they come, and only if it is the same error. */
static void test_witness_pairs(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account;

        pairing_expect_witness(pairing, true);
        assert_int_equal(tell_full(pairing, 'w', 1, 10), 0);
        assert_int_equal(tell_full(pairing, 'w', 2, 11), 0);
        assert_int_equal(tell_full(pairing, 'w', 1, 12), 0);
        assert_int_equal(tell_full(pairing, 'v', 2, 100), 11);
        assert_int_equal(tell_full(pairing, 'v', 1, 101), 10);
        assert_int_equal(tell_full(pairing, 'v', 3, 102), 0);
        assert_int_equal(tell_full(pairing, 'w', 3, 13), 102);
        assert_int_equal(tell_full(pairing, 'w', 3, 14), 0);
        assert_true(pairing_oldest_witness(pairing) == 12);

        /* What is left the queue dropped. */
        assert_false(pairing_take_dropped(pairing, FID + 1, START, &account));
        assert_true(pairing_take_dropped(pairing, FID, START, &account));
        assert_int_equal(account.number, 12);
        assert_int_equal(account.source, RECORD_WITNESS);
        assert_true(pairing_take_dropped(pairing, FID, START, &account));
        assert_int_equal(account.number, 14);
        assert_false(pairing_take_dropped(pairing, FID, START, &account));
        assert_true(pairing_oldest_witness(pairing) == UINT64_MAX);

        /* The lines and uevents of all five. */
        for (unsigned i = 0; i < 5; i++) {
                tell(pairing, 'k', 0x2);
                tell(pairing, 'u', 0);
        }
        check_nothing(pairing);
}

/* A record cannot be that of an error that happened after it was drained. */
static void test_witness_is_older(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account = make_account(RECORD_WITNESS, FID, 0x2, 1, START + SEC);

        pairing_expect_witness(pairing, true);
        assert_int_equal(tell_full(pairing, 'v', 1, 100), 0);
        account.number = 20;
        assert_int_equal(pairing_witness(pairing, &account, false, START + SEC), 0);
        check_due(pairing, START + SEC, RECORD_WITNESS, FID, 0x2, START + SEC);
        assert_int_equal(tell_full(pairing, 'w', 1, 19), 100);
        assert_true(pairing_next_usec(pairing) == UINT64_MAX);
}

/* What a former run drained and did not pair is paired now; what it paired is another error. */
static void test_witness_former(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account = make_account(RECORD_VFIO, FID, 0x2, 1, START);

        pairing_expect_witness(pairing, true);
        account.number = 5;
        pairing_former(pairing, &account, true, START);
        account.number = 6;
        pairing_former(pairing, &account, false, START);
        assert_int_equal(tell_full(pairing, 'w', 1, 30), 6);
        assert_int_equal(tell_full(pairing, 'w', 1, 31), 0);
        assert_true(pairing_oldest_witness(pairing) == 31);
}

/* Where no VFIO device can tell more, nothing is waited for; and the line is superfluous. */
static void test_witness_at_once(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account = make_account(RECORD_WITNESS, FID, 0x2, 1, START);

        pairing_expect_witness(pairing, true);
        assert_int_equal(pairing_witness(pairing, &account, false, START), 0);
        check_due(pairing, START, RECORD_WITNESS, FID, 0x2, START);
        tell(pairing, 'u', 0);
        pairing_kmsg(pairing, FID, 0x2, START + MSEC, START + MSEC);
        check_nothing(pairing);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_orders),
                cmocka_unit_test(test_no_uevent),
                cmocka_unit_test(test_two_equal_errors),
                cmocka_unit_test(test_strangers),
                cmocka_unit_test(test_old_line),
                cmocka_unit_test(test_young_line),
                cmocka_unit_test(test_memory),
                cmocka_unit_test(test_defer),
                cmocka_unit_test(test_take),
                cmocka_unit_test(test_former),
                cmocka_unit_test(test_former_uevent),
                cmocka_unit_test(test_witness_orders),
                cmocka_unit_test(test_witness_pairs),
                cmocka_unit_test(test_witness_is_older),
                cmocka_unit_test(test_witness_former),
                cmocka_unit_test(test_witness_at_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
