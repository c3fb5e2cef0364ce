/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "registry.h"

typedef struct Entry {
        Function *function;
        bool seen;    /* in the scan that is going on */
        bool leaving; /* told to let go; leaves once its device is closed */
} Entry;

struct Registry {
        const FunctionContext *context;
        const RegistryListener *listener;

        /* In the order of FIDs. A host has 512 functions at most, and addresses are looked up by
         * people, so one array serves both. */
        Entry *entries;
        size_t n_entries;
        size_t n_allocated;
};

int registry_new(const FunctionContext *context, const RegistryListener *listener, Registry **ret) {
        Registry *registry;

        assert(context);
        assert(listener);
        assert(ret);

        registry = malloc(sizeof(*registry));
        if (!registry)
                return -ENOMEM;

        *registry = (Registry){ .context = context, .listener = listener };
        *ret = registry;
        return 0;
}

Registry *registry_free(Registry *registry) {
        if (!registry)
                return NULL;

        for (size_t i = 0; i < registry->n_entries; i++)
                (void) function_unref(registry->entries[i].function);
        free(registry->entries);
        free(registry);
        return NULL;
}

/* Where a FID is, or would be inserted. */
static size_t registry_position(const Registry *registry, uint32_t fid) {
        size_t low = 0, high = registry->n_entries;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (registry->entries[middle].function->sysfs.fid < fid)
                        low = middle + 1;
                else
                        high = middle;
        }

        return low;
}

static Entry *registry_find_fid(const Registry *registry, uint32_t fid) {
        size_t i = registry_position(registry, fid);

        if (i >= registry->n_entries || registry->entries[i].function->sysfs.fid != fid)
                return NULL;
        return &registry->entries[i];
}

static Entry *registry_find_address(const Registry *registry, const char *address) {
        for (size_t i = 0; i < registry->n_entries; i++)
                if (strcmp(registry->entries[i].function->sysfs.address, address) == 0)
                        return &registry->entries[i];
        return NULL;
}

/* The function lets go of its device. */
static void registry_dismiss(Registry *registry, Entry *entry, const SysfsFunction *now) {
        if (entry->leaving)
                return;

        entry->leaving = true;
        registry->listener->leaving(entry->function, now, registry->listener->userdata);
        function_gone(entry->function);
}

static void registry_drop(Registry *registry, Entry *entry) {
        _cleanup_(function_unrefp) Function *function = entry->function;
        size_t index = (size_t) (entry - registry->entries);

        registry_dismiss(registry, entry, NULL);
        registry->listener->removing(function, registry->listener->userdata);

        registry->n_entries--;
        memmove(entry, entry + 1, (registry->n_entries - index) * sizeof(*entry));
}

/*
 * As long as its device is open or being opened, there may be errors in its queue: they are told
 * before it leaves.
 */
static void registry_leave(Registry *registry, Entry *entry, const SysfsFunction *now) {
        registry_dismiss(registry, entry, now);
        if (!function_is_busy(entry->function))
                registry_drop(registry, entry);
}

static int
registry_add(Registry *registry, const SysfsFunction *sysfs, const HandoverFunction *former) {
        size_t index = registry_position(registry, sysfs->fid);
        Function *function;
        int r;

        if (registry->n_entries == registry->n_allocated) {
                size_t n = registry->n_allocated == 0 ? 16 : registry->n_allocated * 2;
                Entry *entries = reallocarray(registry->entries, n, sizeof(*entries));

                if (!entries)
                        return -ENOMEM;
                registry->entries = entries;
                registry->n_allocated = n;
        }

        r = function_new(registry->context, sysfs, former, &function);
        if (r < 0)
                return r;

        memmove(registry->entries + index + 1,
                registry->entries + index,
                (registry->n_entries - index) * sizeof(Entry));
        registry->entries[index] = (Entry){ .function = function, .seen = true };
        registry->n_entries++;

        registry->listener->added(function, registry->listener->userdata);
        function_update(function);
        return 0;
}

int registry_restore(Registry *registry, const Handover *handover) {
        assert(registry);
        assert(handover);

        for (size_t i = 0; i < handover->n_functions; i++) {
                const HandoverFunction *former = &handover->functions[i];
                int r;

                /* The former run had each once. */
                if (registry_find_fid(registry, former->sysfs.fid) ||
                    registry_find_address(registry, former->sysfs.address))
                        continue;
                r = registry_add(registry, &former->sysfs, former);
                if (r < 0)
                        return r;
        }

        return 0;
}

static bool registry_wants(const Registry *registry, const SysfsFunction *sysfs) {
        return sysfs->vfio_bound &&
               function_config(registry->context, sysfs).policy != POLICY_IGNORE;
}

int registry_correct(Registry *registry, const SysfsFunction *sysfs) {
        Entry *entry;

        assert(registry);
        assert(sysfs);

        /* Another FID at this address, or this FID at another: the old object goes first. */
        entry = registry_find_address(registry, sysfs->address);
        if (entry && entry->function->sysfs.fid != sysfs->fid)
                registry_drop(registry, entry);
        entry = registry_find_fid(registry, sysfs->fid);
        if (entry && strcmp(entry->function->sysfs.address, sysfs->address) != 0) {
                registry_drop(registry, entry);
                entry = NULL;
        }

        if (!registry_wants(registry, sysfs)) {
                if (entry)
                        registry_leave(registry, entry, sysfs);
                return 0;
        }

        /* Back already: it begins anew, and finds its device busy for a moment. */
        if (entry && entry->leaving) {
                registry_drop(registry, entry);
                entry = NULL;
        }

        if (!entry)
                return registry_add(registry, sysfs, NULL);

        entry->seen = true;
        function_correct(entry->function, sysfs);
        return 0;
}

bool registry_keep(Registry *registry, const char *address) {
        Entry *entry;

        assert(registry);
        assert(address);

        entry = registry_find_address(registry, address);
        if (!entry)
                return false;

        entry->seen = true;
        return true;
}

void registry_remove(Registry *registry, const char *address) {
        Entry *entry;

        assert(registry);
        assert(address);

        entry = registry_find_address(registry, address);
        if (entry)
                registry_leave(registry, entry, NULL);
}

void registry_became_idle(Registry *registry, const Function *function) {
        Entry *entry;

        assert(registry);
        assert(function);

        entry = registry_find_fid(registry, function->sysfs.fid);
        if (entry && entry->function == function && entry->leaving && !function_is_busy(function))
                registry_drop(registry, entry);
}

void registry_scan_begin(Registry *registry) {
        assert(registry);

        for (size_t i = 0; i < registry->n_entries; i++)
                registry->entries[i].seen = false;
}

void registry_scan_end(Registry *registry) {
        assert(registry);

        for (size_t i = registry->n_entries; i > 0; i--)
                if (!registry->entries[i - 1].seen)
                        registry_leave(registry, &registry->entries[i - 1], NULL);
}

Function *registry_by_fid(const Registry *registry, uint32_t fid) {
        Entry *entry;

        assert(registry);

        entry = registry_find_fid(registry, fid);
        return entry ? entry->function : NULL;
}

Function *registry_by_address(const Registry *registry, const char *address) {
        Entry *entry;

        assert(registry);
        assert(address);

        entry = registry_find_address(registry, address);
        return entry ? entry->function : NULL;
}

static bool function_has_handle(const Function *function, uint32_t fh) {
        uint32_t now;

        return sysfs_read_handle(function->sysfs.address, &now) >= 0 && now == fh;
}

Function *registry_by_handle(const Registry *registry, uint32_t fh) {
        assert(registry);

        /* Those that had it when they were last looked at are the likely ones. */
        for (int likely = 1; likely >= 0; likely--)
                for (size_t i = 0; i < registry->n_entries; i++) {
                        Function *function = registry->entries[i].function;

                        if ((function->sysfs.fh == fh) == (likely == 1) &&
                            function_has_handle(function, fh))
                                return function;
                }

        return NULL;
}

size_t registry_size(const Registry *registry) {
        assert(registry);

        return registry->n_entries;
}

Function *registry_get(const Registry *registry, size_t index) {
        assert(registry);
        assert(index < registry->n_entries);

        return registry->entries[index].function;
}
