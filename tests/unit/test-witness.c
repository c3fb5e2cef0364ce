/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The witness over memory that stands in for the kernel's ring buffer. Such memory cannot be polled:
 * the fd is an eventfd, and mmap(2) of it is wrapped.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <linux/bpf.h>

#include "witness.h"

#define BATCH  64U
#define ENTRY  (BPF_RINGBUF_HDR_SZ + sizeof(struct witness_account))
#define PLACES (WITNESS_RING_SIZE / ENTRY)

typedef struct Fixture {
        sd_event *event;
        Witness *witness;
        WitnessListener listener;
        int fd; /* an eventfd */
        int ring, counters;
        size_t page;
        uint64_t *consumer, *producer;
        uint8_t *data;
        struct witness_counters *counts;
        uint64_t made;  /* number of the last account that was made */
        uint64_t heard; /* of the last account that was heard */
        unsigned n_heard, n_failed;
        uint64_t lost;
        int error;
} Fixture;

static Fixture *mapped; /* whose fd mmap(2) is asked for */

void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset);

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
        if (mapped && fd == mapped->fd)
                fd = mapped->ring;
        return __real_mmap(address, size, protection, flags, fd, offset);
}

/* What the C library has it called where files may be large. */
void *__wrap_mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
        return __wrap_mmap(address, size, protection, flags, fd, offset);
}

static void on_account(const struct witness_account *account, void *userdata) {
        Fixture *f = userdata;

        f->heard++;
        f->n_heard++;
        assert_int_equal(account->sequence, f->heard);
        assert_int_equal(account->nsec, account->sequence * 1000);
        for (unsigned i = 0; i < WITNESS_RAW_SIZE; i++)
                assert_int_equal(account->raw[i], (uint8_t) (account->sequence + i));
}

static void on_overrun(uint64_t lost, void *userdata) {
        Fixture *f = userdata;

        f->lost = lost;
}

static void on_failed(int error, void *userdata) {
        Fixture *f = userdata;

        f->n_failed++;
        f->error = error;
        f->witness = witness_close(f->witness);
}

static void *map(int fd, size_t size) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        assert_true(p != MAP_FAILED);
        return p;
}

static void open_witness(Fixture *f) {
        f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_int_equal(witness_open(f->event, f->fd, dup(f->counters), &f->listener, &f->witness),
                         0);
}

static int set_up(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        f->page = (size_t) sysconf(_SC_PAGESIZE);
        f->ring = memfd_create("ring", MFD_CLOEXEC);
        f->counters = memfd_create("counters", MFD_CLOEXEC);
        assert_int_equal(ftruncate(f->ring, (off_t) (2 * f->page + WITNESS_RING_SIZE)), 0);
        assert_int_equal(ftruncate(f->counters, (off_t) f->page), 0);
        f->consumer = map(f->ring, 2 * f->page + WITNESS_RING_SIZE);
        f->producer = f->consumer + f->page / sizeof(uint64_t);
        f->data = (uint8_t *) f->consumer + 2 * f->page;
        f->counts = map(f->counters, f->page);
        f->listener = (WitnessListener){
                .account = on_account,
                .overrun = on_overrun,
                .failed = on_failed,
                .userdata = f,
        };
        assert_true(sd_event_new(&f->event) >= 0);
        mapped = f;
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        witness_close(f->witness);
        sd_event_unref(f->event);
        munmap(f->consumer, 2 * f->page + WITNESS_RING_SIZE);
        munmap(f->counts, f->page);
        close(f->ring);
        close(f->counters);
        mapped = NULL;
        free(f);
        return 0;
}

/* The kernel maps the data twice, one behind the other: here what reaches past the end is split. */
static void put(Fixture *f, const void *from, size_t size) {
        for (size_t i = 0; i < size; i++)
                f->data[(*f->producer + i) % WITNESS_RING_SIZE] = ((const uint8_t *) from)[i];
        *f->producer += size;
}

static void put_header(Fixture *f, uint32_t header) {
        put(f, (uint32_t[]){ header, 0 }, BPF_RINGBUF_HDR_SZ);
}

static struct witness_account make(uint64_t number) {
        struct witness_account account = { .sequence = number, .nsec = number * 1000 };

        for (unsigned i = 0; i < WITNESS_RAW_SIZE; i++)
                account.raw[i] = (uint8_t) (number + i);
        return account;
}

static void produce(Fixture *f, unsigned n) {
        while (n-- > 0) {
                struct witness_account account = make(++f->made);

                assert_true(*f->producer - *f->consumer + ENTRY <= WITNESS_RING_SIZE);
                put_header(f, sizeof(account));
                put(f, &account, sizeof(account));
        }
        if (f->witness)
                (void) eventfd_write(f->fd, 1);
}

static void run(Fixture *f) {
        while (sd_event_run(f->event, 0) > 0)
                ;
}

static void test_reads(void **state) {
        Fixture *f = *state;

        produce(f, 3);
        open_witness(f);
        assert_int_equal(witness_oldest(f->witness), 1);
        run(f);
        assert_int_equal(f->n_heard, 3);

        produce(f, 1);
        run(f);
        assert_int_equal(f->n_heard, 4);

        produce(f, 2);
        assert_true(witness_catch_up(f->witness, true));
        assert_int_equal(f->n_heard, 6);
        run(f);
        assert_int_equal(f->n_heard, 6);

        /* Who is patient keeps nobody waiting. */
        produce(f, 2 * BATCH + 1);
        assert_false(witness_catch_up(f->witness, true));
        assert_int_equal(f->n_heard, 6 + BATCH);
        assert_true(witness_catch_up(f->witness, false));
        assert_int_equal(f->n_heard, 6 + 2 * BATCH + 1);
        assert_int_equal(f->n_failed, 0);
}

/* Many times around, so that accounts lie across the end at every place that is possible. */
static void test_goes_around(void **state) {
        Fixture *f = *state;

        open_witness(f);
        for (unsigned i = 0; i < 40; i++) {
                produce(f, (unsigned) PLACES - i);
                run(f);
                assert_int_equal(f->heard, f->made);
                witness_release(f->witness, UINT64_MAX);
                assert_int_equal(*f->consumer, *f->producer);
        }
        assert_true(witness_oldest(f->witness) == UINT64_MAX);
        assert_int_equal(f->n_failed, 0);
}

/* A storm does not keep the others from their turn. */
static void test_batch(void **state) {
        Fixture *f = *state;

        open_witness(f);
        run(f);
        produce(f, 3 * BATCH);
        assert_true(sd_event_run(f->event, 0) > 0);
        assert_int_equal(f->n_heard, BATCH);
        run(f);
        assert_int_equal(f->n_heard, 3 * BATCH);
}

/* What is not released is there for the next run, from the first such account on. */
static void test_release(void **state) {
        Fixture *f = *state;

        open_witness(f);
        produce(f, 10);
        run(f);
        witness_release(f->witness, 4);
        assert_int_equal(*f->consumer, 3 * ENTRY);
        witness_release(f->witness, 4);
        assert_int_equal(*f->consumer, 3 * ENTRY);

        /* Only what was read is released. */
        produce(f, 1);
        witness_release(f->witness, 6);
        assert_int_equal(*f->consumer, 5 * ENTRY);

        f->witness = witness_close(f->witness);
        f->heard = 5;
        open_witness(f);
        assert_int_equal(witness_oldest(f->witness), 6);
        run(f);
        assert_int_equal(f->heard, 11);
}

/* What the program is still writing, and what it took back. */
static void test_busy_and_discarded(void **state) {
        Fixture *f = *state;
        struct witness_account account = make(2);
        uint32_t *header;

        open_witness(f);
        produce(f, 1);
        header = (uint32_t *) (void *) (f->data + *f->producer);
        put_header(f, sizeof(account) | BPF_RINGBUF_BUSY_BIT);
        put(f, &account, sizeof(account));
        f->made++;
        produce(f, 1);
        run(f);
        assert_int_equal(f->n_heard, 1);

        *header = sizeof(account) | BPF_RINGBUF_DISCARD_BIT;
        f->heard++;
        (void) eventfd_write(f->fd, 1);
        run(f);
        assert_int_equal(f->n_heard, 2);
        assert_int_equal(f->heard, 3);
        witness_release(f->witness, UINT64_MAX);
        assert_int_equal(*f->consumer, *f->producer);
}

/* No length or position leads anywhere but to the end of it. */
static void test_hostile(void **state) {
        static const struct {
                uint32_t header;
                uint64_t producer, consumer;
        } cases[] = {
                { .header = 0, .producer = ENTRY },
                { .header = 16, .producer = ENTRY },
                { .header = sizeof(struct witness_account) + 8, .producer = 2 * ENTRY },
                { .header = sizeof(struct witness_account), .producer = ENTRY - 8 },
                { .header = UINT32_MAX & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT),
                  .producer = ENTRY },
                { .header = UINT32_MAX & ~BPF_RINGBUF_BUSY_BIT, .producer = ENTRY },
                { .header = sizeof(struct witness_account), .producer = WITNESS_RING_SIZE + 8 },
                { .header = sizeof(struct witness_account), .producer = UINT64_MAX },
                { .header = sizeof(struct witness_account), .producer = ENTRY, .consumer = 4 },
                { .header = sizeof(struct witness_account), .producer = 0, .consumer = 8 },
                { .header = sizeof(struct witness_account),
                  .producer = ENTRY,
                  .consumer = UINT64_MAX - 7 },
        };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                f->n_failed = 0;
                memset(f->data, 0xff, WITNESS_RING_SIZE);
                memcpy(f->data, &cases[i].header, sizeof(cases[i].header));
                *f->consumer = cases[i].consumer;
                *f->producer = cases[i].producer;
                open_witness(f);
                assert_true(witness_catch_up(f->witness, false));
                witness_release(f->witness, UINT64_MAX);
                assert_int_equal(*f->consumer, cases[i].consumer);
                run(f);
                assert_int_equal(f->n_failed, 1);
                assert_int_equal(f->error, -EBADMSG);
                assert_null(f->witness);
        }
        assert_int_equal(f->n_heard, 0);
}

static void test_overrun(void **state) {
        Fixture *f = *state;

        f->counts->lost = 3;
        open_witness(f);
        run(f);
        assert_int_equal(f->lost, 3);
        f->counts->lost = 10;
        produce(f, 1);
        run(f);
        assert_int_equal(f->lost, 10);
}

static void test_no_maps(void **state) {
        Fixture *f = *state;
        int pipes[2];

        assert_int_equal(pipe(pipes), 0);
        assert_int_equal(witness_open(f->event, pipes[0], pipes[1], &f->listener, &f->witness),
                         -EBADMSG);
        assert_null(f->witness);
        assert_int_equal(close(pipes[0]), -1);
}

static int status(const char *text, size_t size, char ret[static WITNESS_STATUS_SIZE]) {
        int fd = memfd_create("status", MFD_CLOEXEC);

        assert_int_equal(write(fd, text, size), size);
        return witness_read_status(fd, ret);
}

static void test_status(void **state) {
        char text[WITNESS_STATUS_SIZE], full[WITNESS_STATUS_SIZE + 1];

        assert_int_equal(status("not-permitted", 13, text), 0);
        assert_string_equal(text, "not-permitted");
        assert_int_equal(status("ENOMEM", 6, text), 0);
        assert_string_equal(text, "ENOMEM");

        memset(full, 'a', sizeof(full));
        assert_int_equal(status(full, WITNESS_STATUS_SIZE - 1, text), 0);
        assert_int_equal(status(full, WITNESS_STATUS_SIZE, text), -EBADMSG);
        assert_int_equal(status(full, WITNESS_STATUS_SIZE + 1, text), -EBADMSG);
        assert_int_equal(status("", 0, text), -EBADMSG);
        assert_int_equal(status("two words", 9, text), -EBADMSG);
        assert_int_equal(status("line\n", 5, text), -EBADMSG);
        assert_int_equal(status("a\0b", 3, text), -EBADMSG);
        assert_int_equal(witness_read_status(-EBADF, text), -EBADMSG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST(test_reads),
                TEST(test_goes_around),
                TEST(test_batch),
                TEST(test_release),
                TEST(test_busy_and_discarded),
                TEST(test_hostile),
                TEST(test_overrun),
                TEST(test_no_maps),
                cmocka_unit_test(test_status),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
