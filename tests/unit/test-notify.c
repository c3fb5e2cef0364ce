/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A service manager that does not read holds nothing up, and hears the truth once it does. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
/* cmocka.h wants the five above first. */
#include <cmocka.h>

#include "notify.h"

#define DEADLINE_USEC (20 * USEC_PER_SEC)
#define FLOOD         5000U /* more messages than any socket holds */

typedef struct Bench {
        sd_event *event;
        Notify *notify;
        struct sockaddr_un address; /* abstract; the service manager's, as is the fd */
        socklen_t address_size;
        int fd;
        char text[512]; /* what it read last */
} Bench;

static void service_manager_listen(Bench *b) {
        b->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(b->fd >= 0);
        assert_int_equal(bind(b->fd, (struct sockaddr *) &b->address, b->address_size), 0);
}

static int bench_setup(void **state) {
        Bench *b = calloc(1, sizeof(*b));
        char name[64];

        (void) snprintf(name, sizeof(name), "@zpci-errord-test-%d", (int) getpid());
        b->address.sun_family = AF_UNIX;
        memcpy(b->address.sun_path + 1, name + 1, strlen(name) - 1);
        b->address_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name));
        service_manager_listen(b);

        assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
        assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
        assert_int_equal(unsetenv("WATCHDOG_PID"), 0);
        assert_true(sd_event_new(&b->event) >= 0);
        *state = b;
        return 0;
}

static int bench_teardown(void **state) {
        Bench *b = *state;

        notify_free(b->notify);
        sd_event_unref(b->event);
        close(b->fd);
        free(b);
        return 0;
}

static bool hear(Bench *b) {
        ssize_t n = recv(b->fd, b->text, sizeof(b->text) - 1, 0);

        if (n < 0) {
                assert_int_equal(errno, EAGAIN);
                return false;
        }
        b->text[n] = '\0';
        return true;
}

static void await(Bench *b, const char *text) {
        uint64_t end = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        for (;;) {
                while (hear(b))
                        if (strstr(b->text, text))
                                return;
                if (now_usec(CLOCK_MONOTONIC) > end)
                        fail_msg("waited for %s", text);
                assert_true(sd_event_run(b->event, USEC_PER_SEC) >= 0);
        }
}

static void test_messages(void **state) {
        Bench *b = *state;

        assert_int_equal(notify_new(b->event, &b->notify), 0);
        assert_false(hear(b));

        notify_status(b->notify, "Watching %d", 3);
        assert_true(hear(b));
        assert_string_equal(b->text, "STATUS=Watching 3\n");
        notify_ready(b->notify);
        assert_true(hear(b));
        assert_string_equal(b->text, "READY=1\n");
        notify_stopping(b->notify);
        assert_true(hear(b));
        assert_string_equal(b->text, "STOPPING=1\n");
        assert_false(hear(b));
}

static void test_long_status(void **state) {
        Bench *b = *state;

        assert_int_equal(notify_new(b->event, &b->notify), 0);
        notify_status(b->notify, "%0400d", 0);
        assert_true(hear(b));
        assert_true(strlen(b->text) > 200 && strlen(b->text) < 300);
}

/* Nothing waits, nothing piles up, and what matters comes through. */
static void test_stalled(void **state) {
        unsigned n_heard = 0;
        Bench *b = *state;
        char last[64];

        assert_int_equal(notify_new(b->event, &b->notify), 0);
        for (unsigned i = 1; i <= FLOOD; i++)
                notify_status(b->notify, "%u", i);
        notify_ready(b->notify);
        assert_true(sd_event_run(b->event, 0) == 0);

        (void) snprintf(last, sizeof(last), "READY=1\nSTATUS=%u\n", FLOOD);
        while (hear(b))
                n_heard++;
        assert_true(n_heard < FLOOD);
        await(b, last);
        assert_string_equal(b->text, last);
        /* Told once. */
        notify_stopping(b->notify);
        await(b, "STOPPING=1");
        assert_string_equal(b->text, "STOPPING=1\n");
}

/* While it is away: told with the next message. */
static void test_away(void **state) {
        Bench *b = *state;

        assert_int_equal(notify_new(b->event, &b->notify), 0);
        assert_int_equal(close(b->fd), 0);
        notify_ready(b->notify);
        assert_int_equal(sd_event_run(b->event, 0), 0);

        service_manager_listen(b);
        notify_status(b->notify, "here");
        await(b, "READY=1");
        assert_string_equal(b->text, "READY=1\nSTATUS=here\n");
}

static void test_watchdog(void **state) {
        Bench *b = *state;

        assert_int_equal(setenv("WATCHDOG_USEC", "20000", 1), 0);
        assert_int_equal(notify_new(b->event, &b->notify), 0);
        for (unsigned i = 0; i < 3; i++)
                await(b, "WATCHDOG=1");

        /* It was not fed while it did not read; it hears of us as soon as it does. */
        for (unsigned i = 1; i <= FLOOD; i++)
                notify_status(b->notify, "%u", i);
        await(b, "WATCHDOG=1");
}

static void test_none(void **state) {
        Bench *b = *state;

        assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
        assert_int_equal(notify_new(b->event, &b->notify), 0);
        notify_ready(b->notify);
        notify_status(b->notify, "nobody hears it");
        assert_false(hear(b));
}

static void test_bad_address(void **state) {
        static const char *const bad[] = { "", "/", "@", "vsock:2:1234", "run/notify" };
        char large[200];
        Bench *b = *state;

        memset(large, 'x', sizeof(large));
        large[0] = '/';
        large[sizeof(large) - 1] = '\0';
        assert_int_equal(setenv("NOTIFY_SOCKET", large, 1), 0);
        assert_int_equal(notify_new(b->event, &b->notify), -EINVAL);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert_int_equal(setenv("NOTIFY_SOCKET", bad[i], 1), 0);
                assert_int_equal(notify_new(b->event, &b->notify), -EINVAL);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST(test_messages),    TEST(test_long_status), TEST(test_stalled),
                TEST(test_away),        TEST(test_watchdog),    TEST(test_none),
                TEST(test_bad_address),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
