/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sysfs-problems.h"

void sysfs_problems_done(SysfsProblems *problems) {
        assert(problems);

        free(problems->entries);
        *problems = (SysfsProblems){ 0 };
}

static SysfsProblemEntry *sysfs_problems_find(SysfsProblems *problems, const char *address) {
        for (size_t i = 0; i < problems->n_entries; i++)
                if (strcmp(problems->entries[i].address, address) == 0)
                        return &problems->entries[i];
        return NULL;
}

/* Room for one more, or that of the oldest. */
static SysfsProblemEntry *sysfs_problems_place(SysfsProblems *problems) {
        SysfsProblemEntry *entries;

        if (problems->n_entries == SYSFS_PROBLEMS_MAX)
                return &problems->entries[problems->oldest++ % SYSFS_PROBLEMS_MAX];

        entries = reallocarray(problems->entries, problems->n_entries + 1, sizeof(*entries));
        if (!entries)
                return NULL;

        problems->entries = entries;
        return &problems->entries[problems->n_entries++];
}

bool sysfs_problems_add(SysfsProblems *problems, const char *address, const SysfsProblem *problem) {
        SysfsProblemEntry *entry;

        assert(problems);
        assert(address);
        assert(problem && problem->attribute);

        entry = sysfs_problems_find(problems, address);
        if (entry && strcmp(entry->problem.attribute, problem->attribute) == 0 &&
            strcmp(entry->problem.value, problem->value) == 0)
                return false;

        if (!entry)
                entry = sysfs_problems_place(problems);
        if (entry) {
                (void) snprintf(entry->address, sizeof(entry->address), "%s", address);
                entry->problem = *problem;
        }
        return true;
}
