/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <libeconf.h>
#include <libeconf_ext.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config-private.h"
#include "util.h"

#define SECTION_DAEMON   "Errord"
#define SECTION_FUNCTION "Function"

#define CONFIG_SIZE_MAX 65536 /* libeconf needs minutes for a file of megabytes */

static void econf_freeFilep(econf_file **file) {
        if (*file)
                econf_freeFile(*file);
}

static void econf_freeArrayp(char ***array) {
        if (*array)
                econf_freeArray(*array);
}

static void econf_freeExtValuep(econf_ext_value **value) {
        if (*value)
                econf_freeExtValue(*value);
}

/* One section of a file. */
typedef struct Section {
        econf_file *file;
        const char *name; /* NULL: the lines before the first section */
        char **keys;
        size_t n_keys;
        ConfigRule *rule; /* NULL if it is no section [Function …] */
} Section;

static void section_done(Section *section) {
        econf_freeArrayp(&section->keys);
}

static bool key_known(bool in_rule, const char *key) {
        for (size_t i = 0; config_key(in_rule, i); i++)
                if (strcmp(key, config_key(in_rule, i)) == 0)
                        return true;

        return false;
}

void config_complain(const ConfigReader *reader, uint64_t line, const char *format, ...) {
        char text[256];
        va_list args;

        va_start(args, format);
        (void) vsnprintf(text, sizeof(text), format, args);
        va_end(args);

        reader->complain(reader->path, line, text, reader->userdata);
}

static int config_econf_error(const ConfigReader *reader, econf_err error) {
        _cleanup_free_ char *path = NULL;
        uint64_t line = 0;

        if (error == ECONF_NOMEM)
                return -ENOMEM;

        econf_errLocation(&path, &line);
        config_complain(reader, line, "%s", econf_errString(error));
        return 0;
}

/* Sets a key if the section has it. */
static int section_take(const ConfigReader *reader, const Section *section, const char *key) {
        _cleanup_(econf_freeExtValuep) econf_ext_value *found = NULL;
        const char *value = "";
        econf_err error;
        int r;

        error = econf_getExtValue(section->file, section->name, key, &found);
        if (error == ECONF_NOKEY || error == ECONF_NOGROUP)
                return 0;
        if (error != ECONF_SUCCESS)
                return config_econf_error(reader, error);

        /* A key that is there more than once has several values, and the last one counts. */
        for (char **v = found->values; v && *v; v++)
                value = *v;

        r = section->rule ? config_rule_set(section->rule, key, value)
                          : config_set(reader->config, key, value);
        if (r == -ERANGE)
                config_complain(reader, found->line_number, "%s=%s is out of range", key, value);
        else if (r < 0)
                config_complain(
                        reader, found->line_number, "%s=%s is not a valid value", key, value);

        return 0;
}

static uint64_t section_line(const Section *section, const char *key) {
        _cleanup_(econf_freeExtValuep) econf_ext_value *found = NULL;

        if (econf_getExtValue(section->file, section->name, key, &found) != ECONF_SUCCESS)
                return 0;

        return found->line_number;
}

/* About where a section begins: libeconf knows the lines of keys only. */
static uint64_t section_begin(const Section *section) {
        uint64_t line = section->n_keys > 0 ? section_line(section, section->keys[0]) : 0;

        for (size_t i = 0; line == 0 && config_key(false, i); i++)
                line = section_line(section, config_key(false, i));

        return line;
}

/*
 * Whether a list names from begin to end what it names at index. libeconf lists what is repeated
 * repeatedly.
 */
static bool list_names(char *const *list, size_t begin, size_t end, size_t index) {
        for (size_t i = begin; i < end; i++)
                if (strcmp(list[i], list[index]) == 0)
                        return true;

        return false;
}

static void section_judge_keys(const ConfigReader *reader, const Section *section) {
        for (size_t i = 0; i < section->n_keys; i++) {
                const char *key = section->keys[i];

                if ((section->name && key_known(section->rule, key)) ||
                    list_names(section->keys, 0, i, i))
                        continue;

                config_complain(reader,
                                section_line(section, key),
                                section->name ? "unknown key %s" : "%s is outside of a section",
                                key);
        }
}

/* What a section [Function …] is about. NULL for others. */
static const char *section_selector(const char *name) {
        size_t size = strlen(SECTION_FUNCTION);

        if (strncmp(name, SECTION_FUNCTION, size) != 0 || (name[size] != ' ' && name[size] != '\0'))
                return NULL;

        return name + size + strspn(name + size, " ");
}

/*
 * Finds out what kind of section it is. Returns 1, 0 after a complaint if it is none of ours, or
 * -ENOMEM.
 */
static int section_open(const ConfigReader *reader, Section *section) {
        const char *selector;
        int r;

        if (strcmp(section->name, SECTION_DAEMON) == 0)
                return 1;

        selector = section_selector(section->name);
        if (!selector) {
                config_complain(
                        reader, section_begin(section), "unknown section [%s]", section->name);
                return 0;
        }

        r = config_add_rule(reader->config, selector, reader->administrator, &section->rule);
        if (r == -EINVAL) {
                config_complain(reader,
                                section_begin(section),
                                "section [%s] is about no PCI address, fid: or pchid:",
                                section->name);
                return 0;
        }

        return r < 0 ? r : 1;
}

static int config_read_section(const ConfigReader *reader, econf_file *file, const char *name) {
        _cleanup_(section_done) Section section = { .file = file, .name = name };
        econf_err error;
        int r;

        error = econf_getKeys(file, name, &section.n_keys, &section.keys);
        if (error == ECONF_NOMEM)
                return -ENOMEM;
        if (error != ECONF_SUCCESS)
                section.n_keys = 0;

        if (name) {
                r = section_open(reader, &section);
                if (r <= 0)
                        return r;

                /* libeconf's list lacks a key that the section before ends with: those that are known
                 * are asked for. */
                for (size_t i = 0; config_key(section.rule, i); i++) {
                        r = section_take(reader, &section, config_key(section.rule, i));
                        if (r < 0)
                                return r;
                }
        }

        section_judge_keys(reader, &section);
        return 0;
}

static int config_read_sections(const ConfigReader *reader, econf_file *file) {
        _cleanup_(econf_freeArrayp) char **sections = NULL;
        size_t n_sections = 0;
        econf_err error;
        int r;

        r = config_read_section(reader, file, NULL);
        if (r < 0)
                return r;

        error = econf_getGroups(file, &n_sections, &sections);
        if (error == ECONF_NOMEM)
                return -ENOMEM;
        if (error != ECONF_SUCCESS) /* there is none */
                return 0;

        /* A section that is there more than once is one section, where the last of them is. */
        for (size_t i = 0; i < n_sections && r >= 0; i++)
                if (!list_names(sections, i + 1, n_sections, i))
                        r = config_read_section(reader, file, sections[i]);

        return r;
}

int config_read_file(ConfigReader *reader, const char *path) {
        _cleanup_(econf_freeFilep) econf_file *file = NULL;
        econf_err error;
        struct stat st;

        reader->path = path;
        if (stat(path, &st) < 0 || access(path, R_OK) < 0) {
                if (errno == ENOENT)
                        return -ENOENT;
                config_complain(reader, 0, "%s", strerror(errno));
                return 0;
        }
        if (S_ISCHR(st.st_mode)) /* a link to /dev/null hides a file of that name further down */
                return 0;
        if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_SIZE_MAX) {
                config_complain(
                        reader, 0, "is no regular file of at most %d bytes", CONFIG_SIZE_MAX);
                return 0;
        }

        error = econf_readFile(&file, path, "=", "#;");
        if (error != ECONF_SUCCESS)
                return config_econf_error(reader, error);

        return config_read_sections(reader, file);
}
