/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus-protocol.h>
#include <time.h>

#include "describe.h"
#include "names.h"
#include "pec.h"
#include "text.h"

typedef struct Meaning {
        const char *word;
        const char *text;
} Meaning;

static const char *find_meaning(const Meaning *table, size_t n, const char *word) {
        for (size_t i = 0; i < n; i++)
                if (strcmp(table[i].word, word) == 0)
                        return _(table[i].text);
        return NULL;
}

void describe_time(uint64_t realtime_usec, char text[static TIME_SIZE]) {
        time_t seconds = (time_t) (realtime_usec / USEC_PER_SEC);
        struct tm tm;

        if (realtime_usec == 0 || !localtime_r(&seconds, &tm) ||
            strftime(text, TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
                (void) snprintf(text, TIME_SIZE, "-");
}

void describe_time_msec(uint64_t realtime_usec, char text[static TIME_SIZE]) {
        size_t used;

        describe_time(realtime_usec, text);
        used = strlen(text);
        (void) snprintf(text + used,
                        TIME_SIZE - used,
                        ".%03u",
                        (unsigned) (realtime_usec / USEC_PER_MSEC % 1000U));
}

void describe_function(json_object *object, char text[static DESCRIBE_SIZE]) {
        (void) snprintf(text,
                        DESCRIBE_SIZE,
                        "%s (FID 0x%08" PRIx64 ")",
                        value_text(object, "address"),
                        value_number(object, "fid"));
}

/*
 * Codes 1 to 9 tell of DMA, and DMA to address 0 is a mistake as good as any. In others 0 says
 * nothing.
 */
static bool address_matters(json_object *error) {
        uint64_t pec = value_number(error, "pec");

        return value_number(error, "failing_address") != 0 ||
               (value_exists(error, "failing_address") && pec >= 0x0001 && pec <= 0x0009);
}

void describe_error(json_object *error, char text[static DESCRIBE_SIZE]) {
        Pec pec = pec_describe((uint16_t) value_number(error, "pec"));
        int n;

        if (pec.code == 0)
                n = snprintf(text, DESCRIBE_SIZE, "%s", _("error reported, code unknown"));
        else
                n = snprintf(text,
                             DESCRIBE_SIZE,
                             "%s (PEC 0x%04" PRIx16 "), %s%s%s",
                             value_text(error, "name"),
                             pec.code,
                             value_text(error, "severity"),
                             pec.meaning ? ": " : "",
                             pec.meaning ? pec.meaning : "");

        if (n > 0 && (size_t) n < DESCRIBE_SIZE && address_matters(error))
                (void) snprintf(text + n,
                                DESCRIBE_SIZE - (size_t) n,
                                _(", at 0x%llx"),
                                (unsigned long long) value_number(error, "failing_address"));
}

void describe_pec(uint16_t code, char text[static DESCRIBE_SIZE]) {
        Pec pec = pec_describe(code);

        if (code != 0 && strcmp(pec.name, pec_describe(0).name) == 0)
                (void) snprintf(text, DESCRIBE_SIZE, "0x%04" PRIx16, code);
        else
                (void) snprintf(text, DESCRIBE_SIZE, "%s", pec.name);
}

const char *describe_recovery(const char *recovery) {
        static const Meaning table[] = {
                { "in-progress", N_("recovery began: the function is being reset") },
                { "recovered", N_("recovered: the function was reset and works again") },
                { "failed",
                  N_("recovery failed: the function does nothing until a reset succeeds") },
                { "left-to-holder", N_("recovery is up to whoever holds the device open") },
                { "none", N_("no recovery is going on") },
        };
        const char *text = find_meaning(table, ELEMENTSOF(table), recovery);

        return text ? text : recovery;
}

const char *describe_state(const char *state, const char *reason) {
        static const Meaning reasons[] = {
                { "policy", N_("the policy is to hold nothing; full records need Policy=claim") },
                { "settling", N_("it will be held once it was bound for a while") },
                { "busy", N_("another process has its device open") },
                { "released", N_("it was let go on demand") },
                { "inhibited", N_("somebody asked the daemon not to hold it") },
                { "unsupported", N_("this kernel gives no error records for it") },
                { "permanent-error", N_("a reset does not help; look at the adapter") },
                { "recovery-limit", N_("it failed too often") },
                { "policy-denied", N_("the daemon may not open its device, see its journal") },
        };
        static const Meaning states[] = {
                { "claimed", N_("the daemon holds its device and takes full records") },
                { "delegated",
                  N_("its owner handed its device to the daemon, which takes full records") },
        };
        const char *text = find_meaning(reasons, ELEMENTSOF(reasons), reason);

        return text ? text : find_meaning(states, ELEMENTSOF(states), state);
}

const char *describe_advice(const char *error_name) {
        static const Meaning table[] = {
                { ERRORD_ERROR_BUSY, N_("Try again once that is over") },
                { ERRORD_ERROR_LIMIT_EXCEEDED,
                  N_("To see who has them: zpci-errctl inhibit --list") },
                { ERRORD_ERROR_PERMANENT,
                  N_("'zpcictl --reset-fw' may recover it, and reports to the service element") },
                { SD_BUS_ERROR_UNKNOWN_OBJECT, N_("The function was unbound meanwhile") },
                { SD_BUS_ERROR_ACCESS_DENIED,
                  N_("Be root, or have polkit allow it to you, see zpci-errord(8)") },
                { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                  N_("Be root, or have polkit allow it to you, see zpci-errord(8)") },
        };

        return find_meaning(table, ELEMENTSOF(table), error_name);
}
