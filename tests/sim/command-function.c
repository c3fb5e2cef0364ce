/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control.h"
#include "tree.h"

#define HUGE_ATTRIBUTE (1024U * 1024U)
#define WORDS          64U

/* What "add" was told of a function, beyond its settings. */
static int identity_parse(SimFunction *f, const char *key, uint64_t value) {
        if (strcmp(key, "fid") == 0)
                f->fid = (uint32_t) value;
        else if (strcmp(key, "fh") == 0)
                f->fh = (uint32_t) value;
        else if (strcmp(key, "uid") == 0)
                f->uid = (uint32_t) value;
        else if (strcmp(key, "group") == 0)
                f->group = (uint32_t) value;
        else if (strcmp(key, "pchid") == 0)
                f->pchid = (uint16_t) value;
        else if (strcmp(key, "vfn") == 0)
                f->vfn = (uint16_t) value;
        else if (strcmp(key, "pfgid") == 0)
                f->pfgid = (uint8_t) value;
        else if (strcmp(key, "pft") == 0)
                f->pft = (uint8_t) value;
        else if (strcmp(key, "zpci") == 0)
                f->zpci = value != 0;
        else
                return -ENOENT;
        return 0;
}

/* "KEY=VALUE" words: settings, and with 'driver' also what only a new function has. */
static int
parse_words(SimFunction *f, char **words, unsigned n_words, const char **driver, FILE *out) {
        for (unsigned i = 0; i < n_words; i++) {
                char *value = strchr(words[i], '=');
                uint64_t number;
                int r = -ENOENT;

                if (value) {
                        *value++ = '\0';
                        r = settings_parse(&f->set, words[i], value);
                        if (r == -ENOENT && driver && strcmp(words[i], "driver") == 0) {
                                *driver = value;
                                r = 0;
                        } else if (r == -ENOENT && driver) {
                                r = parse_number(value, UINT32_MAX, &number);
                                if (r == 0)
                                        r = identity_parse(f, words[i], number);
                        }
                }
                if (r < 0) {
                        fprintf(out, "cannot set %s", words[i]);
                        return -EINVAL;
                }
        }
        return 0;
}

static int add_one(Controller *c,
                   unsigned domain,
                   const char *address,
                   char **words,
                   unsigned n_words,
                   FILE *out) {
        SimFunction wanted = { .zpci = true, .set = settings_default() }, *f;
        const char *driver = "vfio-pci";
        unsigned slot = 0;
        int r;

        while (slot < SIM_FUNCTIONS && c->sim.state->functions[slot].used)
                slot++;
        snprintf(wanted.address, sizeof(wanted.address), "%s", address);
        wanted.fid = 0x10 + slot;
        wanted.fh = 0x80020000 + slot;
        wanted.uid = domain;
        wanted.group = slot;
        wanted.pchid = (uint16_t) (0x104 + slot);
        wanted.pfgid = 1;
        wanted.pft = 0x0c;

        r = parse_words(&wanted, words, n_words, &driver, out);
        if (r < 0)
                return r;
        r = function_add(c, &wanted, &f);
        if (r >= 0 && strcmp(driver, "none") != 0)
                r = function_bind(c, f, driver);
        return r;
}

static int command_add(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        unsigned domain, bus, device, function;
        char address[16];
        int r;

        if (sscanf(words[0], "%4x:%2x:%2x.%1x", &domain, &bus, &device, &function) != 4)
                return -EINVAL;
        snprintf(address, sizeof(address), "%04x:%02x:%02x.%x", domain, bus, device, function);
        if (sim_find(&c->sim, address))
                return -EEXIST;
        r = add_one(c, domain, address, words + 1, n_words - 1, out);
        if (r >= 0)
                fprintf(out, "ok address=%s", address);
        return r < 0 ? r : 0;
}

static int
command_add_many(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        uint64_t n, added = 0;

        if (parse_number(words[0], SIM_FUNCTIONS, &n) < 0 || n_words > WORDS)
                return -EINVAL;
        for (unsigned domain = 1; added < n && domain <= 0xffff; domain++) {
                char address[16], *copies[WORDS] = {};
                int r;

                snprintf(address, sizeof(address), "%04x:00:00.0", domain);
                if (sim_find(&c->sim, address))
                        continue;
                for (unsigned i = 1; i < n_words; i++)
                        copies[i] = strdup(words[i]); /* parsing cuts them */
                r = add_one(c, domain, address, copies + 1, n_words - 1, out);
                for (unsigned i = 1; i < n_words; i++)
                        free(copies[i]);
                if (r < 0)
                        return r;
                added++;
        }
        fprintf(out, "ok added=%llu", (unsigned long long) added);
        return 0;
}

static int
command_bind(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        int r;

        if (!f)
                return -ENODEV;
        r = function_bind(c, f, n_words > 1 ? words[1] : "vfio-pci");
        if (r >= 0)
                fputs("ok", out);
        return r < 0 ? r : 0;
}

static int unbind(Controller *c, Connection *conn, const char *address, WaitKind kind, FILE *out) {
        SimFunction *f = command_function(c, address, out);
        int r;

        if (!f)
                return -ENODEV;
        r = function_unbind_begin(c, f);
        if (r == -ENODEV && kind == WAIT_REMOVE) { /* no driver */
                function_remove(c, f);
                fputs("ok ms=0", out);
                return 0;
        }
        return r < 0 ? r : command_wait(conn, kind, f, NULL, 0);
}

static int
command_unbind(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        return unbind(c, conn, words[0], WAIT_UNBIND, out);
}

static int
command_remove(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        return unbind(c, conn, words[0], WAIT_REMOVE, out);
}

static int
command_vanish(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);

        if (!f)
                return -ENODEV;
        function_vanish(c, f);
        fputs("ok", out);
        return 0;
}

static int command_set(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        int r;

        if (!f)
                return -ENODEV;
        sim_lock(&c->sim);
        r = parse_words(f, words + 1, n_words - 1, NULL, out);
        sim_unlock(&c->sim);
        if (r == 0)
                fputs("ok", out);
        return r;
}

static int
command_property(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        int r;

        if (!f)
                return -ENODEV;
        r = tree_property(
                &c->sim, f, words[1], n_words > 2 ? command_rest(words + 2, n_words - 2) : NULL);
        if (r == 0)
                fputs("ok", out);
        return r;
}

static int
command_sysfs(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        const char *value = n_words > 2 ? command_rest(words + 2, n_words - 2) : "";
        char *text = NULL;
        size_t size = 0;
        int r;

        if (!f)
                return -ENODEV;
        if (strcmp(value, "-") == 0)
                r = tree_attribute(&c->sim, f, words[1], NULL, 0);
        else if (strcmp(value, "@garbage") == 0)
                r = tree_attribute(&c->sim, f, words[1], "\xff\0\x1b[31m%s\n\n", 12);
        else {
                if (strcmp(value, "@huge") == 0) {
                        size = HUGE_ATTRIBUTE;
                        text = malloc(size);
                        if (text)
                                memset(text, '7', size);
                } else if (*value && asprintf(&text, "%s\n", value) >= 0)
                        size = strlen(text);
                r = tree_attribute(&c->sim, f, words[1], text ?: "", size);
                free(text);
        }
        if (r == 0)
                fputs("ok", out);
        return r;
}

static int
command_mode(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        char path[PATH_MAX];
        unsigned mode;

        if (strstr(words[0], "..") || sscanf(words[1], "%o", &mode) != 1)
                return -EINVAL;
        snprintf(path, sizeof(path), "%s/dev/%s", c->sim.dir, words[0]);
        if (chmod(path, mode & 0777) < 0)
                return -errno;
        fputs("ok", out);
        return 0;
}

static int
command_hold(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        int r;

        if (!f)
                return -ENODEV;
        r = function_hold(c, f, n_words > 1 && strcmp(words[1], "req=1") == 0);
        if (r == 0)
                fputs("ok", out);
        return r;
}

static int
command_unhold(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        int r;

        if (!f)
                return -ENODEV;
        r = function_unhold(c, f);
        if (r == 0)
                fputs("ok", out);
        return r;
}

static int
command_uevent(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        char more[2048] = "";
        int r;

        if (!f)
                return -ENODEV;
        for (unsigned i = 2; i < n_words; i++)
                snprintf(more + strlen(more), sizeof(more) - strlen(more), "%s\n", words[i]);
        r = function_uevent(c, f, words[1], more);
        if (r >= 0)
                fputs("ok", out);
        return r < 0 ? r : 0;
}

const Command function_commands[] = {
        { "add", "ADDRESS [KEY=VALUE...]", 1, command_add },
        { "add-many", "N [KEY=VALUE...]", 1, command_add_many },
        { "bind", "ADDRESS [DRIVER]", 1, command_bind },
        { "unbind", "ADDRESS", 1, command_unbind },
        { "remove", "ADDRESS", 1, command_remove },
        { "vanish", "ADDRESS", 1, command_vanish },
        { "set", "ADDRESS KEY=VALUE...", 2, command_set },
        { "property", "ADDRESS KEY [VALUE]", 2, command_property },
        { "sysfs", "ADDRESS ATTRIBUTE [VALUE|-|@huge|@garbage]", 2, command_sysfs },
        { "mode", "NODE MODE", 2, command_mode },
        { "hold", "ADDRESS [req=1]", 1, command_hold },
        { "unhold", "ADDRESS", 1, command_unhold },
        { "uevent", "ADDRESS ACTION [KEY=VALUE...]", 2, command_uevent },
        {},
};
