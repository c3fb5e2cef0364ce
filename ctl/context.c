/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "context.h"
#include "text.h"

static void vsay(const char *format, va_list ap) {
        (void) fprintf(stderr, ERRCTL_PROGRAM ": ");
        (void) vfprintf(stderr, format, ap);
        (void) fputc('\n', stderr);
}

void say(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vsay(format, ap);
        va_end(ap);
}

int fail(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vsay(format, ap);
        va_end(ap);
        return EXIT_FAILED;
}

int fail_usage(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vsay(format, ap);
        va_end(ap);
        (void) fprintf(stderr, _("Try '%s --help'.\n"), ERRCTL_PROGRAM);
        return EXIT_USAGE;
}

int fail_memory(void) {
        return fail("%s", strerror(ENOMEM));
}
