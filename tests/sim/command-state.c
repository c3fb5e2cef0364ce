/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "device.h"

#define N_FACTS 28

typedef struct Fact {
        const char *key;
        uint64_t value;
} Fact;

/* Everything about a function that is a number, looked up now. */
static void look(Controller *c, SimFunction *f, Fact facts[static N_FACTS]) {
        const Slot *slot = c->slots + sim_slot(&c->sim, f);
        uint64_t now;

        kernel_reap(c, f);
        now = sim_now();
        sim_lock(&c->sim);
        memcpy(facts,
               (const Fact[N_FACTS]){
                       { "fid", f->fid },
                       { "fh", f->fh },
                       { "group", f->group },
                       { "vfio", (uint64_t) (f->vfio_index >= 0) },
                       { "held", f->open != SIM_OPEN_NO },
                       { "group_open", f->group_open },
                       { "hold", slot->held_device >= 0 },
                       { "opening", f->open != SIM_OPEN_NO && now < f->opened_at },
                       { "closing", now < f->closing_until },
                       { "locked", now < f->locked_until },
                       { "leaving", f->leaving },
                       { "frozen", sim_device_frozen(f) },
                       { "permanent", f->permanent },
                       { "err_armed", f->err_armed },
                       { "req_armed", f->req_armed },
                       { "pending", sim_device_pending(f) },
                       { "dropped", f->dropped },
                       { "errors", f->errors },
                       { "signals", f->signals },
                       { "read", f->records_read },
                       { "opens", f->opens },
                       { "closes", f->closes },
                       { "resets", f->resets },
                       { "again", f->again },
                       { "busy", f->busy },
                       { "close_resets_skipped", f->close_resets_skipped },
                       { "group_node", f->ino[SIM_NODE_GROUP] > 0 && !f->leaving },
                       { "cdev_node", f->ino[SIM_NODE_CDEV] > 0 && !f->leaving },
               },
               sizeof(Fact) * N_FACTS);
        sim_unlock(&c->sim);
}

void state_write(Controller *c, SimFunction *f, FILE *out) {
        static const char *const ways[] = {
                [SIM_OPEN_NO] = "no",
                [SIM_OPEN_GROUP] = "group",
                [SIM_OPEN_CDEV] = "cdev",
        };
        Fact facts[N_FACTS];

        look(c, f, facts);
        fprintf(out,
                "{\"address\": \"%s\", \"driver\": \"%s\", \"open\": \"%s\"",
                f->address,
                f->driver,
                ways[f->open]);
        for (unsigned i = 0; i < N_FACTS; i++)
                fprintf(out, ", \"%s\": %llu", facts[i].key, (unsigned long long) facts[i].value);
        if (f->vfio_index >= 0)
                fprintf(out, ", \"vfio_name\": \"vfio%d\"", f->vfio_index);
        fputc('}', out);
}

/* One KEY=NUMBER, KEY>=NUMBER or KEY<=NUMBER. */
static int matches(const Fact *facts, char *condition) {
        char *operator= strpbrk(condition, "<>="), compare;
        const char *number;
        uint64_t wanted;

        if (!operator)
                return -EINVAL;
        compare = *operator;
        number = operator+(compare == '=' ? 1 : 2);
        *operator= '\0';
        if (parse_number(number, UINT64_MAX, &wanted) < 0)
                return -EINVAL;
        for (unsigned i = 0; i < N_FACTS; i++)
                if (strcmp(facts[i].key, condition) == 0)
                        return compare == '='   ? facts[i].value == wanted
                               : compare == '>' ? facts[i].value >= wanted
                                                : facts[i].value <= wanted;
        return -ENOENT;
}

int state_matches(Controller *c, SimFunction *f, const char *condition) {
        char copy[512], *state;
        Fact facts[N_FACTS];

        look(c, f, facts);
        snprintf(copy, sizeof(copy), "%s", condition);
        for (char *one = strtok_r(copy, ",", &state); one; one = strtok_r(NULL, ",", &state)) {
                int r = matches(facts, one);

                if (r <= 0)
                        return r;
        }
        return 1;
}

static int
command_state(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);

        if (!f)
                return -ENODEV;
        fputs("ok ", out);
        state_write(c, f, out);
        return 0;
}

static int
command_list(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        fputs("ok", out);
        for (unsigned i = 0; i < SIM_FUNCTIONS; i++)
                if (c->sim.state->functions[i].used)
                        fprintf(out, " %s", c->sim.state->functions[i].address);
        return 0;
}

static int
command_wait_state(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        uint64_t timeout;
        int r;

        if (!f)
                return -ENODEV;
        if (parse_number(words[2], 3600000, &timeout) < 0)
                return -EINVAL;
        r = state_matches(c, f, words[1]);
        if (r < 0) {
                fprintf(out, "no such condition: %s", words[1]);
                return r;
        }
        return command_wait(conn, WAIT_STATE, f, words[1], timeout > 0 ? timeout : 1);
}

const Command state_commands[] = {
        { "state", "ADDRESS", 1, command_state },
        { "list", "", 0, command_list },
        { "wait", "ADDRESS KEY=NUMBER[,KEY>=NUMBER...] TIMEOUT_MS", 3, command_wait_state },
        {},
};
