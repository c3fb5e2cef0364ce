/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The hook's calls, with a daemon at the other end of a socket that answers as an address tells it. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "names.h"
#include "release.h"
#include "util.h"

#define CALLS_MAX 8U
#define PATIENT   (60 * USEC_PER_SEC)

/* Each answers no call before it has n_together of that kind: all have to be asked at once. */
typedef struct Daemon {
        pthread_t thread;
        sd_bus *bus;
        size_t n_together;

        sd_bus_message *finds[CALLS_MAX], *releases[CALLS_MAX];
        size_t n_finds, n_releases;
        bool hangs_up; /* instead of answering a release */

        uint64_t grace_usec;
        char options[256]; /* of the last release, "name=value" */
        unsigned n_auto_start;
} Daemon;

static bool
is_member(sd_bus_message *call, const char *path, const char *interface, const char *member) {
        return sd_bus_message_is_method_call(call, interface, member) > 0 &&
               strcmp(sd_bus_message_get_path(call), path) == 0;
}

static void answer_find(sd_bus_message *call) {
        const char *address;
        char path[128];

        assert_true(sd_bus_message_read(call, "s", &address) > 0);
        if (strcmp(address, "no-function") == 0)
                assert_true(sd_bus_reply_method_errorf(
                                    call, ERRORD_ERROR_NO_FUNCTION, "There are others") > 0);
        else if (strcmp(address, "no-daemon") == 0)
                assert_true(sd_bus_reply_method_errorf(
                                    call, SD_BUS_ERROR_SERVICE_UNKNOWN, "Nobody") > 0);
        else if (strcmp(address, "no-owner") == 0)
                assert_true(sd_bus_reply_method_errorf(
                                    call, SD_BUS_ERROR_NAME_HAS_NO_OWNER, "Nobody") > 0);
        else if (strcmp(address, "denied") == 0)
                assert_true(sd_bus_reply_method_errorf(
                                    call, SD_BUS_ERROR_ACCESS_DENIED, "Not you") > 0);
        else if (strcmp(address, "bare-error") == 0)
                assert_true(sd_bus_reply_method_errorf(call, "org.example.Bare", "%s", "") > 0);
        else if (strcmp(address, "no-path") == 0)
                assert_true(sd_bus_reply_method_return(call, "s", "/") > 0);
        else if (strcmp(address, "empty") == 0)
                assert_true(sd_bus_reply_method_return(call, NULL) > 0);
        else {
                for (char *p = stpcpy(path, ERRORD_FUNCTION_PREFIX "/"); (*p = *address);
                     p++, address++)
                        if (*p == '-')
                                *p = '_';
                assert_true(sd_bus_reply_method_return(call, "o", path) > 0);
        }
}

static void answer_release(Daemon *daemon, sd_bus_message *call) {
        const char *name = strrchr(sd_bus_message_get_path(call), '/') + 1, *key, *value;

        assert_true(sd_bus_message_read(call, "t", &daemon->grace_usec) > 0);
        daemon->options[0] = '\0';
        assert_true(sd_bus_message_enter_container(call, 'a', "{sv}") > 0);
        while (sd_bus_message_read(call, "{sv}", &key, "s", &value) > 0)
                (void) snprintf(daemon->options, sizeof(daemon->options), "%s=%s", key, value);

        if (daemon->hangs_up)
                sd_bus_close(daemon->bus);
        else if (strcmp(name, "gone") == 0)
                assert_true(sd_bus_reply_method_errorf(call, SD_BUS_ERROR_UNKNOWN_OBJECT, "Gone") >
                            0);
        else if (strcmp(name, "unbound") == 0)
                assert_true(sd_bus_reply_method_errorf(call, ERRORD_ERROR_NOT_BOUND, "Unbound") >
                            0);
        else if (strcmp(name, "refused") == 0)
                assert_true(sd_bus_reply_method_errorf(call, "org.example.No", "I will not") > 0);
        else if (strcmp(name, "mute") != 0)
                assert_true(sd_bus_reply_method_return(call, NULL) > 0);
}

static int daemon_take(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        Daemon *daemon = userdata;

        if (sd_bus_message_get_auto_start(call) != 0)
                daemon->n_auto_start++;

        if (is_member(
                    call, ERRORD_MANAGER_PATH, ERRORD_MANAGER_INTERFACE, "GetFunctionByAddress")) {
                daemon->finds[daemon->n_finds++] = sd_bus_message_ref(call);
                for (size_t i = 0; daemon->n_finds == daemon->n_together && i < daemon->n_finds;
                     i++)
                        answer_find(daemon->finds[i]);
        } else if (sd_bus_message_is_method_call(call, ERRORD_FUNCTION_INTERFACE, "Release") > 0) {
                daemon->releases[daemon->n_releases++] = sd_bus_message_ref(call);
                if (daemon->n_together <= 1 || daemon->n_releases == daemon->n_together)
                        for (size_t i = daemon->n_together <= 1 ? daemon->n_releases - 1 : 0;
                             i < daemon->n_releases;
                             i++)
                                answer_release(daemon, daemon->releases[i]);
        }
        return 1;
}

static void *daemon_run(void *userdata) {
        Daemon *daemon = userdata;

        while (sd_bus_is_open(daemon->bus) > 0)
                if (sd_bus_process(daemon->bus, NULL) == 0)
                        (void) sd_bus_wait(daemon->bus, UINT64_MAX);
        return NULL;
}

static sd_bus *daemon_start(Daemon *daemon, size_t n_together) {
        sd_bus *client;
        sd_id128_t id;
        int fds[2];

        *daemon = (Daemon){ .n_together = n_together };

        assert_int_equal(sd_id128_randomize(&id), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
                         0);
        assert_true(sd_bus_new(&daemon->bus) >= 0);
        assert_true(sd_bus_set_fd(daemon->bus, fds[0], fds[0]) >= 0);
        assert_true(sd_bus_set_server(daemon->bus, true, id) >= 0);
        assert_true(sd_bus_add_filter(daemon->bus, NULL, daemon_take, daemon) >= 0);
        assert_true(sd_bus_start(daemon->bus) >= 0);

        assert_true(sd_bus_new(&client) >= 0);
        assert_true(sd_bus_set_fd(client, fds[1], fds[1]) >= 0);
        assert_true(sd_bus_start(client) >= 0);

        assert_int_equal(pthread_create(&daemon->thread, NULL, daemon_run, daemon), 0);
        return client;
}

/* The thread ends when the client's end is closed, which it is by the first unref. */
static void daemon_stop(Daemon *daemon, sd_bus *client) {
        sd_bus_unref(client);
        assert_int_equal(pthread_join(daemon->thread, NULL), 0);
        for (size_t i = 0; i < daemon->n_finds; i++)
                sd_bus_message_unref(daemon->finds[i]);
        for (size_t i = 0; i < daemon->n_releases; i++)
                sd_bus_message_unref(daemon->releases[i]);
        sd_bus_unref(daemon->bus);

        assert_int_equal(daemon->n_auto_start, 0);
}

static int
ask(sd_bus *client, const char *holder, uint64_t patience_usec, Release *releases, size_t n) {
        int r = release_all(client,
                            holder ? 0 : 7,
                            holder,
                            now_usec(CLOCK_MONOTONIC) + patience_usec,
                            releases,
                            n);

        assert_int_equal(sd_bus_is_open(client), 0);
        return r;
}

static void test_together(void **state) {
        Release releases[] = { { .address = "a" }, { .address = "b" }, { .address = "c" } };
        Daemon daemon;
        sd_bus *client = daemon_start(&daemon, ELEMENTSOF(releases));

        assert_int_equal(ask(client, "guest", PATIENT, releases, ELEMENTSOF(releases)), 0);
        for (size_t i = 0; i < ELEMENTSOF(releases); i++)
                assert_int_equal(releases[i].outcome, RELEASE_DONE);
        daemon_stop(&daemon, client);

        assert_int_equal(daemon.n_finds, 3);
        assert_int_equal(daemon.n_releases, 3);
        assert_int_equal(daemon.grace_usec, 0);
        assert_string_equal(daemon.options, "who=guest");
}

static void test_no_holder(void **state) {
        Release release = { .address = "a" };
        Daemon daemon;
        sd_bus *client = daemon_start(&daemon, 1);

        assert_int_equal(ask(client, NULL, PATIENT, &release, 1), 0);
        assert_int_equal(release.outcome, RELEASE_DONE);
        daemon_stop(&daemon, client);

        assert_int_equal(daemon.grace_usec, 7);
        assert_string_equal(daemon.options, "");
}

static void test_outcomes(void **state) {
        static const struct {
                const char *address;
                ReleaseOutcome outcome;
                const char *problem;
        } answers[] = {
                { "no-function", RELEASE_UNKNOWN, "" },
                { "gone", RELEASE_UNKNOWN, "" },
                { "unbound", RELEASE_UNKNOWN, "" },
                { "no-daemon", RELEASE_NO_DAEMON, "" },
                { "no-owner", RELEASE_NO_DAEMON, "" },
                { "denied", RELEASE_FAILED, "Not you" },
                { "refused", RELEASE_FAILED, "I will not" },
                { "no-path", RELEASE_FAILED, NULL },
                { "empty", RELEASE_FAILED, NULL },
                { "bare-error", RELEASE_FAILED, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                Release release = { .address = answers[i].address };
                Daemon daemon;
                sd_bus *client = daemon_start(&daemon, 1);

                assert_int_equal(ask(client, "guest", PATIENT, &release, 1), 0);
                if (release.outcome != answers[i].outcome)
                        fail_msg("%s: outcome %d", answers[i].address, release.outcome);
                if (answers[i].problem)
                        assert_string_equal(release.problem, answers[i].problem);
                daemon_stop(&daemon, client);
        }
}

static void test_deadline(void **state) {
        Release release = { .address = "mute" };
        Daemon daemon;
        sd_bus *client = daemon_start(&daemon, 1);

        assert_int_equal(ask(client, "guest", 200 * USEC_PER_MSEC, &release, 1), -ETIMEDOUT);
        assert_int_equal(release.outcome, RELEASE_PENDING);
        daemon_stop(&daemon, client);

        client = daemon_start(&daemon, 1);
        assert_int_equal(ask(client, "guest", 0, &release, 1), -ETIMEDOUT);
        assert_int_equal(release.outcome, RELEASE_PENDING);
        daemon_stop(&daemon, client);
}

static void test_hang_up(void **state) {
        Release release = { .address = "a" };
        Daemon daemon;
        sd_bus *client = daemon_start(&daemon, 1);

        daemon.hangs_up = true;
        assert_int_equal(ask(client, "guest", PATIENT, &release, 1), -ECONNRESET);
        daemon_stop(&daemon, client);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_together), cmocka_unit_test(test_no_holder),
                cmocka_unit_test(test_outcomes), cmocka_unit_test(test_deadline),
                cmocka_unit_test(test_hang_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
