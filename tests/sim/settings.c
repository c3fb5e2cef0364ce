/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "control.h"

typedef struct Word {
        const char *word;
        uint32_t value;
} Word;

static const Word paths[] = {
        { "group", SIM_PATH_GROUP },
        { "cdev", SIM_PATH_CDEV },
        { "both", SIM_PATH_GROUP | SIM_PATH_CDEV },
        {},
};

static const Word uapis[] = {
        { "ccdf", SIM_UAPI_CCDF },
        { "v13", SIM_UAPI_V13 },
        { "v13-enomsg", SIM_UAPI_V13_ENOMSG },
        { "v13-rev2", SIM_UAPI_V13_REV2 },
        { "none", SIM_UAPI_NONE },
        {},
};

static const Word caps[] = {
        { "normal", SIM_CAPS_NORMAL }, { "loop", SIM_CAPS_LOOP }, { "outside", SIM_CAPS_OUTSIDE },
        { "short", SIM_CAPS_SHORT },   { "none", SIM_CAPS_NONE }, {},
};

static const Word irqs[] = { { "none", 0 }, { "ok", 1 }, {} };
static const Word recoveries[] = { { "failed", 0 }, { "ok", 1 }, {} };

static const Word errnos[] = {
        { "none", 0 },
        { "EPERM", EPERM },
        { "EIO", EIO },
        { "EAGAIN", EAGAIN },
        { "ENOMEM", ENOMEM },
        { "EACCES", EACCES },
        { "EFAULT", EFAULT },
        { "EBUSY", EBUSY },
        { "ENODEV", ENODEV },
        { "EINVAL", EINVAL },
        { "ENOTTY", ENOTTY },
        { "ENOMSG", ENOMSG },
        {},
};

static const struct {
        const char *key;
        size_t offset;
        const Word *words; /* NULL: a number */
} keys[] = {
        { "path", offsetof(SimSettings, path), paths },
        { "uapi", offsetof(SimSettings, uapi), uapis },
        { "caps", offsetof(SimSettings, caps), caps },
        { "base", offsetof(SimSettings, base_version), NULL },
        { "errlen", offsetof(SimSettings, err_length), NULL },
        { "get_errno", offsetof(SimSettings, get_errno), errnos },
        { "open_errno", offsetof(SimSettings, open_errno), errnos },
        { "reset_errno", offsetof(SimSettings, reset_errno), errnos },
        { "open_ms", offsetof(SimSettings, open_ms), NULL },
        { "reset_ms", offsetof(SimSettings, reset_ms), NULL },
        { "close_ms", offsetof(SimSettings, close_ms), NULL },
        { "get_ms", offsetof(SimSettings, get_ms), NULL },
        { "eagain_ms", offsetof(SimSettings, eagain_ms), NULL },
        { "err_irq", offsetof(SimSettings, err_irq), irqs },
        { "endless", offsetof(SimSettings, endless), NULL },
        { "recovery", offsetof(SimSettings, recovery_ok), recoveries },
};

SimSettings settings_default(void) {
        return (SimSettings){
                .path = SIM_PATH_GROUP,
                .uapi = SIM_UAPI_CCDF,
                .err_length = SIM_RECORD,
                .open_ms = 100,
                .reset_ms = 100,
                .close_ms = 100,
                .eagain_ms = 20,
                .err_irq = 1,
                .recovery_ok = 1,
        };
}

static int parse_value(const Word *words, const char *text, uint32_t *ret) {
        uint64_t number;

        for (; words && words->word; words++)
                if (strcmp(words->word, text) == 0) {
                        *ret = words->value;
                        return 0;
                }
        if (parse_number(text, UINT32_MAX, &number) < 0)
                return -EINVAL;
        *ret = (uint32_t) number;
        return 0;
}

int settings_parse(SimSettings *set, const char *key, const char *value) {
        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
                uint32_t parsed;

                if (strcmp(keys[i].key, key) != 0)
                        continue;
                if (parse_value(keys[i].words, value, &parsed) < 0)
                        return -EINVAL;
                memcpy((char *) set + keys[i].offset, &parsed, sizeof(parsed));
                return 0;
        }
        return -ENOENT;
}
