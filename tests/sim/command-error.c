/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "device.h"

#define KERN_ERR  3U
#define KERN_INFO 6U

typedef struct Wanted {
        uint8_t record[SIM_RECORD];
        bool force, stale;
} Wanted;

static void put_be(uint8_t *p, unsigned size, uint64_t value) {
        for (unsigned i = 0; i < size; i++)
                p[i] = (uint8_t) (value >> (8 * (size - 1 - i)));
}

static uint64_t get_be(const uint8_t *p, unsigned size) {
        uint64_t value = 0;

        for (unsigned i = 0; i < size; i++)
                value = value << 8 | p[i];
        return value;
}

static int parse_raw(uint8_t record[static SIM_RECORD], const char *text) {
        if (strlen(text) != 2 * SIM_RECORD)
                return -EINVAL;
        for (unsigned i = 0; i < SIM_RECORD; i++) {
                unsigned byte;

                if (sscanf(text + 2 * i, "%2x", &byte) != 1)
                        return -EINVAL;
                record[i] = (uint8_t) byte;
        }
        return 0;
}

/* The fields of the record: where, how long, and for parts of a word how far from its right end. */
static int parse_field(Wanted *w, const char *key, uint64_t value) {
        static const struct {
                const char *key;
                unsigned offset, size, shift, bits;
        } fields[] = {
                { "fh", 4, 4, 0, 32 },    { "fid", 8, 4, 0, 32 },    { "ett", 12, 4, 28, 4 },
                { "mvn", 12, 4, 16, 12 }, { "dmaas", 12, 4, 8, 8 },  { "q", 12, 4, 1, 1 },
                { "rw", 12, 4, 0, 1 },    { "faddr", 16, 8, 0, 64 }, { "pec", 30, 2, 0, 16 },
        };

        if (strcmp(key, "force") == 0)
                w->force = value != 0;
        else if (strcmp(key, "stale") == 0)
                w->stale = value != 0;
        else {
                for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
                        uint64_t mask = UINT64_MAX >> (64 - fields[i].bits), word;

                        if (strcmp(fields[i].key, key) != 0)
                                continue;
                        if (value > mask)
                                return -ERANGE;
                        word = get_be(w->record + fields[i].offset, fields[i].size);
                        word = (word & ~(mask << fields[i].shift)) | value << fields[i].shift;
                        put_be(w->record + fields[i].offset, fields[i].size, word);
                        return 0;
                }
                return -ENOENT;
        }
        return 0;
}

static int parse_error(Wanted *w, const SimFunction *f, char **words, unsigned n_words, FILE *out) {
        put_be(w->record + 4, 4, f->fh);
        put_be(w->record + 8, 4, f->fid);
        put_be(w->record + 16, 8, 0x12346002);
        put_be(w->record + 30, 2, 2);

        for (unsigned i = 0; i < n_words; i++) {
                char *value = strchr(words[i], '=');
                uint64_t number;
                int r = -EINVAL;

                if (value) {
                        *value++ = '\0';
                        if (strcmp(words[i], "raw") == 0)
                                r = parse_raw(w->record, value);
                        else if (parse_number(value, UINT64_MAX, &number) == 0)
                                r = parse_field(w, words[i], number);
                }
                if (r < 0) {
                        fprintf(out, "cannot use %s", words[i]);
                        return -EINVAL;
                }
        }
        return 0;
}

static __attribute__((__format__(printf, 3, 4))) void
log_line(Controller *c, unsigned level, const char *format, ...) {
        char text[256];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        kmsg_write(c->kmsg, level, text);
}

/* What the kernel says and does after the function's own state has changed. */
static bool tell(Controller *c, SimFunction *f, SimVerdict verdict, unsigned pec, bool dropped) {
        bool recovers = pec != SIM_PEC_PERMERR && pec != SIM_PEC_FAILED, signalled = false;

        if (dropped)
                log_line(c,
                         KERN_ERR,
                         "zpci: %s: Maximum number (%u) of pending error events queued",
                         f->address,
                         SIM_QUEUE);
        if (verdict == SIM_VERDICT_QUEUED)
                signalled = kernel_signal(c, f, IRQ_ERR, 1);
        if (recovers)
                function_uevent(c, f, "change", "ERROR_EVENT=BEGIN_RECOVERY\nDEVICE_ONLINE=0\n");

        if (verdict == SIM_VERDICT_QUEUED && recovers)
                log_line(c,
                         KERN_INFO,
                         "zpci: %s: Leaving recovery of pass-through device to user-space",
                         f->address);
        else if (recovers)
                function_uevent(c,
                                f,
                                "change",
                                f->set.recovery_ok
                                        ? "ERROR_EVENT=SUCCESSFUL_RECOVERY\nDEVICE_ONLINE=1\n"
                                        : "ERROR_EVENT=FAILED_RECOVERY\nDEVICE_ONLINE=0\n");
        return signalled;
}

static int
command_error(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        static const char *const names[] = {
                [SIM_VERDICT_QUEUED] = "queued",
                [SIM_VERDICT_KERNEL] = "kernel",
                [SIM_VERDICT_LOGGED] = "logged",
                [SIM_VERDICT_NOTHING] = "frozen",
        };
        SimFunction *f = command_function(c, words[0], out);
        bool signalled = false;
        uint64_t dropped;
        SimVerdict verdict;
        Wanted w = {};
        unsigned pec;
        int r;

        if (!f)
                return -ENODEV;
        r = parse_error(&w, f, words + 1, n_words - 1, out);
        if (r < 0)
                return r;
        if (w.stale) {
                fputs("ok result=stale", out); /* the kernel finds no function: not a trace */
                return 0;
        }
        pec = (unsigned) get_be(w.record + 30, 2);

        kernel_reap(c, f);
        sim_lock(&c->sim);
        dropped = f->dropped;
        if (w.force || !sim_device_frozen(f))
                log_line(c,
                         KERN_ERR,
                         "zpci: %s: Event 0x%x reports an error for PCI function 0x%x",
                         f->address,
                         pec,
                         (unsigned) get_be(w.record + 8, 4));
        verdict = sim_device_error(f, w.record, w.force);
        sim_unlock(&c->sim);

        if (verdict == SIM_VERDICT_QUEUED || verdict == SIM_VERDICT_KERNEL)
                signalled = tell(c, f, verdict, pec, f->dropped > dropped);
        fprintf(out,
                "ok result=%s signalled=%d pending=%u dropped=%llu frozen=%d",
                f->dropped > dropped ? "dropped" : names[verdict],
                signalled,
                sim_device_pending(f),
                (unsigned long long) f->dropped,
                f->frozen);
        return 0;
}

static int
command_signal(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        SimFunction *f = command_function(c, words[0], out);
        uint64_t count = 1;

        if (!f)
                return -ENODEV;
        if (n_words > 2 && parse_number(words[2], UINT32_MAX, &count) < 0)
                return -EINVAL;
        fprintf(out,
                "ok signalled=%d",
                kernel_signal(c, f, strcmp(words[1], "req") == 0 ? IRQ_REQ : IRQ_ERR, count));
        return 0;
}

static int
command_kmsg(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        uint64_t priority;

        if (parse_number(words[0], 1023, &priority) < 0)
                return -EINVAL;
        kmsg_write(c->kmsg, (unsigned) priority, command_rest(words + 1, n_words - 1));
        fputs("ok", out);
        return 0;
}

static int
command_kmsg_overrun(Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        kmsg_overrun(c->kmsg);
        fputs("ok", out);
        return 0;
}

static int command_monitor_overrun(
        Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out) {
        fputs("ok", out);
        return uevents_overrun(c->uevents);
}

const Command error_commands[] = {
        { "error",
          "ADDRESS [pec= faddr= fh= fid= ett= mvn= dmaas= q= rw= raw=HEX force=1 stale=1]",
          1,
          command_error },
        { "signal", "ADDRESS err|req [COUNT]", 2, command_signal },
        { "kmsg", "PRIORITY TEXT", 2, command_kmsg },
        { "kmsg-overrun", "", 0, command_kmsg_overrun },
        { "monitor-overrun", "", 0, command_monitor_overrun },
        {},
};
