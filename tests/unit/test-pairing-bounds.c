/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bounds of what is waiting and remembered. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pairing-fixture.h"
#include "witness-account.h"

#define START (1000 * USEC_PER_SEC)

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

/* A storm: nothing is lost, nothing is doubled, and the oldest are published early. */
static void test_many_waiting(void **state) {
        enum {
                N = 5000,
                BATCH = PAIRING_ACCOUNTS - PAIRING_WAITING,
        };
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account;
        unsigned published = 0;

        for (unsigned i = 0; i < N; i++) {
                pairing_kmsg(pairing, i, 0x2, START, START);
                if (i + 1 < PAIRING_WAITING + 1)
                        assert_true(pairing_next_usec(pairing) == START + PAIRING_WAIT_USEC);
                else
                        assert_true(pairing_next_usec(pairing) == 0 || i % BATCH == 0);
                if ((i + 1) % BATCH != 0)
                        continue;
                while (pairing_due(pairing, START, &account))
                        assert_int_equal(account.fid, published++);
                assert_int_equal(published, i + 1 - PAIRING_WAITING);
        }
        while (pairing_due(pairing, START + PAIRING_WAIT_USEC, &account))
                assert_int_equal(account.fid, published++);
        assert_int_equal(published, N);
        check_nothing(pairing);
}

/* What was deferred stays as long as there is something else to give way. */
static void test_many_waiting_and_deferred(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account;
        uint32_t fid = 0;

        assert_false(pairing_is_due(pairing, START, &fid));
        pairing_kmsg(pairing, 7, 0x2, START, START);
        for (unsigned i = 0; i < PAIRING_WAITING; i++)
                pairing_kmsg(pairing, 100 + i, 0x2, START, START + 1);
        assert_true(pairing_is_due(pairing, START + 2, &fid));
        assert_int_equal(fid, 7);

        assert_true(pairing_defer(pairing, 7, START + 2));
        assert_false(pairing_defer(pairing, 7, START + 2));
        assert_false(pairing_defer(pairing, 8, START + 2));
        assert_true(pairing_is_due(pairing, START + 2, &fid));
        assert_int_equal(fid, 100);
        assert_true(pairing_due(pairing, START + 2, &account));
        assert_int_equal(account.fid, 100);
        assert_false(pairing_is_due(pairing, START + 2, &fid));
        assert_false(pairing_due(pairing, START + 2, &account));

        /* Its time comes as that of the others. */
        assert_true(pairing_is_due(pairing, START + 2 + PAIRING_WAIT_USEC, &fid));
        assert_int_equal(fid, 7);
}

/* A caller that takes nothing out loses the oldest, and nothing worse. */
static void test_nobody_takes(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account;
        unsigned fid = 10;

        for (unsigned i = 0; i < PAIRING_ACCOUNTS + 10; i++)
                pairing_uevent(pairing, i, START, START);
        while (pairing_due(pairing, START + PAIRING_WAIT_USEC, &account))
                assert_int_equal(account.fid, fid++);
        assert_int_equal(fid, PAIRING_ACCOUNTS + 10);
        check_nothing(pairing);
}

/* What is remembered is bounded, and gives way to what waits. */
static void test_many_remembered(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account;

        for (unsigned i = 0; i < PAIRING_ACCOUNTS + 10; i++)
                tell_packed(pairing, i, 0x2, START);
        for (unsigned i = 10; i < PAIRING_ACCOUNTS + 10; i++)
                pairing_kmsg(pairing, i, 0x2, START, START);
        check_nothing(pairing);
        for (unsigned i = 10; i < PAIRING_ACCOUNTS + 10; i++)
                pairing_uevent(pairing, i, START, START);
        check_nothing(pairing);

        for (unsigned i = 0; i < PAIRING_ACCOUNTS; i++)
                tell_packed(pairing, i, 0x2, START);
        pairing_kmsg(pairing, UINT32_MAX, 0x2, START, START);
        pairing_kmsg(pairing, 0, 0x2, START, START);
        assert_true(pairing_due(pairing, START + PAIRING_WAIT_USEC, &account));
        assert_int_equal(account.fid, UINT32_MAX);
        assert_true(pairing_due(pairing, START + PAIRING_WAIT_USEC, &account));
        assert_int_equal(account.fid, 0);
        check_nothing(pairing);
}

/* Of what everybody told nothing is remembered. */
static void test_all_told(void **state) {
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();

        tell_packed(pairing, 1, 0x2, START);
        for (unsigned i = 0; i < PAIRING_ACCOUNTS; i++) {
                tell_packed(pairing, 2, 0x2, START);
                pairing_kmsg(pairing, 2, 0x2, START, START);
                pairing_uevent(pairing, 2, START, START);
                pairing_kmsg(pairing, 2, 0x2, START, START);
                pairing_uevent(pairing, 2, START, START);
                tell_packed(pairing, 2, 0x2, START);
        }
        pairing_kmsg(pairing, 1, 0x2, START, START);
        check_nothing(pairing);
}

/* More errors than can be remembered: a late uevent of one that is forgotten is no error of its own. */
static void test_late_uevents(void **state) {
        enum {
                N = 2 * PAIRING_ACCOUNTS,
        };
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account;
        uint64_t late = START + PAIRING_MEMORY_USEC;

        for (unsigned i = 0; i < N; i++)
                tell_packed(pairing, i, 0x2, START);
        for (unsigned i = 0; i < N; i++)
                pairing_uevent(pairing, i, late - 1, late - 1);
        check_nothing(pairing);

        /* Once that is over, one that nobody else tells of is an error again. */
        pairing_uevent(pairing, 1, late, late);
        assert_true(pairing_due(pairing, late + PAIRING_WAIT_USEC, &account));
        assert_int_equal(account.fid, 1);
}

/*
 * All that the witness has room for, of functions of others, after what was drained of full queues:
 * each account finds its record, and all lines find theirs.
 */
static void test_witness_backlog(void **state) {
        enum {
                DRAINED = 2048,
                SEEN = WITNESS_RING_SIZE / (sizeof(struct witness_account) + 8) - DRAINED,
        };
        _cleanup_(pairing_freep) Pairing *pairing = new_pairing();
        PairingAccount account;
        unsigned n = 0;

        pairing_expect_witness(pairing, true);
        for (unsigned i = 0; i < DRAINED; i++)
                tell_packed(pairing, i, 0x2, START);

        for (unsigned i = 0; i < SEEN + DRAINED; i++) {
                /* Those of the queues come last. */
                uint32_t fid = i < SEEN ? DRAINED + i : i - SEEN;

                account = make_account(RECORD_WITNESS, fid, 0x2, 0, START);
                account.number = 1 + i;
                assert_int_equal(pairing_witness(pairing, &account, false, START), fid < DRAINED);
                while (pairing_overflows(pairing) && pairing_due(pairing, START, &account))
                        n++;
        }
        while (pairing_due(pairing, START, &account))
                n++;
        assert_int_equal(n, SEEN);

        for (unsigned i = 0; i < SEEN + DRAINED; i++)
                pairing_kmsg(pairing, i, 0x2, START, START);
        for (unsigned i = 0; i < SEEN + DRAINED; i++)
                pairing_uevent(pairing, i, START, START);
        check_nothing(pairing);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_many_waiting),
                cmocka_unit_test(test_nobody_takes),
                cmocka_unit_test(test_many_waiting_and_deferred),
                cmocka_unit_test(test_many_remembered),
                cmocka_unit_test(test_all_told),
                cmocka_unit_test(test_late_uevents),
                cmocka_unit_test(test_witness_backlog),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
