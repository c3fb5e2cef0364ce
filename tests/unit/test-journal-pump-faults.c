/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * From the ring to journald's socket, and each call on the way fails, once and for longer. The clock
 * stands still but for the steps that the test makes.
 */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "faults.h"
#include "journal-pump.h"
#include "ring-fixture.h"

#define TURNS_MAX  1000U
#define EVERYTHING "E1 E2 L3 Rrecovered E3 "

/* The linker's names, see --wrap in ld(1). */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_sd_event_source_set_time(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t usec);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
ssize_t __real_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, long argument);

static struct {
        uint64_t now_usec;
        sd_event_source *timer; /* the sender's, due then */
        uint64_t due_usec;
} fake_clock;

static bool too_large; /* what is sent does not fit into a datagram */
static bool cut_short; /* of what is written, one byte is missing */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        *ret = (struct timespec){
                .tv_sec = (time_t) (fake_clock.now_usec / USEC_PER_SEC),
                .tv_nsec = (long) (fake_clock.now_usec % USEC_PER_SEC * 1000),
        };
        return 0;
}

int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t usec) {
        fake_clock.timer = source;
        fake_clock.due_usec = usec;
        return __real_sd_event_source_set_time(source, UINT64_MAX - 1);
}

int __wrap_socket(int domain, int type, int protocol) {
        return fault("socket") < 0 ? -1 : __real_socket(domain, type, protocol);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size) {
        return fault("connect") < 0 ? -1 : __real_connect(fd, address, size);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
        if (fault("sendmsg") < 0)
                return -1;
        if (too_large && message->msg_iovlen > 0) {
                errno = EMSGSIZE;
                return -1;
        }
        return __real_sendmsg(fd, message, flags);
}

int __wrap_memfd_create(const char *name, unsigned flags) {
        return fault("memfd_create") < 0 ? -1 : __real_memfd_create(name, flags);
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int n) {
        if (fault("writev") < 0)
                return -1;
        return __real_writev(fd, iov, n) - (cut_short ? 1 : 0);
}

int __wrap_fcntl(int fd, int command, ...) {
        va_list args;
        long argument;

        va_start(args, command);
        argument = va_arg(args, long);
        va_end(args);
        return __wrap_fcntl64(fd, command, argument);
}

int __wrap_fcntl64(int fd, int command, long argument) {
        return fault("fcntl") < 0 ? -1 : __real_fcntl(fd, command, argument);
}

typedef struct Fixture {
        char directory[32];
        struct sockaddr_un address;
        int server;
        sd_event *event;
        Ring *ring;
        Journal *journal;
        JournalPump *pump;
        char got[1024];
} Fixture;

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        fake_clock.now_usec = USEC_PER_SEC;
        too_large = cut_short = false;
        strcpy(f->directory, "/tmp/test-journal-XXXXXX");
        assert_non_null(mkdtemp(f->directory));
        f->address.sun_family = AF_UNIX;
        (void) snprintf(
                f->address.sun_path, sizeof(f->address.sun_path), "%s/socket", f->directory);
        f->server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(f->server >= 0);
        assert_int_equal(bind(f->server, (struct sockaddr *) &f->address, sizeof(f->address)), 0);

        assert_true(sd_event_new(&f->event) >= 0);
        f->ring = fixture_fresh(16);
        assert_int_equal(journal_new(f->event, f->address.sun_path, &f->journal), 0);
        assert_int_equal(journal_pump_new(f->event, f->ring, f->journal, &f->pump), 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        if (faults_end() > 0)
                print_message("the last call that failed: %s\n", faults_last());
        journal_pump_free(f->pump);
        journal_free(f->journal);
        ring_free(f->ring);
        sd_event_unref(f->event);
        close(f->server);
        assert_int_equal(unlink(f->address.sun_path), 0);
        assert_int_equal(rmdir(f->directory), 0);
        free(f);
        return 0;
}

static void put_every_kind(Fixture *f) {
        Record *record;

        fixture_error(f->ring);
        fixture_error(f->ring);
        fixture_lost(f->ring, 3);
        record = ring_reserve(f->ring, RECORD_RECOVERY, &fixture_identity);
        record->recovery = RECOVERY_RECOVERED;
        ring_commit(f->ring, record);
        fixture_error(f->ring);
}

static const char *value_of(const char *entry, const char *name, char value[static 32]) {
        const char *p = strstr(entry, name);

        if (!p)
                return NULL;
        p += strlen(name);
        (void) snprintf(value, 32, "%.*s", (int) strcspn(p, "\n"), p);
        return value;
}

/* "E1" an error, "L3" a loss, "G5" entries that are missing, "Rrecovered". */
static void take(Fixture *f, const char *entry) {
        size_t used = strlen(f->got);
        char value[32], kind;

        if (value_of(entry, "\nZPCI_SEQUENCE=", value))
                kind = 'E';
        else if (value_of(entry, "\nZPCI_RECOVERY=", value))
                kind = 'R';
        else {
                assert_non_null(value_of(entry, "\nZPCI_LOST=", value));
                kind = strstr(entry, "\nZPCI_ADDRESS=") ? 'L' : 'G';
        }
        (void) snprintf(f->got + used, sizeof(f->got) - used, "%c%s ", kind, value);
}

static bool receive(Fixture *f) {
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(int))];
        } control;
        char entry[8192];
        struct iovec iov = { entry, sizeof(entry) - 1 };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t n;
        int fd;

        n = recvmsg(f->server, &message, MSG_CMSG_CLOEXEC);
        if (n < 0)
                return false;
        if (n == 0) {
                assert_non_null(CMSG_FIRSTHDR(&message));
                memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
                n = pread(fd, entry, sizeof(entry) - 1, 0);
                close(fd);
        }
        assert_true(n > 0);
        entry[n] = '\0';
        take(f, entry);
        return true;
}

/* Until nothing is left to do at once. That this comes to an end is what matters most here. */
static void run_dry(Fixture *f) {
        for (unsigned n = 0; n < TURNS_MAX; n++)
                if (sd_event_run(f->event, 0) == 0) {
                        while (receive(f))
                                ;
                        return;
                }
        fail_msg("the loop does not go to sleep after %s failed", faults_last());
}

/* Goes to the moment that the sender waits for; there is one. */
static void pass_time(Fixture *f) {
        assert_true(sd_event_source_get_enabled(fake_clock.timer, NULL) > 0);
        assert_true(fake_clock.due_usec > fake_clock.now_usec);
        assert_true(fake_clock.due_usec <= fake_clock.now_usec + USEC_PER_SEC);
        fake_clock.now_usec = fake_clock.due_usec;
        assert_true(__real_sd_event_source_set_time(fake_clock.timer, 0) >= 0);
        run_dry(f);
}

static void assert_all(const Fixture *f) {
        assert_string_equal(f->got, EVERYTHING);
        assert_int_equal(ring_cursor(f->ring, RING_READER_JOURNAL), ring_head(f->ring));
}

/* Memory or fds are short, once or for long: every entry gets out once and in order. */
static void test_shortage(void **state) {
        static const int errors[] = { -ENOMEM, -ENOBUFS, -EMFILE, -ENOSPC };
        unsigned n_runs = 0;

        for (unsigned way = 0; way < 4; way++)
                for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                        for (unsigned n = 1, failed = 1; failed > 0; n++, n_runs++) {
                                Fixture *f;

                                assert_int_equal(setup(state), 0);
                                f = *state;
                                too_large = way & 1;
                                put_every_kind(f);
                                faults_begin(NULL, n, way & 2 ? FAULTS_FOR_EVER : 1, errors[i]);
                                run_dry(f);
                                if (way & 2 && strcmp(faults_last(), "none") != 0)
                                        for (unsigned again = 0; again < 3; again++)
                                                pass_time(f);
                                failed = faults_end();
                                if (failed > 0)
                                        pass_time(f);
                                assert_all(f);
                                assert_int_equal(teardown(state), 0);
                        }
        assert_true(n_runs > 100);
        assert_int_equal(setup(state), 0);
}

/* journald's socket is full, and there is no memory to be told when it is not. */
static void test_full_and_short(void **state) {
        Fixture *f = *state;

        put_every_kind(f);
        faults_begin("sendmsg", 2, 1, -EAGAIN);
        run_dry(f); /* the socket is writable at once */
        assert_int_equal(faults_end(), 1);
        assert_all(f);

        f->got[0] = '\0';
        fixture_error(f->ring);
        journal_free(f->journal); /* a new one, which was not full yet */
        journal_pump_free(f->pump);
        assert_int_equal(journal_new(f->event, f->address.sun_path, &f->journal), 0);
        assert_int_equal(journal_pump_new(f->event, f->ring, f->journal, &f->pump), 0);
        faults_begin("s", 2, 2, -EAGAIN); /* socket, sendmsg, sd_event_add_io */
        run_dry(f);
        assert_string_equal(faults_last(), "sd_event_add_io");
        assert_int_equal(faults_end(), 2);
        assert_string_equal(f->got, "");
        pass_time(f);
        assert_string_equal(f->got, "E4 ");
}

static void test_cut_short(void **state) {
        Fixture *f = *state;

        too_large = cut_short = true;
        put_every_kind(f);
        run_dry(f);
        assert_string_equal(f->got, "");
        cut_short = false;
        pass_time(f);
        assert_all(f);
}

/* What is in nobody's power is announced in its place. */
static void test_never(void **state) {
        unsigned n_failed = 0;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                Fixture *f;

                assert_int_equal(setup(state), 0);
                f = *state;
                too_large = true;
                put_every_kind(f);
                faults_begin("writev", n, 1, -EFBIG);
                run_dry(f);
                failed = faults_end();
                n_failed += failed;
                assert_string_equal(f->got,
                                    n == 1   ? "G1 E2 L3 Rrecovered E3 "
                                    : n == 2 ? "E1 G1 L3 Rrecovered E3 "
                                    : n == 3 ? "E1 E2 G1 Rrecovered E3 "
                                    : n == 4 ? "E1 E2 L3 G1 E3 "
                                    : n == 5 ? "E1 E2 L3 Rrecovered G1 "
                                             : EVERYTHING);
                assert_int_equal(ring_cursor(f->ring, RING_READER_JOURNAL), ring_head(f->ring));
                assert_int_equal(teardown(state), 0);
        }
        assert_int_equal(n_failed, 5);
        assert_int_equal(setup(state), 0);
}

/* How many messages of the daemon about itself there are, those that are said to be missing included. */
static unsigned count_messages(Fixture *f) {
        char text[1024], *end;
        unsigned n = 0;
        ssize_t size;

        while ((size = recv(f->server, text, sizeof(text) - 1, 0)) > 0) {
                const char *message;

                text[size] = '\0';
                message = strstr(text, "MESSAGE=");
                assert_non_null(message);
                message += strlen("MESSAGE=");
                if (strncmp(message, "own ", 4) == 0)
                        n++;
                else {
                        n += (unsigned) strtoul(message, &end, 10);
                        assert_non_null(strstr(end, "missing here"));
                }
        }
        return n;
}

/* The daemon's own messages: what cannot wait, for there is no memory, is counted and said. */
static void test_own_messages(void **state) {
        static const char *const texts[] = { "MESSAGE=own 1", "MESSAGE=own 2", "MESSAGE=own 3" };
        unsigned n_failed = 0;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                Fixture *f;

                assert_int_equal(setup(state), 0);
                f = *state;
                faults_begin("sendmsg", 1, FAULTS_FOR_EVER, -ENOMEM);
                for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                        struct iovec field = { (void *) texts[i], strlen(texts[i]) };

                        if (i == 1) /* one waits already */
                                faults_begin("malloc", n, 1, -ENOMEM);
                        journal_send_or_queue(&field, 1, f->journal);
                        if (i == 1) {
                                failed = faults_end();
                                faults_begin("sendmsg", 1, FAULTS_FOR_EVER, -ENOMEM);
                        }
                }
                faults_end();
                n_failed += failed;
                assert_int_equal(journal_flush(f->journal), 0);
                assert_int_equal(count_messages(f), ELEMENTSOF(texts));
                assert_int_equal(teardown(state), 0);
        }
        assert_int_equal(n_failed, 1);
        assert_int_equal(setup(state), 0);
}

static void test_new(void **state) {
        Fixture *f = *state;
        unsigned n_failed = 0;

        for (unsigned n = 1, failed = 1; failed > 0; n++) {
                JournalPump *pump = NULL;
                Journal *journal = NULL;
                int r;

                faults_begin(NULL, n, 1, -ENOMEM);
                r = journal_new(f->event, "/nowhere", &journal);
                if (r >= 0)
                        r = journal_pump_new(f->event, f->ring, journal, &pump);
                failed = faults_end();
                n_failed += failed;
                assert_int_equal(r, failed > 0 ? -ENOMEM : 0);
                assert_true(pump ? failed == 0 : failed > 0);
                assert_null(journal_pump_free(pump));
                assert_null(journal_free(journal));
        }
        assert_true(n_failed >= 8);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
/* Each of its runs has a fixture of its own. */
#define TEST_RUNS(function) cmocka_unit_test_teardown(function, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST_RUNS(test_shortage), TEST(test_full_and_short),    TEST(test_cut_short),
                TEST_RUNS(test_never),    TEST_RUNS(test_own_messages), TEST(test_new),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
