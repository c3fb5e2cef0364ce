/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "config.h"
#include "ring.h"
#include "util.h"

#define ETC_MAIN   "/etc/zpci-errord.conf"
#define RUN_MAIN   "/run/zpci-errord.conf"
#define USR_MAIN   "/usr/lib/zpci-errord.conf"
#define ETC_DROPIN "/etc/zpci-errord.conf.d/"
#define RUN_DROPIN "/run/zpci-errord.conf.d/"
#define USR_DROPIN "/usr/lib/zpci-errord.conf.d/"

/* A folder that stands for the root of the file system, and what was complained about. */
typedef struct Fixture {
        char root[32];
        char complaints[4096]; /* "<path below root>:<line>: <text>\n" each */
} Fixture;

static int setup(void **state) {
        static const char *const folders[] = {
                "/etc",
                "/etc/zpci-errord.conf.d",
                "/run",
                "/run/zpci-errord.conf.d",
                "/usr",
                "/usr/lib",
                "/usr/lib/zpci-errord.conf.d",
        };
        Fixture *fixture = calloc(1, sizeof(*fixture));

        assert_non_null(fixture);
        (void) strcpy(fixture->root, "/tmp/test-config-XXXXXX");
        assert_non_null(mkdtemp(fixture->root));

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                char path[PATH_MAX];

                (void) snprintf(path, sizeof(path), "%s%s", fixture->root, folders[i]);
                assert_return_code(mkdir(path, 0755), errno);
        }

        *state = fixture;
        return 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

static int teardown(void **state) {
        Fixture *fixture = *state;

        assert_return_code(nftw(fixture->root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), errno);
        free(fixture);
        return 0;
}

static void put_bytes(Fixture *fixture, const char *name, const char *bytes, size_t size) {
        char path[PATH_MAX];
        FILE *file;

        (void) snprintf(path, sizeof(path), "%s%s", fixture->root, name);
        file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
}

static void put(Fixture *fixture, const char *name, const char *text) {
        put_bytes(fixture, name, text, strlen(text));
}

static void put_link(Fixture *fixture, const char *name, const char *target) {
        char path[PATH_MAX];

        (void) snprintf(path, sizeof(path), "%s%s", fixture->root, name);
        assert_return_code(symlink(target, path), errno);
}

static void complain(const char *file, uint64_t line, const char *text, void *userdata) {
        Fixture *fixture = userdata;
        size_t used = strlen(fixture->complaints);

        assert_int_equal(strncmp(file, fixture->root, strlen(fixture->root)), 0);
        (void) snprintf(fixture->complaints + used,
                        sizeof(fixture->complaints) - used,
                        "%s:%ju: %s\n",
                        file + strlen(fixture->root),
                        (uintmax_t) line,
                        text);
}

static Config read_all(Fixture *fixture) {
        Config config;

        config_defaults(&config);
        assert_int_equal(config_read(&config, fixture->root, complain, fixture), 0);
        return config;
}

static void assert_defaults(const Config *config) {
        assert_int_equal(config->policy, POLICY_OBSERVE);
        assert_int_equal(config->settle_usec, 5 * USEC_PER_SEC);
        assert_int_equal(config->recovery, RECOVERY_POLICY_RESET);
        assert_int_equal(config->records, 4096);
}

static void test_nothing(void **state) {
        Fixture *fixture = *state;
        Config config = read_all(fixture);

        assert_defaults(&config);
        assert_string_equal(fixture->complaints, "");

        /* Not even the folders. */
        config_defaults(&config);
        (void) strcat(fixture->root, "/etc/none");
        assert_int_equal(config_read(&config, fixture->root, complain, fixture), 0);
        *strstr(fixture->root, "/etc") = '\0';
        assert_defaults(&config);
        assert_string_equal(fixture->complaints, "");
}

static void test_all_keys(void **state) {
        Fixture *fixture = *state;
        Config config;

        put(fixture,
            ETC_MAIN,
            "# comment\n; comment\n\n[Errord]\nPolicy=claim\n  SettleSec = 250ms # why\nRecovery=none\nRecords=\"100\"\n");
        config = read_all(fixture);

        assert_string_equal(fixture->complaints, "");
        assert_int_equal(config.policy, POLICY_CLAIM);
        assert_int_equal(config.settle_usec, 250 * USEC_PER_MSEC);
        assert_int_equal(config.recovery, RECOVERY_POLICY_NONE);
        assert_int_equal(config.records, 100);
}

/* Of the main files only the strongest is read, not merged with the others. */
static void test_main_hides(void **state) {
        Fixture *fixture = *state;
        Config config;

        put(fixture, USR_MAIN, "[Errord]\nPolicy=claim\nRecords=16\n");
        assert_int_equal(read_all(fixture).policy, POLICY_CLAIM);

        put(fixture, RUN_MAIN, "[Errord]\nPolicy=ignore\n");
        config = read_all(fixture);
        assert_int_equal(config.policy, POLICY_IGNORE);
        assert_int_equal(config.records, 4096);

        put(fixture, ETC_MAIN, "[Errord]\nSettleSec=1\n");
        config = read_all(fixture);
        assert_int_equal(config.policy, POLICY_OBSERVE);
        assert_int_equal(config.settle_usec, USEC_PER_SEC);
        assert_string_equal(fixture->complaints, "");
}

/* Drop-ins count by name, wherever they are, and more than the main file. */
static void test_dropins(void **state) {
        Fixture *fixture = *state;
        Config config;

        put(fixture, ETC_MAIN, "[Errord]\nPolicy=ignore\nRecords=20\nSettleSec=1\n");
        put(fixture, USR_DROPIN "50-b.conf", "[Errord]\nRecords=50\nSettleSec=50\n");
        put(fixture, ETC_DROPIN "10-a.conf", "[Errord]\nRecords=30\nSettleSec=10\n");
        put(fixture, RUN_DROPIN "90-c.conf", "[Errord]\nRecords=90\n");
        config = read_all(fixture);
        assert_int_equal(config.policy, POLICY_IGNORE);
        assert_int_equal(config.records, 90);
        assert_int_equal(config.settle_usec, 50 * USEC_PER_SEC);

        /* The same name in a stronger folder hides it whole. */
        put(fixture, RUN_DROPIN "50-b.conf", "[Errord]\nPolicy=claim\n");
        config = read_all(fixture);
        assert_int_equal(config.policy, POLICY_CLAIM);
        assert_int_equal(config.settle_usec, 10 * USEC_PER_SEC);
        put(fixture, ETC_DROPIN "50-b.conf", "");
        assert_int_equal(read_all(fixture).policy, POLICY_IGNORE);
        put_link(fixture, ETC_DROPIN "90-c.conf", "/dev/null");
        assert_int_equal(read_all(fixture).records, 30);

        assert_string_equal(fixture->complaints, "");
}

static void test_other_names(void **state) {
        Fixture *fixture = *state;
        static const char *const names[] = {
                "conf", ".conf", ".hidden.conf", "a.conf~", "a.conf.bak", "a.confi", "README",
        };
        Config config;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                char name[64];

                (void) snprintf(name, sizeof(name), ETC_DROPIN "%s", names[i]);
                put(fixture, name, "[Errord]\nPolicy=claim\nnonsense\n");
        }

        config = read_all(fixture);
        assert_defaults(&config);
        assert_string_equal(fixture->complaints, "");
}

/* As systemd.syntax(7) has it: the last value in a file, also if its section is there twice. */
static void test_repeated(void **state) {
        Fixture *fixture = *state;
        Config config;

        put(fixture,
            ETC_MAIN,
            "[Errord]\nPolicy=ignore\nPolicy=observe\nRecords=16\nPolicy=claim\n[Errord]\nRecords=17\n");
        config = read_all(fixture);

        assert_int_equal(config.policy, POLICY_CLAIM);
        assert_int_equal(config.records, 17);
        assert_string_equal(fixture->complaints, "");
}

static void test_bad_values(void **state) {
        Fixture *fixture = *state;
        Config config;

        put(fixture, USR_MAIN, "[Errord]\nPolicy=Claim\n\nSettleSec=2d\nRecovery=\nRecords=15\n");
        put(fixture, ETC_DROPIN "a.conf", "[Errord]\nRecords=17\n");
        put(fixture, ETC_DROPIN "b.conf", "[Errord]\nRecords=-1\n#\nPolicy\nSettleSec=9\n");
        config = read_all(fixture);

        /* What is bad changes nothing, the rest of the file counts. */
        assert_int_equal(config.policy, POLICY_OBSERVE);
        assert_int_equal(config.recovery, RECOVERY_POLICY_RESET);
        assert_int_equal(config.records, 17);
        assert_int_equal(config.settle_usec, 9 * USEC_PER_SEC);
        assert_string_equal(fixture->complaints,
                            "/usr/lib/zpci-errord.conf:2: Policy=Claim is not a valid value\n"
                            "/usr/lib/zpci-errord.conf:4: SettleSec=2d is out of range\n"
                            "/usr/lib/zpci-errord.conf:5: Recovery= is not a valid value\n"
                            "/usr/lib/zpci-errord.conf:6: Records=15 is out of range\n"
                            "/etc/zpci-errord.conf.d/b.conf:4: Policy= is not a valid value\n"
                            "/etc/zpci-errord.conf.d/b.conf:2: Records=-1 is not a valid value\n");
}

static void test_unknown(void **state) {
        Fixture *fixture = *state;

        put(fixture,
            ETC_MAIN,
            "Outside=1\n[Errord]\nSettle=1\nPolicy=claim\npolicy=ignore\nSettle=2\n[Misc]\nPolicy=ignore\nOther=1\n[Empty]\n");
        assert_int_equal(read_all(fixture).policy, POLICY_CLAIM);
        assert_string_equal(fixture->complaints,
                            "/etc/zpci-errord.conf:1: Outside is outside of a section\n"
                            "/etc/zpci-errord.conf:3: unknown key Settle\n"
                            "/etc/zpci-errord.conf:5: unknown key policy\n"
                            "/etc/zpci-errord.conf:8: unknown section [Misc]\n");
}

/* A file that is bad as a whole is one complaint, and the others are read. */
static void test_bad_files(void **state) {
        Fixture *fixture = *state;
        char path[PATH_MAX], big[65537];

        memset(big, '#', sizeof(big));
        put(fixture, ETC_MAIN, "[Errord\nPolicy=claim\n");
        put_bytes(fixture, ETC_DROPIN "a.conf", big, sizeof(big));
        put_link(fixture, ETC_DROPIN "b.conf", "b.conf");
        put_link(fixture, ETC_DROPIN "c.conf", "nowhere");
        (void) snprintf(path, sizeof(path), "%s" ETC_DROPIN "d.conf", fixture->root);
        assert_return_code(mkdir(path, 0755), errno);
        (void) snprintf(path, sizeof(path), "%s" ETC_DROPIN "e.conf", fixture->root);
        assert_return_code(mkfifo(path, 0644), errno);
        put(fixture, ETC_DROPIN "z.conf", "[Errord]\nRecords=99");

        assert_int_equal(read_all(fixture).records, 99);
        assert_string_equal(
                fixture->complaints,
                "/etc/zpci-errord.conf:1: Missing bracket\n"
                "/etc/zpci-errord.conf.d/a.conf:0: is no regular file of at most 65536 bytes\n"
                "/etc/zpci-errord.conf.d/b.conf:0: Too many levels of symbolic links\n"
                "/etc/zpci-errord.conf.d/c.conf:0: No such file or directory\n"
                "/etc/zpci-errord.conf.d/d.conf:0: is no regular file of at most 65536 bytes\n"
                "/etc/zpci-errord.conf.d/e.conf:0: is no regular file of at most 65536 bytes\n");
}

static void test_bad_folder(void **state) {
        Fixture *fixture = *state;
        char path[PATH_MAX];

        (void) snprintf(path, sizeof(path), "%s/run/zpci-errord.conf.d", fixture->root);
        assert_return_code(rmdir(path), errno);
        put(fixture, "/run/zpci-errord.conf.d", "");
        put(fixture, USR_DROPIN "a.conf", "[Errord]\nRecords=99\n");

        assert_int_equal(read_all(fixture).records, 99);
        assert_string_equal(fixture->complaints, "/run/zpci-errord.conf.d:0: Not a directory\n");
}

/* Whatever bytes: no crash, and no value out of its range. */
static void test_garbage(void **state) {
        static const char alphabet[] = "[]=;#\\\"\n\r\t PolicyRecordsErrord019\xff\x80";
        Fixture *fixture = *state;
        uint32_t random = 1;

        for (unsigned round = 0; round < 500; round++) {
                char bytes[400];
                size_t size = round % sizeof(bytes);
                Config config;

                for (size_t i = 0; i < size; i++) {
                        random = random * 1664525U + 1013904223U;
                        bytes[i] =
                                alphabet[(random >> 16) % sizeof(alphabet)]; /* and the zero byte */
                }
                if (round % 2 && size > 9)
                        memcpy(bytes, "[Errord]\n", 9);

                put_bytes(fixture, ETC_MAIN, bytes, size);
                config = read_all(fixture);
                fixture->complaints[0] = '\0';
                assert_in_range(config.records, RING_SLOTS_MIN, RING_SLOTS_MAX);
                assert_in_range(config.policy, 0, _POLICY_MAX - 1);
                assert_in_range(config.settle_usec, 0, CONFIG_SETTLE_USEC_MAX);
        }
}

static void test_set(void **state) {
        static const struct {
                const char *key, *value;
                int result;
        } cases[] = {
                { "Policy", "observe", 0 },
                { "Policy", "claim", 0 },
                { "Policy", "ignore", 0 },
                { "Policy", "", -EINVAL },
                { "Policy", "claims", -EINVAL },
                { "SettleSec", "0", 0 },
                { "SettleSec", "1d", 0 },
                { "SettleSec", "86401", -ERANGE },
                { "SettleSec", "99999999999999999999", -ERANGE },
                { "SettleSec", "-1", -EINVAL },
                { "SettleSec", "1.5", -EINVAL },
                { "Recovery", "reset", 0 },
                { "Recovery", "none", 0 },
                { "Recovery", "yes", -EINVAL },
                { "Records", "16", 0 },
                { "Records", "1048576", 0 },
                { "Records", "15", -ERANGE },
                { "Records", "1048577", -ERANGE },
                { "Records", "0x20", -EINVAL },
                { "records", "16", -ENOENT },
                { "", "", -ENOENT },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Config config;

                config_defaults(&config);
                assert_int_equal(config_set(&config, cases[i].key, cases[i].value),
                                 cases[i].result);
                if (cases[i].result < 0)
                        assert_defaults(&config);
        }
}

static void test_policy(void **state) {
        Config config;

        config_defaults(&config);
        assert_int_equal(config_set(&config, "Policy", "claim"), 0);
        assert_int_equal(config_policy(&config, false, POLICY_OBSERVE), POLICY_CLAIM);
        assert_int_equal(config_policy(&config, true, POLICY_OBSERVE), POLICY_OBSERVE);
        assert_int_equal(config_policy(&config, true, POLICY_IGNORE), POLICY_IGNORE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(test_all_keys, setup, teardown),
                cmocka_unit_test_setup_teardown(test_main_hides, setup, teardown),
                cmocka_unit_test_setup_teardown(test_dropins, setup, teardown),
                cmocka_unit_test_setup_teardown(test_other_names, setup, teardown),
                cmocka_unit_test_setup_teardown(test_repeated, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_values, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_folder, setup, teardown),
                cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
                cmocka_unit_test(test_set),
                cmocka_unit_test(test_policy),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
