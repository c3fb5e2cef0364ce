/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* test-hook-domain-xml HOSTDEV INTERFACE NVME NONE: the domains of tests/libvirt/ */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "domain-xml.h"
#include "util.h"

#define DOMAIN(devices)        "<domain><devices>" devices "</devices></domain>"
#define HOSTDEV(source)        "<hostdev type='pci'><source>" source "</source></hostdev>"
#define ADDRESS(d, b, s, f)    "<address domain='" d "' bus='" b "' slot='" s "' function='" f "'/>"
#define HOSTDEV_AT(d, b, s, f) HOSTDEV(ADDRESS(d, b, s, f))
#define ONE                    HOSTDEV_AT("0x0001", "0x00", "0x00", "0x0")
#define FILLER                 "<metadata><x y='0123456789'>0123456789</x></metadata>\n"

static char **domain_files;

static DomainFunctions functions;

static int read_text(const char *text) {
        return domain_functions_read(text, strlen(text), &functions);
}

/* expected: the addresses, each with a blank behind it */
static void assert_functions(const char *expected) {
        char text[DOMAIN_FUNCTIONS_MAX * PCI_ADDRESS_SIZE] = "";

        for (size_t i = 0; i < functions.n; i++) {
                assert_true(pci_address_valid(functions.addresses[i]));
                strcat(strcat(text, functions.addresses[i]), " ");
        }
        assert_string_equal(text, expected);
}

static void assert_finds(const char *text, const char *expected) {
        assert_int_equal(read_text(text), 0);
        assert_functions(expected);
        assert_int_equal(functions.n_invalid, 0);
}

static void assert_finds_in_file(size_t n, const char *expected) {
        char text[16384];
        FILE *file = fopen(domain_files[n], "re");
        size_t size;

        assert_non_null(file);
        size = fread(text, 1, sizeof(text), file);
        assert_true(feof(file));
        (void) fclose(file);

        assert_int_equal(domain_functions_read(text, size, &functions), 0);
        assert_functions(expected);
        assert_int_equal(functions.n_invalid, 0);
}

static void test_shapes(void **state) {
        assert_finds_in_file(0, "0001:00:00.0 00a2:00:00.0 ");
        assert_finds_in_file(1, "0002:00:02.1 0002:00:03.0 ");
        assert_finds_in_file(2, "0001:00:00.0 0006:00:00.0 ");
        assert_finds_in_file(3, "");
}

static void test_guest_view(void **state) {
        /* The guest's address is beside the source, and so it is without a source. */
        assert_finds(DOMAIN("<hostdev type='pci'>" ADDRESS("1", "0", "0", "0") "</hostdev>"), "");
        assert_finds(
                DOMAIN("<interface type='hostdev'>" ADDRESS("1", "0", "0", "0") "</interface>"),
                "");
        assert_finds(DOMAIN("<disk type='nvme'>" ADDRESS("1", "0", "0", "0") "</disk>"), "");
        assert_finds(DOMAIN(HOSTDEV("<zpci uid='0x1' fid='0x1' domain='1'/>")), "");
        assert_finds(DOMAIN(HOSTDEV("<x>" ADDRESS("1", "0", "0", "0") "</x>")), "");
}

static void test_elsewhere(void **state) {
        assert_finds("<domain>" ONE "</domain>", "");
        assert_finds("<domain><metadata><domain><devices>" ONE
                     "</devices></domain></metadata></domain>",
                     "");
        assert_finds("<domain><devices/><devices>" ONE "</devices></domain>", "0001:00:00.0 ");
        assert_finds(DOMAIN("<!--" ONE "--><![CDATA[" ONE "]]><?pi " ONE "?>"), "");
        assert_finds(DOMAIN("<hostdev><source>" ADDRESS("1", "0", "0", "0") "</source></hostdev>"),
                     "");
        assert_finds(DOMAIN("<interface type='network'><source>" ADDRESS(
                             "1", "0", "0", "0") "</source></interface>"),
                     "");
        assert_finds(DOMAIN("<Hostdev type='pci'><source>" ADDRESS(
                             "1", "0", "0", "0") "</source></Hostdev>"),
                     "");
        assert_finds(DOMAIN("<hostdev type='PCI'><source>" ADDRESS(
                             "1", "0", "0", "0") "</source></hostdev>"),
                     "");
        assert_finds(
                DOMAIN(HOSTDEV("<address type='drive' domain='1' bus='0' slot='0' function='0'/>")),
                "");
        assert_finds(DOMAIN("<hostdev type='pci'>" HOSTDEV_AT("1", "0", "0", "0") "</hostdev>"),
                     "");
}

static void test_namespaces(void **state) {
        assert_finds("<domain xmlns:a='urn:a'><devices><a:hostdev type='pci'><source>" ADDRESS(
                             "1", "0", "0", "0") "</source></a:hostdev>" ONE "</devices></domain>",
                     "0001:00:00.0 ");
        assert_finds("<domain xmlns:a='urn:a'><devices><hostdev a:type='pci'><source>" ADDRESS(
                             "1", "0", "0", "0") "</source></hostdev></devices></domain>",
                     "");
        /* libvirt finds nothing in a default namespace either. */
        assert_int_equal(read_text("<domain xmlns='urn:a'><devices>" ONE "</devices></domain>"),
                         -EINVAL);
}

static void test_numbers(void **state) {
        assert_finds(DOMAIN(HOSTDEV_AT("0xffffffff", "0xff", "0x1f", "0x7")), "ffffffff:ff:1f.7 ");
        assert_finds(DOMAIN(HOSTDEV_AT("4096", "10", "017", "7")), "1000:0a:0f.7 ");
        assert_finds(DOMAIN(HOSTDEV_AT("0X1", "0x0A", "0x1F", "&#48;")), "0001:0a:1f.0 ");
        assert_finds(DOMAIN(HOSTDEV_AT("0", "0", "0", "0")), "0000:00:00.0 ");
        assert_finds(DOMAIN(HOSTDEV_AT("0x0000000000000000000001", "0", "0", "0")),
                     "0001:00:00.0 ");
        assert_finds(DOMAIN(HOSTDEV("<address bus='3'/>")), "0000:03:00.0 ");
        assert_finds(DOMAIN(HOSTDEV("<address type='pci' domain='3'/>")), "0003:00:00.0 ");
}

static void test_invalid_numbers(void **state) {
        static const char *const invalid[] = {
                HOSTDEV_AT("0x100000000", "0", "0", "0"),
                HOSTDEV_AT("1", "0x100", "0", "0"),
                HOSTDEV_AT("1", "0", "0x20", "0"),
                HOSTDEV_AT("1", "0", "0", "8"),
                HOSTDEV_AT("-1", "0", "0", "0"),
                HOSTDEV_AT("+1", "0", "0", "0"),
                HOSTDEV_AT(" 1", "0", "0", "0"),
                HOSTDEV_AT("1 ", "0", "0", "0"),
                HOSTDEV_AT("", "0", "0", "0"),
                HOSTDEV_AT("0x", "0", "0", "0"),
                HOSTDEV_AT("0xg", "0", "0", "0"),
                HOSTDEV_AT("08", "0", "0", "0"),
                HOSTDEV_AT("a", "0", "0", "0"),
                HOSTDEV_AT("1.0", "0", "0", "0"),
                HOSTDEV_AT("99999999999999999999999999", "0", "0", "0"),
                HOSTDEV_AT("0x10000000000000001", "0", "0", "0"),
                HOSTDEV("<address/>"),
                HOSTDEV("<address type='pci'/>"),
                HOSTDEV("<address multifunction='on'/>"),
        };
        char text[1024];

        for (size_t i = 0; i < ELEMENTSOF(invalid); i++) {
                /* It is counted, and does not hide the device behind it. */
                (void) snprintf(text, sizeof(text), DOMAIN("%s" ONE), invalid[i]);
                if (read_text(text) != 0 || functions.n_invalid != 1 || functions.n != 1)
                        fail_msg("%s was taken for %s", invalid[i], functions.addresses[0]);
                assert_functions("0001:00:00.0 ");
        }
}

static void test_each_once(void **state) {
        assert_finds(
                DOMAIN(ONE HOSTDEV_AT("2", "0", "0", "0") ONE HOSTDEV_AT(
                        "1",
                        "0",
                        "0",
                        "0") "<interface type='hostdev'><source><address type='pci' domain='2'/></source></interface>"
                             "<disk type='nvme'><source>" ADDRESS(
                                     "3", "0", "0", "0") "</source></disk>"),
                "0001:00:00.0 0002:00:00.0 0003:00:00.0 ");
}

static void test_no_domain(void **state) {
        static const char *const not_well_formed[] = {
                "",
                " ",
                "\n",
                "hello",
                "<domain>",
                "<domain/",
                "<domain/><domain/>",
                "<domain></devices>",
                "<domain><devices>" ONE,
                DOMAIN("<hostdev type=pci/>"),
                DOMAIN("<hostdev type='pci' type='pci'/>"),
                DOMAIN("\x01"),
                DOMAIN("\xff\xfe"),
                DOMAIN("&undefined;"),
        };
        static const char *const others[] = {
                "<network/>",
                "<a><domain/></a>",
                "<Domain/>",
                "<d:domain xmlns:d='urn:d'/>",
        };

        for (size_t i = 0; i < ELEMENTSOF(not_well_formed); i++)
                if (read_text(not_well_formed[i]) != -EBADMSG)
                        fail_msg("\"%s\" is well-formed", not_well_formed[i]);
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                if (read_text(others[i]) != -EINVAL)
                        fail_msg("\"%s\" is a domain", others[i]);

        assert_int_equal(domain_functions_read(NULL, 0, &functions), -EBADMSG);
        assert_int_equal(domain_functions_read("<domain>\0</domain>", 18, &functions), -EBADMSG);
        assert_finds("<domain/>", "");
}

/* Whatever is declared there: it is not even read. */
static void test_document_type(void **state) {
        static const char *const documents[] = {
                "<!DOCTYPE domain>" DOMAIN(ONE),
                "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'>" DOMAIN(ONE),
                "<!DOCTYPE domain PUBLIC 'x' 'http://127.0.0.1:1/x.dtd'>" DOMAIN(ONE),
                "<!DOCTYPE domain [<!ENTITY x '1'>]>" DOMAIN(HOSTDEV("<address domain='&x;'/>")),
                "<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///dev/zero'>]>" DOMAIN("&x;"),
                "<!DOCTYPE domain [<!ATTLIST hostdev type CDATA 'pci'>]>" DOMAIN(ONE),
                "<!DOCTYPE domain [<!ENTITY % p SYSTEM '/dev/zero'> %p;]>" DOMAIN(ONE),
        };

        for (size_t i = 0; i < ELEMENTSOF(documents); i++)
                if (read_text(documents[i]) != -EBADMSG)
                        fail_msg("\"%s\" was read", documents[i]);
}

/* Ten to the power of nine, if anybody expanded it. */
static void test_billion_laughs(void **state) {
        char text[4096] = "<!DOCTYPE domain [<!ENTITY e0 'ha'>";
        size_t n;

        for (int i = 1; i < 10; i++) {
                n = strlen(text);
                n += (size_t) snprintf(text + n, sizeof(text) - n, "<!ENTITY e%d '", i);
                for (int j = 0; j < 10; j++)
                        n += (size_t) snprintf(text + n, sizeof(text) - n, "&e%d;", i - 1);
                (void) snprintf(text + n, sizeof(text) - n, "'>");
        }
        strcat(text, "]>" DOMAIN("<hostdev type='&e9;'/>" ONE));

        assert_int_equal(read_text(text), -EBADMSG);
}

static void test_too_many(void **state) {
        static char
                text[(DOMAIN_FUNCTIONS_MAX + 1) * sizeof(HOSTDEV_AT("0x0000", "0", "0", "0")) + 64];
        size_t n = 0;

        n += (size_t) snprintf(text, sizeof(text), "<domain><devices>");
        for (unsigned i = 0; i < DOMAIN_FUNCTIONS_MAX; i++)
                n += (size_t) snprintf(
                        text + n, sizeof(text) - n, HOSTDEV_AT("0x%04x", "0", "0", "0"), i);
        strcpy(text + n, ONE "</devices></domain>"); /* is there already */
        assert_int_equal(read_text(text), 0);
        assert_int_equal(functions.n, DOMAIN_FUNCTIONS_MAX);
        assert_string_equal(functions.addresses[DOMAIN_FUNCTIONS_MAX - 1], "03ff:00:00.0");

        strcpy(text + n, HOSTDEV_AT("0xffff", "0", "0", "0") "</devices></domain>");
        assert_int_equal(read_text(text), -E2BIG);
}

static void test_nested(void **state) {
        enum {
                DEPTH = 100000
        };
        static char text[2 * DEPTH * sizeof("<devices>") + sizeof("<domain></domain>")];
        char *p = stpcpy(text, "<domain>");

        for (size_t i = 0; i < DEPTH; i++)
                p = stpcpy(p, "<devices>");
        for (size_t i = 0; i < DEPTH; i++)
                p = stpcpy(p, "</devices>");
        strcpy(p, "</domain>");
        assert_int_equal(read_text(text), -EBADMSG);
}

static void test_huge(void **state) {
        enum {
                COUNT = 10 * 1024 * 1024 / (sizeof(FILLER) - 1)
        };
        char *text = malloc(COUNT * (sizeof(FILLER) - 1) + 1024), *p;

        assert_non_null(text);
        p = stpcpy(text, "<domain>");
        for (size_t i = 0; i < COUNT; i++)
                p = stpcpy(p, FILLER);
        strcpy(p, "<devices>" ONE "</devices></domain>");
        assert_finds(text, "0001:00:00.0 ");
        free(text);
}

int main(int argc, char *argv[]) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_shapes),        cmocka_unit_test(test_guest_view),
                cmocka_unit_test(test_elsewhere),     cmocka_unit_test(test_namespaces),
                cmocka_unit_test(test_numbers),       cmocka_unit_test(test_invalid_numbers),
                cmocka_unit_test(test_each_once),     cmocka_unit_test(test_no_domain),
                cmocka_unit_test(test_document_type), cmocka_unit_test(test_billion_laughs),
                cmocka_unit_test(test_too_many),      cmocka_unit_test(test_nested),
                cmocka_unit_test(test_huge),
        };

        if (argc != 5)
                return 2;
        domain_files = argv + 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
