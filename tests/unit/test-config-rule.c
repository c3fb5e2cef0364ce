/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sections [Function …]: which functions they are about, and what is stronger than what. */

#include "config-fixture.h"

#define ADDRESS "0001:00:00.0"
#define FID     0x10U
#define PCHID   0x104U

static FunctionConfig of_example(const Config *config) {
        return config_for(config, ADDRESS, FID, PCHID, false, POLICY_OBSERVE);
}

/* Whether a section with this selector is about a function; -EINVAL if it cannot be. */
static int selects(const char *selector, const char *address, uint32_t fid, uint16_t pchid) {
        Config config;
        ConfigRule *rule;
        int r;

        config_defaults(&config);
        r = config_add_rule(&config, selector, false, &rule);
        assert_int_equal(config.n_rules, r == 0 ? 1 : 0);
        if (r == 0) {
                assert_int_equal(config_rule_set(rule, "Policy", "claim"), 0);
                r = config_for(&config, address, fid, pchid, false, POLICY_OBSERVE).policy ==
                    POLICY_CLAIM;
        }

        config_done(&config);
        return r;
}

static void test_selectors(void **state) {
        static const struct {
                const char *selector;
                int result;
        } cases[] = {
                { ADDRESS, 1 },
                { "0001:00:00.1", 0 },
                { "*", 1 },
                { "0001:*", 1 },
                { "0002:*", 0 },
                { "000[1-3]:??:00.?", 1 },
                { "000[!1]:*", 0 },
                { "*.[0-7]", 1 },
                { "0001:00:00.", -EINVAL },
                { "00010:00:00.0", 0 }, /* another address */
                { "0001:00:00", -EINVAL },
                { "000[1:00:00.0", -EINVAL },
                { "0001:00:00.0 ", -EINVAL },
                { "0001:00:1F.0", -EINVAL }, /* the kernel writes small letters */
                { "../*", -EINVAL },
                { "eth*", -EINVAL },
                { "", -EINVAL },
                { "fid:10", 1 },
                { "fid:0x10", 1 },
                { "fid:00000010", 1 },
                { "fid:16", 0 },
                { "fid:ffffffff", 0 },
                { "fid:100000000", -EINVAL },
                { "fid:", -EINVAL },
                { "fid:0x", -EINVAL },
                { "fid: 10", -EINVAL },
                { "fid:1?", -EINVAL },
                { "FID:10", -EINVAL },
                { "pchid:104", 1 },
                { "pchid:0x0104", 1 },
                { "pchid:0x105", 0 },
                { "pchid:10000", -EINVAL },
                { "pchid:", -EINVAL },
                { "uid:1", -EINVAL },
        };
        char much[300];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (selects(cases[i].selector, ADDRESS, FID, PCHID) != cases[i].result)
                        fail_msg("\"%s\"", cases[i].selector);

        memset(much, '*', sizeof(much));
        much[sizeof(much) - 1] = '\0';
        assert_int_equal(selects(much, ADDRESS, FID, PCHID), -EINVAL);
        much[63] = '\0';
        assert_int_equal(selects(much, ADDRESS, FID, PCHID), 1);

        assert_int_equal(selects("fid:ffffffff", ADDRESS, UINT32_MAX, 0), 1);
        assert_int_equal(selects("pchid:0", ADDRESS, 0, 0), 1);
        assert_int_equal(selects("00010000:00:1f.7", "00010000:00:1f.7", 0, 0), 1);
}

/* Sets the policy in one of the places that can say it. They are numbered from the weakest to the strongest. */
enum {
        IN_ERRORD,
        IN_OTHER_RULE,
        IN_UDEV,
        IN_ETC_RULE,
        _N_PLACES,
};

static void say(Config *config, unsigned place, const char *policy) {
        ConfigRule *rule;

        if (place == IN_ERRORD) {
                assert_int_equal(config_set(config, "Policy", policy), 0);
                return;
        }

        assert_int_equal(config_add_rule(config, "0001:*", place == IN_ETC_RULE, &rule), 0);
        assert_int_equal(config_rule_set(rule, "Policy", policy), 0);
}

/* Every combination of places, each saying claim while all weaker ones say ignore, in either order of files. */
static void test_precedence(void **state) {
        for (unsigned places = 1; places < 1U << _N_PLACES; places++)
                for (unsigned backwards = 0; backwards <= 1; backwards++) {
                        unsigned strongest = 31U - (unsigned) __builtin_clz(places);
                        bool has_policy = places & (1U << IN_UDEV);
                        Config config;

                        config_defaults(&config);
                        for (unsigned n = 0; n < _N_PLACES; n++) {
                                unsigned place = backwards ? _N_PLACES - 1 - n : n;

                                if (place != IN_UDEV && places & (1U << place))
                                        say(&config,
                                            place,
                                            place == strongest ? "claim" : "ignore");
                        }

                        assert_int_equal(
                                config_for(&config,
                                           ADDRESS,
                                           FID,
                                           PCHID,
                                           has_policy,
                                           strongest == IN_UDEV ? POLICY_CLAIM : POLICY_IGNORE)
                                        .policy,
                                POLICY_CLAIM);
                        config_done(&config);
                }
}

/* The property is about the policy alone; each key is looked for by itself. */
static void test_keys_apart(void **state) {
        FunctionConfig result;
        ConfigRule *rule;
        Config config;

        config_defaults(&config);
        assert_int_equal(config_add_rule(&config, "fid:10", true, &rule), 0);
        assert_int_equal(config_rule_set(rule, "SettleSec", "1"), 0);
        assert_int_equal(config_add_rule(&config, "*", true, &rule), 0);
        assert_int_equal(config_rule_set(rule, "Recovery", "none"), 0);
        assert_int_equal(config_add_rule(&config, "pchid:104", false, &rule), 0);
        assert_int_equal(config_rule_set(rule, "SettleSec", "2"), 0);
        assert_int_equal(config_rule_set(rule, "RecoveryLimit", "2/1h"), 0);
        assert_int_equal(config_rule_set(rule, "Policy", "ignore"), 0);

        result = config_for(&config, ADDRESS, FID, PCHID, true, POLICY_CLAIM);
        assert_int_equal(result.policy, POLICY_CLAIM);
        assert_int_equal(result.settle_usec, USEC_PER_SEC);
        assert_int_equal(result.recovery, RECOVERY_POLICY_NONE);
        assert_int_equal(result.limit.count, 2);

        result = config_for(&config, "0002:00:00.0", 0x20, 0x108, false, POLICY_CLAIM);
        assert_int_equal(result.policy, POLICY_OBSERVE);
        assert_int_equal(result.settle_usec, 5 * USEC_PER_SEC);
        assert_int_equal(result.recovery, RECOVERY_POLICY_NONE);
        assert_int_equal(result.limit.count, 5);

        /* A bad value leaves the key as if it were not there; the daemon's own keys are none of a rule's. */
        assert_int_equal(config_add_rule(&config, "*", true, &rule), 0);
        assert_int_equal(config_rule_set(rule, "Policy", "grab"), -EINVAL);
        assert_int_equal(config_rule_set(rule, "SettleSec", "2d"), -ERANGE);
        assert_int_equal(config_rule_set(rule, "Records", "16"), -ENOENT);
        result = of_example(&config);
        assert_int_equal(result.policy, POLICY_IGNORE);
        assert_int_equal(result.settle_usec, USEC_PER_SEC);

        config_done(&config);
}

/* The last section wins within a level: by the order of files, and by the order in a file. */
static void test_last_wins(void **state) {
        Fixture *fixture = *state;
        Config config;

        put(fixture,
            ETC_MAIN,
            "[Function fid:10]\nSettleSec=1\nPolicy=claim\n[Function 0001:*]\nSettleSec=2\n");
        config = read_all(fixture);
        assert_int_equal(of_example(&config).settle_usec, 2 * USEC_PER_SEC);
        assert_int_equal(of_example(&config).policy, POLICY_CLAIM);
        config_done(&config);

        put(fixture, ETC_DROPIN "50.conf", "[Function pchid:104]\nSettleSec=3\n");
        put(fixture, ETC_DROPIN "40.conf", "[Function fid:0x10]\nSettleSec=4\nRecovery=none\n");
        config = read_all(fixture);
        assert_int_equal(of_example(&config).settle_usec, 3 * USEC_PER_SEC);
        assert_int_equal(of_example(&config).recovery, RECOVERY_POLICY_NONE);
        config_done(&config);

        /* A section that is there twice is one, where the last of them is. */
        put(fixture,
            ETC_DROPIN "60.conf",
            "[Function fid:10]\nSettleSec=5\n[Function *]\nSettleSec=6\n[Function fid:10]\nSettleSec=7\n");
        config = read_all(fixture);
        assert_int_equal(of_example(&config).settle_usec, 7 * USEC_PER_SEC);
        config_done(&config);
        assert_string_equal(fixture->complaints, "");
}

/* Whose a file is depends on its folder, not on its name or on when it is read. */
static void test_folders(void **state) {
        static const struct {
                const char *name;
                bool administrator;
        } files[] = {
                { ETC_MAIN, true },
                { RUN_MAIN, false },
                { USR_MAIN, false },
                { ETC_DROPIN "10.conf", true },
                { RUN_DROPIN "90.conf", false },
                { USR_DROPIN "50.conf", false },
        };
        Fixture *fixture = *state;

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                char path[PATH_MAX];
                Config config;

                put(fixture, files[i].name, "[Function fid:10]\nPolicy=claim\n");
                config = read_all(fixture);
                assert_int_equal(of_example(&config).policy, POLICY_CLAIM);
                assert_int_equal(
                        config_for(&config, ADDRESS, FID, PCHID, true, POLICY_IGNORE).policy,
                        files[i].administrator ? POLICY_CLAIM : POLICY_IGNORE);
                config_done(&config);

                (void) snprintf(path, sizeof(path), "%s%s", fixture->root, files[i].name);
                assert_return_code(unlink(path), errno);
        }

        /* The one in /etc wins against a later file of another folder. */
        put(fixture, ETC_DROPIN "10.conf", "[Function fid:10]\nPolicy=claim\n");
        put(fixture, RUN_DROPIN "90.conf", "[Function fid:10]\nPolicy=ignore\n");
        {
                Config config = read_all(fixture);

                assert_int_equal(of_example(&config).policy, POLICY_CLAIM);
                config_done(&config);
        }
        assert_string_equal(fixture->complaints, "");
}

static void test_complaints(void **state) {
        Fixture *fixture = *state;
        Config config;

        put(fixture,
            ETC_MAIN,
            "[Function]\nPolicy=claim\n"
            "[Function fid:xyz]\nPolicy=claim\n"
            "[Function eth0]\nSettleSec=1\nPolicy=claim\n"
            "[Functions *]\nPolicy=claim\n"
            "[Function  fid:10]\nPolicy=grab\nRecords=20\nNonsense=1\nRecoveryLimit=99/1h\n"
            "[Function 0001:*]\nRecovery=none\n");
        config = read_all(fixture);
        assert_string_equal(
                fixture->complaints,
                "/etc/zpci-errord.conf:2: section [Function] is about no PCI address, fid: or pchid:\n"
                "/etc/zpci-errord.conf:4: section [Function fid:xyz] is about no PCI address, fid: or pchid:\n"
                "/etc/zpci-errord.conf:6: section [Function eth0] is about no PCI address, fid: or pchid:\n"
                "/etc/zpci-errord.conf:9: unknown section [Functions *]\n"
                "/etc/zpci-errord.conf:11: Policy=grab is not a valid value\n"
                "/etc/zpci-errord.conf:14: RecoveryLimit=99/1h is out of range\n"
                "/etc/zpci-errord.conf:12: unknown key Records\n"
                "/etc/zpci-errord.conf:13: unknown key Nonsense\n");
        assert_int_equal(config.n_rules, 2);
        assert_int_equal(config.records, 4096);
        assert_int_equal(of_example(&config).policy, POLICY_OBSERVE);
        assert_int_equal(of_example(&config).recovery, RECOVERY_POLICY_NONE);
        config_done(&config);
}

/* As many as fit into a file, of the kind that is hardest to match. */
static void test_many(void **state) {
        Fixture *fixture = *state;
        static char text[65536];
        size_t used = 0, n = 0;
        Config config;

        while (used < sizeof(text) - 100) {
                used += (size_t) snprintf(
                        text + used,
                        sizeof(text) - used,
                        "[Function *0*0*0*0*0*0*0*0*0*0*0*0*%04zx]\nPolicy=claim\n",
                        n++);
        }
        put(fixture, ETC_MAIN, text);
        config = read_all(fixture);
        assert_int_equal(config.n_rules, n);
        assert_int_equal(of_example(&config).policy, POLICY_OBSERVE);
        config_done(&config);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_selectors),
                cmocka_unit_test(test_precedence),
                cmocka_unit_test(test_keys_apart),
                cmocka_unit_test_setup_teardown(test_last_wins, setup, teardown),
                cmocka_unit_test_setup_teardown(test_folders, setup, teardown),
                cmocka_unit_test_setup_teardown(test_complaints, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
