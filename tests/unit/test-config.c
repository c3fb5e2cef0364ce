/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config-fixture.h"

static void assert_defaults(const Config *config) {
        assert_int_equal(config->function.policy, POLICY_OBSERVE);
        assert_int_equal(config->function.settle_usec, 5 * USEC_PER_SEC);
        assert_int_equal(config->function.recovery, RECOVERY_POLICY_RESET);
        assert_int_equal(config->function.limit.count, 5);
        assert_int_equal(config->function.limit.interval_usec, 600 * USEC_PER_SEC);
        assert_int_equal(config->records, 4096);
        assert_true(config->witness);
        assert_int_equal(config->n_rules, 0);
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
            "# comment\n; comment\n\n[Errord]\nPolicy=claim\n  SettleSec = 250ms # why\nRecovery=none\nRecords=\"100\"\nRecoveryLimit=3/1h\nWitness=off\n");
        config = read_all(fixture);

        assert_string_equal(fixture->complaints, "");
        assert_int_equal(config.function.policy, POLICY_CLAIM);
        assert_int_equal(config.function.settle_usec, 250 * USEC_PER_MSEC);
        assert_int_equal(config.function.recovery, RECOVERY_POLICY_NONE);
        assert_int_equal(config.records, 100);
        assert_false(config.witness);
        assert_int_equal(config.function.limit.count, 3);
        assert_int_equal(config.function.limit.interval_usec, 3600 * USEC_PER_SEC);
}

/* Of the main files only the strongest is read, not merged with the others. */
static void test_main_hides(void **state) {
        Fixture *fixture = *state;
        Config config;

        put(fixture, USR_MAIN, "[Errord]\nPolicy=claim\nRecords=16\n");
        assert_int_equal(read_all(fixture).function.policy, POLICY_CLAIM);

        put(fixture, RUN_MAIN, "[Errord]\nPolicy=ignore\n");
        config = read_all(fixture);
        assert_int_equal(config.function.policy, POLICY_IGNORE);
        assert_int_equal(config.records, 4096);

        put(fixture, ETC_MAIN, "[Errord]\nSettleSec=1\n");
        config = read_all(fixture);
        assert_int_equal(config.function.policy, POLICY_OBSERVE);
        assert_int_equal(config.function.settle_usec, USEC_PER_SEC);
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
        assert_int_equal(config.function.policy, POLICY_IGNORE);
        assert_int_equal(config.records, 90);
        assert_int_equal(config.function.settle_usec, 50 * USEC_PER_SEC);

        /* The same name in a stronger folder hides it whole. */
        put(fixture, RUN_DROPIN "50-b.conf", "[Errord]\nPolicy=claim\n");
        config = read_all(fixture);
        assert_int_equal(config.function.policy, POLICY_CLAIM);
        assert_int_equal(config.function.settle_usec, 10 * USEC_PER_SEC);
        put(fixture, ETC_DROPIN "50-b.conf", "");
        assert_int_equal(read_all(fixture).function.policy, POLICY_IGNORE);
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

        assert_int_equal(config.function.policy, POLICY_CLAIM);
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
        assert_int_equal(config.function.policy, POLICY_OBSERVE);
        assert_int_equal(config.function.recovery, RECOVERY_POLICY_RESET);
        assert_int_equal(config.records, 17);
        assert_int_equal(config.function.settle_usec, 9 * USEC_PER_SEC);
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
        assert_int_equal(read_all(fixture).function.policy, POLICY_CLAIM);
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
        static const char alphabet[] = "[]=;#\\\"\n\r\t PolicyRecordsErrordFunction:*019\xff\x80";
        static const char *const beginnings[] = { "",
                                                  "[Errord]\n",
                                                  "[Function *]\nPolicy=claim\n" };
        Fixture *fixture = *state;
        uint32_t random = 1;

        for (unsigned round = 0; round < 500; round++) {
                const char *beginning = beginnings[round % ELEMENTSOF(beginnings)];
                char bytes[400];
                size_t size = round % sizeof(bytes);
                FunctionConfig function;
                Config config;

                for (size_t i = 0; i < size; i++) {
                        random = random * 1664525U + 1013904223U;
                        bytes[i] =
                                alphabet[(random >> 16) % sizeof(alphabet)]; /* and the zero byte */
                }
                if (size > strlen(beginning))
                        memcpy(bytes, beginning, strlen(beginning));

                put_bytes(fixture, ETC_MAIN, bytes, size);
                config = read_all(fixture);
                fixture->complaints[0] = '\0';
                assert_in_range(config.records, RING_SLOTS_MIN, RING_SLOTS_MAX);

                function = config_for(&config, "0001:00:00.0", 0x10, 0x104, false, POLICY_OBSERVE);
                assert_in_range(function.policy, 0, _POLICY_MAX - 1);
                assert_in_range(function.settle_usec, 0, CONFIG_SETTLE_USEC_MAX);
                assert_in_range(function.limit.count, 0, RECOVERY_LIMIT_MAX);
                config_done(&config);
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
                { "RecoveryLimit", "1/1us", 0 },
                { "RecoveryLimit", "off", 0 },
                { "RecoveryLimit", "0/1min", -ERANGE },
                { "RecoveryLimit", "5", -EINVAL },
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
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
