/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "function-parts.h"
#include "names.h"

int function_log(
        Function *f, int level, int error, const char *message_id, const char *format, ...) {
        char fid[32], uid[32], pchid[32], address[64], state[32], id[64], text[512];
        char holder_field[sizeof(ERRORD_FIELD_HOLDER "=") + HANDOVER_TEXT_SIZE];
        const char *fields[8] = { address, fid, uid, pchid, state }; /* and NULL at the end */
        const char *holder;
        size_t n = 5;
        va_list args;

        assert(f);

        (void) snprintf(address, sizeof(address), ERRORD_FIELD_ADDRESS "=%s", f->sysfs.address);
        (void) snprintf(fid, sizeof(fid), ERRORD_FIELD_FID "=0x%08" PRIx32, f->sysfs.fid);
        (void) snprintf(uid, sizeof(uid), ERRORD_FIELD_UID "=0x%" PRIx32, f->sysfs.uid);
        (void) snprintf(pchid, sizeof(pchid), ERRORD_FIELD_PCHID "=0x%04x", f->sysfs.pchid);
        (void) snprintf(state, sizeof(state), ERRORD_FIELD_STATE "=%s", state_to_string(f->state));
        if (message_id) {
                (void) snprintf(id, sizeof(id), "MESSAGE_ID=%s", message_id);
                fields[n++] = id;
        }
        holder = function_holder(f);
        if (holder[0] != '\0') {
                (void) snprintf(
                        holder_field, sizeof(holder_field), ERRORD_FIELD_HOLDER "=%s", holder);
                fields[n++] = holder_field;
        }

        va_start(args, format);
        (void) vsnprintf(text, sizeof(text), format, args);
        va_end(args);

        return log_entry(f->context->log,
                         level,
                         error,
                         fields,
                         "%s (FID 0x%08" PRIx32 ", PCHID 0x%04x): %s",
                         f->sysfs.address,
                         f->sysfs.fid,
                         f->sysfs.pchid,
                         text);
}

/*
 * What an administrator should know about a state and its reason. NULL where the names say it all.
 */
static const char *function_explain(const Function *f) {
        if (strcmp(f->reason, "busy") == 0)
                return "somebody else holds its VFIO device; trying again from time to time";
        if (strcmp(f->reason, "policy-denied") == 0)
                return "no permission for its VFIO nodes; check the udev rules (udevadm trigger) "
                       "and DeviceAllow= of the unit";
        if (strcmp(f->reason, "permanent-error") == 0)
                return "it reported an error that no reset recovers; the platform has to repair or "
                       "replace it";
        if (strcmp(f->reason, "recovery-limit") == 0)
                return "it had to be recovered too often; 'zpcictl --reset-fw' recovers it and reports it to "
                       "the service element, 'zpcictl --reset' re-creates it, which loses its "
                       "driver_override, 'zpcictl --deconfigure' comes before a repair; it is taken back "
                       "once it is bound again";
        if (strcmp(f->reason, "unsupported") == 0)
                return "this kernel gives no error records of it; publishing what the kernel log shows";
        if (f->facts.waiting && f->facts.error < 0)
                return "publishing what the kernel log shows, trying again from time to time";
        return NULL;
}

static int function_state_level(const Function *f) {
        return f->state == FUNCTION_FAILED ? LOG_WARNING : LOG_INFO;
}

void function_log_state(Function *f) {
        const char *explanation = function_explain(f), *introduction = ": ";

        if (!explanation && (f->facts.released || f->facts.inhibited)) {
                introduction = ": for ";
                explanation = function_holder(f);
        }
        if (!explanation || explanation[0] == '\0')
                introduction = explanation = "";

        (void) function_log(f,
                            function_state_level(f),
                            0,
                            ERRORD_MESSAGE_STATE_ID,
                            "%s%s%s%s%s%s",
                            state_to_string(f->state),
                            f->reason[0] != '\0' ? " (" : "",
                            f->reason,
                            f->reason[0] != '\0' ? ")" : "",
                            introduction,
                            explanation);
}

void function_log_binding(Function *f, const SysfsFunction *now) {
        if (strcmp(f->sysfs.driver, now->driver) != 0)
                (void) function_log(f,
                                    LOG_INFO,
                                    0,
                                    ERRORD_MESSAGE_STATE_ID,
                                    "driver changed from %s to %s",
                                    f->sysfs.driver,
                                    now->driver);
        else if (f->sysfs.binding != now->binding)
                (void) function_log(f,
                                    LOG_INFO,
                                    0,
                                    ERRORD_MESSAGE_STATE_ID,
                                    "%s was bound to it again",
                                    now->driver);
}
