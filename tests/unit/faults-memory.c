/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The allocations of the code under test, and of the test; not those of shared libraries. */

#include <stdlib.h>

#include "faults.h"

/* The linker's names, see --wrap in ld(1). */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size) {
        return fault("malloc") < 0 ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
        return fault("calloc") < 0 ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size) {
        return fault("realloc") < 0 ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size) {
        return fault("reallocarray") < 0 ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *text) {
        return fault("strdup") < 0 ? NULL : __real_strdup(text);
}
