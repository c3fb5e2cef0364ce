/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What was wrong with which function when it was looked at last. It is looked at on every uevent, and
 * what is wrong is worth being said once.
 */

#include <stdbool.h>

#include "sysfs.h"

/* Addresses that are remembered; of more, those that came first are forgotten. */
#define SYSFS_PROBLEMS_MAX 1024U

typedef struct SysfsProblemEntry {
        char address[PCI_ADDRESS_SIZE];
        SysfsProblem problem;
} SysfsProblemEntry;

/* All zero is none. */
typedef struct SysfsProblems {
        SysfsProblemEntry *entries;
        size_t n_entries;
        size_t oldest;
} SysfsProblems;

void sysfs_problems_done(SysfsProblems *problems);

/*
 * Takes in what is wrong with the function at an address. Returns whether that is news. Without
 * memory everything is.
 */
bool sysfs_problems_add(SysfsProblems *problems, const char *address, const SysfsProblem *problem);
