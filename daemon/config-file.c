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

#include "config-file.h"
#include "util.h"

#define CONFIG_SECTION  "Errord"
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

static bool config_key_known(const char *key) {
        for (size_t i = 0; config_key(i); i++)
                if (strcmp(key, config_key(i)) == 0)
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

/* Sets a key if the file has it. */
static int config_take(const ConfigReader *reader, econf_file *file, const char *key) {
        _cleanup_(econf_freeExtValuep) econf_ext_value *found = NULL;
        const char *value = "";
        econf_err error;
        int r;

        error = econf_getExtValue(file, CONFIG_SECTION, key, &found);
        if (error == ECONF_NOKEY || error == ECONF_NOGROUP)
                return 0;
        if (error != ECONF_SUCCESS)
                return config_econf_error(reader, error);

        /* A key that is there more than once has several values, and the last one counts. */
        for (char **v = found->values; v && *v; v++)
                value = *v;

        r = config_set(reader->config, key, value);
        if (r == -ERANGE)
                config_complain(reader, found->line_number, "%s=%s is out of range", key, value);
        else if (r < 0)
                config_complain(
                        reader, found->line_number, "%s=%s is not a valid value", key, value);

        return 0;
}

static uint64_t config_line(econf_file *file, const char *section, const char *key) {
        _cleanup_(econf_freeExtValuep) econf_ext_value *found = NULL;

        if (econf_getExtValue(file, section, key, &found) != ECONF_SUCCESS)
                return 0;

        return found->line_number;
}

/* Whether a list names something before index that it names there too. libeconf lists what is repeated repeatedly. */
static bool list_repeats(char *const *list, size_t index) {
        for (size_t i = 0; i < index; i++)
                if (strcmp(list[i], list[index]) == 0)
                        return true;

        return false;
}

/* Complains about what a section (NULL: the lines before the first one) should not have. */
static int config_judge_section(const ConfigReader *reader, econf_file *file, const char *section) {
        _cleanup_(econf_freeArrayp) char **keys = NULL;
        bool ours = section && strcmp(section, CONFIG_SECTION) == 0;
        size_t n_keys = 0;
        econf_err error;

        error = econf_getKeys(file, section, &n_keys, &keys);
        if (error == ECONF_NOMEM)
                return -ENOMEM;
        if (error != ECONF_SUCCESS)
                n_keys = 0;

        if (section && !ours) {
                config_complain(reader,
                                n_keys > 0 ? config_line(file, section, keys[0]) : 0,
                                "unknown section [%s]",
                                section);
                return 0;
        }

        for (size_t i = 0; i < n_keys; i++) {
                if ((ours && config_key_known(keys[i])) || list_repeats(keys, i))
                        continue;

                config_complain(reader,
                                config_line(file, section, keys[i]),
                                ours ? "unknown key %s" : "%s is outside of a section",
                                keys[i]);
        }

        return 0;
}

static int config_judge(const ConfigReader *reader, econf_file *file) {
        _cleanup_(econf_freeArrayp) char **sections = NULL;
        size_t n_sections = 0;
        econf_err error;
        int r;

        r = config_judge_section(reader, file, NULL);
        if (r < 0)
                return r;

        error = econf_getGroups(file, &n_sections, &sections);
        if (error == ECONF_NOMEM)
                return -ENOMEM;
        if (error != ECONF_SUCCESS) /* there is none */
                return 0;

        for (size_t i = 0; i < n_sections && r >= 0; i++)
                if (!list_repeats(sections, i))
                        r = config_judge_section(reader, file, sections[i]);

        return r;
}

int config_read_file(ConfigReader *reader, const char *path) {
        _cleanup_(econf_freeFilep) econf_file *file = NULL;
        econf_err error;
        struct stat st;
        int r;

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

        for (size_t i = 0; config_key(i); i++) {
                r = config_take(reader, file, config_key(i));
                if (r < 0)
                        return r;
        }

        return config_judge(reader, file);
}
