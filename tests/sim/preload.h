/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* To be included before any other header: with this macro, which Meson sets, the C library's headers
 * would give our open() the name open64(), and so on. */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <limits.h>
#include <stddef.h>

#include "state.h"

#define SIM_EXPORT __attribute__((__visibility__("default")))

/* The next definition of the function: umockdev's, or the C library's. Looked up once. */
#define SIM_NEXT(name, result, ...)                                                                \
        ({                                                                                         \
                static result (*_next)(__VA_ARGS__);                                               \
                if (!_next)                                                                        \
                        _next = (result(*)(__VA_ARGS__)) dlsym(RTLD_NEXT, #name);                  \
                _next;                                                                             \
        })

/* The testbed of this process, or NULL if there is none. */
Sim *sim_here(void);

/* Turns a negative errno into errno and -1. */
int sim_result(long r);

/* Opens /dev/kmsg. Returns the fd or a negative errno. */
int sim_kmsg_open(Sim *sim, int flags);

/* The testbed's file in place of one of udev's database, which umockdev leaves alone; or 'path'. */
const char *sim_udev_path(const char *path, char buf[static PATH_MAX]);
