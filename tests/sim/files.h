/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files, links and nodes of the testbed. Paths are those that its clients see, from "/sys/" or "/dev/" on.
 * Return 0 or a negative errno. */

#include <limits.h>

#include "state.h"

/* The real path of something in the testbed. Returns 'ret'. */
char *below(char ret[static PATH_MAX], const Sim *sim, const char *format, ...)
        __attribute__((__format__(printf, 3, 4)));

/* Makes a folder and its parents. */
int make_dir(const Sim *sim, const char *path);

/* Writes a file whose real path is known. */
int write_path(const char *path, const void *data, size_t size);

int write_file(const Sim *sim, const char *path, const char *format, ...)
        __attribute__((__format__(printf, 3, 4)));

/* A link inside of /sys with its parents, relative as the kernel makes them. */
int link_to(const Sim *sim, const char *from, const char *to);

/* A device node: a sparse file whose size says what it is, and (with a "MAJOR:MINOR") the link that tells umockdev its
 * number. Gives its inode. */
int make_node(const Sim *sim,
              const char *path,
              uint64_t size,
              unsigned mode,
              const char *number,
              uint64_t *ret);

/* Removes a file, link or empty folder if it is there. */
void unlink_below(const Sim *sim, const char *format, ...)
        __attribute__((__format__(printf, 2, 3)));

/* Removes a folder with all that is in it. */
void remove_tree(const Sim *sim, const char *path);
