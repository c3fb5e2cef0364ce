/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The files in dbus/, which are the documentation, say what the vtables say. argv: these files. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bus-fixture.h"
#include "names.h"

static char **files;

static char *read_file(const char *path) {
        char *text = calloc(1, 65536);
        FILE *file = fopen(path, "re");

        if (!file)
                fail_msg("%s: %s", path, strerror(errno));
        assert_non_null(text);
        assert_true(fread(text, 1, 65535, file) < 65535);
        assert_int_equal(fclose(file), 0);
        return text;
}

static const char blanks[] = " \n\t\r";

/* Takes out comments, and leaves one line a tag. */
static void normalise(char *xml) {
        char *comment, *end, *to = xml;

        while ((comment = strstr(xml, "<!--"))) {
                end = strstr(comment, "-->");
                assert_non_null(end);
                memmove(comment, end + 3, strlen(end + 3) + 1);
        }

        for (const char *from = xml; *from; from++) {
                const char *next = from + strspn(from, blanks);

                if (next == from)
                        *to++ = *from;
                else if (*next == '<')
                        *to++ = '\n';
                else
                        *to++ = ' ';
                if (next > from)
                        from = next - 1;
        }
        *to = 0;
}

/* Cuts out one interface. */
static char *interface_of(char *xml, const char *name) {
        char head[128], *start, *end;

        normalise(xml);
        (void) snprintf(head, sizeof(head), "<interface name=\"%s\">", name);
        start = strstr(xml, head);
        if (!start)
                fail_msg("no %s in: %s", head, xml);
        end = strstr(start, "</interface>");
        assert_non_null(end);
        *end = 0;
        return start;
}

/* The next start tag, without its end: <a/> and <a></a> are the same. */
static const char *next_tag(char **rest) {
        char *line;

        do
                line = strtok_r(NULL, "\n", rest);
        while (line && line[1] == '/');

        if (line)
                line[strcspn(line, "/>")] = 0;
        return line ?: "(the end)";
}

static void assert_same_tags(char *documented, char *built) {
        const char *tag;

        do {
                tag = next_tag(&documented);
                assert_string_equal(tag, next_tag(&built));
        } while (*tag == '<');
}

static void check(BusFixture *f, const char *file, const char *path, const char *interface) {
        char *documented = read_file(file), *built;
        sd_bus_message *answer;
        const char *xml = NULL;

        answer = bus_fixture_call(f, path, "org.freedesktop.DBus.Introspectable", "Introspect", "");
        assert_true(sd_bus_message_read(answer, "s", &xml) > 0);
        built = strdup(xml);
        assert_non_null(built);

        assert_same_tags(interface_of(documented, interface), interface_of(built, interface));

        free(built);
        free(documented);
        sd_bus_message_unref(answer);
}

static void test_manager(void **state) {
        check(*state, files[0], ERRORD_MANAGER_PATH, ERRORD_MANAGER_INTERFACE);
}

static void test_function(void **state) {
        check(*state, files[1], ERRORD_FUNCTION_PREFIX "/00000010", ERRORD_FUNCTION_INTERFACE);
}

int main(int argc, char **argv) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                        test_manager, bus_fixture_setup_objects, bus_fixture_teardown_objects),
                cmocka_unit_test_setup_teardown(
                        test_function, bus_fixture_setup_objects, bus_fixture_teardown_objects),
        };

        if (argc != 3) {
                (void) fprintf(stderr, "Usage: %s MANAGER.xml FUNCTION.xml\n", argv[0]);
                return 2;
        }
        files = argv + 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
