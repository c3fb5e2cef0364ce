/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dlfcn.h>
#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cmocka.h>

#include "journal.h"

#define DEADLINE_USEC (20 * USEC_PER_SEC)
#define HUGE_SIZE     (16U * 1024U * 1024U) /* more than any send buffer */
#define ALL_SEALS     (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

/* The sender's system calls pass here: sendmsg(2) can be made to fail, and connect(2) is counted. */
static int sendmsg_errno;
static unsigned n_connects;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
        if (sendmsg_errno != 0) {
                errno = sendmsg_errno;
                return -1;
        }

        assert_true(flags & MSG_DONTWAIT);
        assert_true(flags & MSG_NOSIGNAL);
        return syscall(SYS_sendmsg, fd, message, flags);
}

int connect(int fd, const struct sockaddr *address, socklen_t size) {
        n_connects++;
        return (int) syscall(SYS_connect, fd, address, size);
}

/* The sources that the sender makes are kept, to see whether any of them is enabled. */
static sd_event_source *sources[32];
static size_t n_sources;

static int keep_source(int r, sd_event_source **ret) {
        assert_true(r >= 0);
        assert_true(n_sources < ELEMENTSOF(sources));
        sources[n_sources++] = sd_event_source_ref(*ret);
        return r;
}

int sd_event_add_io(sd_event *event,
                    sd_event_source **ret,
                    int fd,
                    uint32_t events,
                    sd_event_io_handler_t callback,
                    void *userdata) {
        __typeof__(sd_event_add_io) *real = dlsym(RTLD_NEXT, __func__);

        return keep_source(real(event, ret, fd, events, callback, userdata), ret);
}

int sd_event_add_time(sd_event *event,
                      sd_event_source **ret,
                      clockid_t clock,
                      uint64_t usec,
                      uint64_t accuracy,
                      sd_event_time_handler_t callback,
                      void *userdata) {
        __typeof__(sd_event_add_time) *real = dlsym(RTLD_NEXT, __func__);

        return keep_source(real(event, ret, clock, usec, accuracy, callback, userdata), ret);
}

static unsigned n_enabled(void) {
        unsigned n = 0;

        for (size_t i = 0; i < n_sources; i++)
                n += sd_event_source_get_enabled(sources[i], NULL) > 0;
        return n;
}

/* What journald is to the sender: a datagram socket at a path. */
typedef struct Fixture {
        char directory[32];
        char path[64];
        int server;
        sd_event *event;
        Journal *journal;

        /* Somebody who, like the pump, tries again whenever the loop had something to do. */
        sd_event_source *post;
        const char *text;
        int result;
        unsigned n_tries;
} Fixture;

static void server_start(Fixture *f) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        strcpy(address.sun_path, f->path);
        f->server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(f->server >= 0);
        assert_int_equal(bind(f->server, (struct sockaddr *) &address, sizeof(address)), 0);
}

static void server_stop(Fixture *f) {
        f->server = safe_close(f->server);
        assert_int_equal(unlink(f->path), 0);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        sendmsg_errno = 0;
        n_connects = 0;
        f->server = -EBADF;
        strcpy(f->directory, "/tmp/test-journal-XXXXXX");
        assert_non_null(mkdtemp(f->directory));
        (void) snprintf(f->path, sizeof(f->path), "%s/socket", f->directory);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(journal_new(f->event, f->path, &f->journal), 0);

        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        sd_event_source_disable_unref(f->post);
        journal_free(f->journal);
        assert_int_equal(n_enabled(), 0);
        while (n_sources > 0)
                sd_event_source_unref(sources[--n_sources]);
        sd_event_unref(f->event);
        if (f->server >= 0)
                server_stop(f);
        rmdir(f->directory);
        free(f);
        return 0;
}

static int send_text(Fixture *f, const char *text) {
        struct iovec field = { (void *) text, strlen(text) };

        return journal_send(f->journal, &field, 1);
}

static void queue_text(Fixture *f, const char *text) {
        struct iovec field = { (void *) text, strlen(text) };

        journal_send_or_queue(&field, 1, f->journal);
}

static int on_post(sd_event_source *source, void *userdata) {
        Fixture *f = userdata;

        if (f->result < 0) {
                f->n_tries++;
                f->result = send_text(f, f->text);
        }
        return 0;
}

/* Sends text as soon as that is worth a try. */
static void send_when_awake(Fixture *f, const char *text) {
        f->text = text;
        f->result = -EAGAIN;
        assert_true(sd_event_add_post(f->event, &f->post, on_post, f) >= 0);
}

static bool has_sent(const Fixture *f) {
        return f->result == 0;
}

static bool has_datagram(const Fixture *f) {
        char c;

        return recv(f->server, &c, 1, MSG_PEEK | MSG_TRUNC) >= 0;
}

static void wait_for(Fixture *f, bool (*done)(const Fixture *f), const char *what) {
        uint64_t now, deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        while (!done(f)) {
                now = now_usec(CLOCK_MONOTONIC);
                if (now >= deadline)
                        fail_msg("waited in vain until %s", what);
                assert_true(sd_event_run(f->event, deadline - now) >= 0);
        }
}

/* Nothing waits: the sender does not keep the loop from sleeping for ever. */
static void assert_idle(Fixture *f) {
        while (sd_event_run(f->event, 0) > 0)
                ;
        assert_int_equal(n_enabled(), 0);
}

static size_t receive(Fixture *f, char *buffer, size_t size) {
        ssize_t n = recv(f->server, buffer, size - 1, 0);

        assert_true(n >= 0);
        buffer[n] = '\0';
        return (size_t) n;
}

static void assert_received(Fixture *f, const char *expected) {
        char text[256];

        receive(f, text, sizeof(text));
        assert_string_equal(text, expected);
}

static void assert_nothing_received(Fixture *f) {
        char c;

        assert_int_equal(recv(f->server, &c, 1, 0), -1);
        assert_int_equal(errno, EAGAIN);
}

/* Sends "N=0", "N=1" … until journald takes no more. Returns how many it took. */
static unsigned fill(Fixture *f) {
        char text[32];
        int r = 0;

        for (unsigned n = 0; n < 100000; n++) {
                (void) snprintf(text, sizeof(text), "N=%u", n);
                r = send_text(f, text);
                if (r < 0) {
                        assert_int_equal(r, -EAGAIN);
                        return n;
                }
        }
        fail_msg("a socket that nobody reads took everything");
        return 0;
}

static void test_protocol(void **state) {
        static const char binary[] = "RAW=\0\x01\n\xff=", zero[] = "ZERO=a\0b";
        Fixture *f = *state;
        struct iovec fields[] = {
                { (void *) "MESSAGE=one line = all", strlen("MESSAGE=one line = all") },
                { (void *) binary, sizeof(binary) - 1 },
                { (void *) "EMPTY=", strlen("EMPTY=") },
                { (void *) zero, sizeof(zero) - 1 },
                { (void *) "TWO=a\nb", strlen("TWO=a\nb") },
                { (void *) "A1_=c", strlen("A1_=c") },
        };
        static const char expected[] = "MESSAGE=one line = all\n"
                                       "RAW\n"
                                       "\5\0\0\0\0\0\0\0"
                                       "\0\x01\n\xff=\n"
                                       "EMPTY=\n"
                                       "ZERO=a\0b\n"
                                       "TWO\n"
                                       "\3\0\0\0\0\0\0\0"
                                       "a\nb\n"
                                       "A1_=c\n";
        char text[256];

        server_start(f);
        assert_int_equal(journal_send(f->journal, fields, ELEMENTSOF(fields)), 0);
        assert_int_equal(receive(f, text, sizeof(text)), sizeof(expected) - 1);
        assert_memory_equal(text, expected, sizeof(expected) - 1);
        assert_nothing_received(f);
        assert_idle(f);
}

static void test_field_names(void **state) {
        static const struct {
                const char *text;
                int result;
        } cases[] = {
                { "", -EINVAL },
                { "MESSAGE", -EINVAL },
                { "=value", -EINVAL },
                { "_HOSTNAME=forged", -EINVAL },
                { "1A=digit", -EINVAL },
                { "message=lower", -EINVAL },
                { "A B=blank", -EINVAL },
                { "A\nB=line", -EINVAL },
                { "A.B=dot", -EINVAL },
                { "A1234567890123456789012345678901234567890123456789012345678901234=65", -EINVAL },
                { "A123456789012345678901234567890123456789012345678901234567890123=64", 0 },
                { "Z_9=fine", 0 },
        };
        Fixture *f = *state;

        server_start(f);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_int_equal(send_text(f, cases[i].text), cases[i].result);

        assert_int_equal(journal_send(f->journal, &(struct iovec){ NULL, 0 }, 1), -EINVAL);
        assert_int_equal(journal_send(f->journal, &(struct iovec){ NULL, 0 }, 0), -EINVAL);
}

static void test_number_of_fields(void **state) {
        struct iovec fields[JOURNAL_FIELDS_MAX + 1];
        Fixture *f = *state;
        char text[4096];

        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                fields[i] = (struct iovec){ (void *) "A=\n", 3 };

        server_start(f);
        assert_int_equal(journal_send(f->journal, fields, JOURNAL_FIELDS_MAX + 1), -E2BIG);
        assert_int_equal(journal_send(f->journal, fields, JOURNAL_FIELDS_MAX), 0);
        assert_int_equal(receive(f, text, sizeof(text)), JOURNAL_FIELDS_MAX * (2 + 8 + 1 + 1));
}

static void test_long_path(void **state) {
        Fixture *f = *state;
        Journal *journal = NULL;
        char path[200];

        memset(path, 'x', sizeof(path));
        path[sizeof(path) - 1] = '\0';
        assert_int_equal(journal_new(f->event, path, &journal), -ENAMETOOLONG);
        assert_null(journal);
}

/* Until journald is there, we look once a second, however often we are asked. */
static void test_absent(void **state) {
        Fixture *f = *state;
        uint64_t start = now_usec(CLOCK_MONOTONIC);

        for (unsigned i = 0; i < 1000; i++)
                assert_int_equal(send_text(f, "A=early"), -EAGAIN);
        if (now_usec(CLOCK_MONOTONIC) - start < USEC_PER_SEC)
                assert_int_equal(n_connects, 1);

        server_start(f);
        send_when_awake(f, "A=late");
        wait_for(f, has_sent, "the loop woke up after journald came");
        assert_true(now_usec(CLOCK_MONOTONIC) - start >= USEC_PER_SEC);
        assert_int_equal(n_connects, 2);
        assert_received(f, "A=late\n");
        assert_idle(f);
}

/* The loop sleeps while journald's queue is full and wakes when it takes an entry out. */
static void test_full_then_drained(void **state) {
        Fixture *f = *state;
        unsigned n;

        server_start(f);
        n = fill(f);
        assert_true(n >= 1);
        send_when_awake(f, "A=waiting");
        assert_int_equal(sd_event_run(f->event, 0), 0);
        assert_int_equal(f->n_tries, 0);
        assert_int_equal(n_enabled(), 1);

        for (unsigned i = 0; i < n; i++) {
                char expected[32];

                (void) snprintf(expected, sizeof(expected), "N=%u\n", i);
                assert_received(f, expected);
        }

        wait_for(f, has_sent, "the loop woke up after the socket was drained");
        assert_received(f, "A=waiting\n");
        assert_int_equal(n_connects, 1);
        assert_idle(f);
}

/* journald is killed, and another one binds its socket at the same path. */
static void test_restart(void **state) {
        Fixture *f = *state;

        server_start(f);
        assert_int_equal(send_text(f, "A=first"), 0);
        server_stop(f);
        assert_int_equal(send_text(f, "A=nobody"), -EAGAIN);

        server_start(f);
        send_when_awake(f, "A=second");
        wait_for(f, has_sent, "the sender found the new socket");
        assert_received(f, "A=second\n");
        assert_idle(f);
}

/* The same while the queue is full: the death has to wake us as well. */
static void test_restart_while_full(void **state) {
        Fixture *f = *state;

        server_start(f);
        assert_true(fill(f) >= 1);
        send_when_awake(f, "A=survivor");
        assert_int_equal(sd_event_run(f->event, 0), 0);

        server_stop(f);
        server_start(f);
        wait_for(f, has_sent, "the sender noticed that its peer died");
        assert_received(f, "A=survivor\n");
        assert_nothing_received(f);
        assert_idle(f);
}

static uint64_t soon(void) {
        return now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;
}

/* Without the event loop, at the end. */
static void test_wait(void **state) {
        Fixture *f = *state;
        char byte;

        assert_false(journal_wait(f->journal, soon())); /* nothing was sent */
        server_start(f);
        assert_true(fill(f) >= 1);
        assert_int_equal(send_text(f, "A=full"), -EAGAIN);
        assert_false(journal_wait(f->journal, 0));
        assert_false(journal_wait(f->journal, now_usec(CLOCK_MONOTONIC) + USEC_PER_MSEC));
        while (recv(f->server, &byte, 1, MSG_DONTWAIT) >= 0)
                ;
        assert_true(journal_wait(f->journal, soon()));
        assert_int_equal(send_text(f, "A=late"), 0);

        /* Its end is no reason to wait. */
        assert_true(fill(f) >= 1);
        server_stop(f);
        assert_true(journal_wait(f->journal, soon()));
        assert_int_equal(send_text(f, "A=nobody"), -EAGAIN);
        assert_false(journal_wait(f->journal, soon()));
}

static void test_memfd(void **state) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        char byte; /* qemu-user answers a recvmsg() without a buffer itself */
        struct iovec buffer = { &byte, sizeof(byte) };
        struct msghdr message = { .msg_iov = &buffer,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        _cleanup_free_ char *huge = malloc(HUGE_SIZE);
        _cleanup_close_ int fd = -EBADF;
        Fixture *f = *state;
        struct iovec fields[] = { { huge, HUGE_SIZE }, { (void *) "B=end", 5 } };
        struct stat st;
        char *map;

        assert_non_null(huge);
        memset(huge, 'x', HUGE_SIZE);
        memcpy(huge, "A=", 2);

        server_start(f);
        assert_int_equal(journal_send(f->journal, fields, ELEMENTSOF(fields)), 0);

        assert_int_equal(recvmsg(f->server, &message, MSG_CMSG_CLOEXEC), 0);
        assert_int_equal(message.msg_controllen, CMSG_SPACE(sizeof(int)));
        assert_int_equal(control.header.cmsg_type, SCM_RIGHTS);
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));

        assert_int_equal(fcntl(fd, F_GET_SEALS) & ALL_SEALS, ALL_SEALS);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, HUGE_SIZE + strlen("\nB=end\n"));
        map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        assert_ptr_not_equal(map, MAP_FAILED);
        assert_memory_equal(map, huge, HUGE_SIZE);
        assert_memory_equal(map + HUGE_SIZE, "\nB=end\n", strlen("\nB=end\n"));
        munmap(map, (size_t) st.st_size);
}

/* What is short now may not be so in a moment. */
static void test_shortage(void **state) {
        static const int shortages[] = { ENOBUFS, ENOMEM, ETOOMANYREFS };
        Fixture *f = *state;

        server_start(f);
        for (size_t i = 0; i < ELEMENTSOF(shortages); i++) {
                sendmsg_errno = shortages[i];
                send_when_awake(f, "A=b");
                assert_int_equal(send_text(f, "A=b"), -EAGAIN);
                assert_false(journal_wait(f->journal, soon()));
                sendmsg_errno = 0;
                wait_for(f, has_sent, "the loop woke up for another try");
                assert_received(f, "A=b\n");
                f->post = sd_event_source_disable_unref(f->post);
        }
        assert_int_equal(n_connects, 1);
        assert_idle(f);
}

/* Not allowed to talk to journald: as if there were none. */
static void test_denied(void **state) {
        Fixture *f = *state;

        server_start(f);
        sendmsg_errno = EPERM;
        assert_int_equal(send_text(f, "A=b"), -EAGAIN);
        sendmsg_errno = 0;
        send_when_awake(f, "A=b");
        wait_for(f, has_sent, "the loop woke up for another try");
        assert_received(f, "A=b\n");
}

static void test_never(void **state) {
        Fixture *f = *state;

        server_start(f);
        sendmsg_errno = EIO;
        assert_int_equal(send_text(f, "A=b"), -EIO);
        sendmsg_errno = 0;
        assert_idle(f);
}

/* The queue keeps the order, says what it dropped where it was, and forgets it then. */
static void test_queue(void **state) {
        char text[256], expected[256];
        Fixture *f = *state;
        unsigned n;

        server_start(f);
        n = fill(f);
        for (unsigned i = 0; i < 256 + 10; i++) {
                (void) snprintf(text, sizeof(text), "Q=%u", i);
                queue_text(f, text);
        }
        assert_int_equal(journal_flush(f->journal), 256);

        for (unsigned i = 0; i < n; i++)
                receive(f, text, sizeof(text));
        for (unsigned i = 0; i < 256; i++) {
                wait_for(f, has_datagram, "what waited was sent");
                (void) snprintf(expected, sizeof(expected), "Q=%u\n", i);
                assert_received(f, expected);
        }
        wait_for(f, has_datagram, "the announcement was sent");
        assert_received(f,
                        "PRIORITY=4\n"
                        "SYSLOG_IDENTIFIER=zpci-errord\n"
                        "MESSAGE=10 messages of the daemon about itself are missing here: "
                        "journald did not take them\n");

        queue_text(f, "Q=after");
        assert_received(f, "Q=after\n");
        assert_nothing_received(f);
        assert_int_equal(journal_flush(f->journal), 0);
        assert_idle(f);
}

static void test_queue_is_bounded_by_size(void **state) {
        _cleanup_free_ char *big = malloc(100 * 1024 + 1);
        Fixture *f = *state;

        assert_non_null(big);
        memset(big, 'x', 100 * 1024);
        big[100 * 1024] = '\0';
        memcpy(big, "A=", 2);

        for (unsigned i = 0; i < 20; i++)
                queue_text(f, big);
        assert_int_equal(journal_flush(f->journal), 10);
}

/* What waited before journald came arrives without anybody asking for it. */
static void test_queue_until_there(void **state) {
        Fixture *f = *state;

        queue_text(f, "A=1");
        queue_text(f, "A=2");
        server_start(f);
        wait_for(f, has_datagram, "the queue was sent");
        assert_received(f, "A=1\n");
        assert_received(f, "A=2\n");
        assert_idle(f);
}

/* Entries that can never be sent are counted too, and the announcement's own failure does not shorten the count. */
static void test_queue_counts_failures(void **state) {
        Fixture *f = *state;
        char text[256];

        server_start(f);
        queue_text(f, "no name");
        assert_received(f,
                        "PRIORITY=4\nSYSLOG_IDENTIFIER=zpci-errord\n"
                        "MESSAGE=1 message of the daemon about itself is missing here: "
                        "journald did not take it\n");

        sendmsg_errno = EIO;
        queue_text(f, "A=1");
        queue_text(f, "A=2");
        queue_text(f, "A=3");
        sendmsg_errno = 0;
        queue_text(f, "A=4");
        receive(f, text, sizeof(text));
        assert_non_null(strstr(text, "MESSAGE=3 messages"));
        assert_received(f, "A=4\n");
        assert_nothing_received(f);
}

/* What lies in the socket is not taken; what went with the socket is not there to be taken. */
static void test_taken(void **state) {
        Fixture *f = *state;
        char text[64];

        assert_true(journal_is_taken(f->journal));
        server_start(f);
        assert_int_equal(send_text(f, "A=1"), 0);
        assert_int_equal(send_text(f, "A=2"), 0);
        assert_false(journal_is_taken(f->journal));
        assert_true(recv(f->server, text, sizeof(text), 0) > 0);
        assert_false(journal_is_taken(f->journal));
        assert_true(recv(f->server, text, sizeof(text), 0) > 0);
        assert_true(journal_is_taken(f->journal));

        assert_int_equal(send_text(f, "A=3"), 0);
        assert_false(journal_is_taken(f->journal));
        server_stop(f);
        assert_true(journal_is_taken(f->journal));
        assert_int_equal(send_text(f, "A=4"), -EAGAIN);
        assert_true(journal_is_taken(f->journal));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_protocol),
                TEST(test_field_names),
                TEST(test_number_of_fields),
                TEST(test_long_path),
                TEST(test_absent),
                TEST(test_full_then_drained),
                TEST(test_restart),
                TEST(test_restart_while_full),
                TEST(test_taken),
                TEST(test_wait),
                TEST(test_memfd),
                TEST(test_shortage),
                TEST(test_denied),
                TEST(test_never),
                TEST(test_queue),
                TEST(test_queue_is_bounded_by_size),
                TEST(test_queue_until_there),
                TEST(test_queue_counts_failures),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
