/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "domain-xml.h"
#include "holder.h"
#include "hook.h"
#include "input.h"
#include "names.h"
#include "release.h"

#define XML_SIZE_MAX ((size_t) 16 * 1024 * 1024)

#define FIELD_SIZE (sizeof(ERRORD_FIELD_HOLDER "=") + HOLDER_SIZE)

/* For whom all is done, and where it is said. */
typedef struct Hook {
        const HookOperation *operation;
        char holder[HOLDER_SIZE];
        uint64_t deadline_usec;
        Log *log;
} Hook;

/* The fields of an entry about the guest and some of its functions. */
typedef struct Fields {
        const char *list[LOG_FIELDS_MAX + 1];
        char texts[LOG_FIELDS_MAX][FIELD_SIZE];
        size_t n;
} Fields;

/*
 * The first operation is before libvirt binds functions to vfio-pci, and before it takes some from a
 * network's pool; the second is after that, right before QEMU is started. The third is the last that
 * shows those of a pool, when QEMU has gone and libvirt is not done with them; the fourth is when it
 * is. A function is given back by a release that ends soon: the policy decides then.
 */
static const HookOperation operations[] = {
        { "prepare", "begin", .takes = true, .grace_usec = 0 },
        { "start", "begin", .takes = true, .grace_usec = 0 },
        { "stopped", "end", .takes = false, .grace_usec = 10 * USEC_PER_SEC },
        { "release", "end", .takes = false, .grace_usec = 1 },
};

const HookOperation *hook_operation_find(const char *operation, const char *suboperation) {
        assert(operation && suboperation);

        for (size_t i = 0; i < ELEMENTSOF(operations); i++)
                if (strcmp(operations[i].operation, operation) == 0 &&
                    strcmp(operations[i].suboperation, suboperation) == 0)
                        return &operations[i];

        return NULL;
}

static void fields_add(Fields *fields, const char *name, const char *value) {
        if (fields->n == LOG_FIELDS_MAX)
                return;

        (void) snprintf(fields->texts[fields->n], FIELD_SIZE, "%s=%s", name, value);
        fields->list[fields->n] = fields->texts[fields->n];
        fields->list[++fields->n] = NULL;
}

static const char *const *hook_fields(const Hook *hook, Fields *fields) {
        fields->n = 0;
        fields_add(fields, ERRORD_FIELD_HOLDER, hook->holder);
        return fields->list;
}

/* The same with the functions that came to this, which *ret_n are. */
static const char *const *hook_fields_of(const Hook *hook,
                                         Fields *fields,
                                         const Release *releases,
                                         size_t n,
                                         ReleaseOutcome outcome,
                                         size_t *ret_n) {
        (void) hook_fields(hook, fields);
        *ret_n = 0;
        for (size_t i = 0; i < n; i++)
                if (releases[i].outcome == outcome) {
                        fields_add(fields, ERRORD_FIELD_ADDRESS, releases[i].address);
                        (*ret_n)++;
                }

        return fields->list;
}

/* What the daemon is asked for, as part of a sentence. */
static const char *hook_wish(const Hook *hook) {
        return hook->operation->takes ? "let go of" : "take back";
}

static void hook_say_failed(const Hook *hook, const Release *release) {
        Fields fields;

        (void) hook_fields(hook, &fields);
        fields_add(&fields, ERRORD_FIELD_ADDRESS, release->address);
        (void) log_entry(hook->log,
                         LOG_WARNING,
                         0,
                         fields.list,
                         "Guest \"%s\": " ERRORD_PROGRAM " does not %s %s: %s",
                         hook->holder,
                         hook_wish(hook),
                         release->address,
                         release->problem);
}

/* That no daemon runs is said once, when a guest is started. */
static void hook_say_outcome(const Hook *hook, const Release *releases, size_t n, int result) {
        const char *const *list;
        size_t n_said;
        Fields fields;

        for (size_t i = 0; i < n; i++)
                if (releases[i].outcome == RELEASE_FAILED && result != -ECONNRESET)
                        hook_say_failed(hook, &releases[i]);

        list = hook_fields_of(hook, &fields, releases, n, RELEASE_NO_DAEMON, &n_said);
        if (n_said > 0)
                (void) log_entry(hook->log,
                                 hook->operation == operations ? LOG_NOTICE : LOG_DEBUG,
                                 0,
                                 list,
                                 "Guest \"%s\": " ERRORD_PROGRAM
                                 " does not run, and so holds none of its %zu PCI functions",
                                 hook->holder,
                                 n_said);

        list = hook_fields_of(hook, &fields, releases, n, RELEASE_PENDING, &n_said);
        if (n_said > 0 && result == -ETIMEDOUT)
                (void) log_entry(hook->log,
                                 LOG_WARNING,
                                 0,
                                 list,
                                 "Guest \"%s\": " ERRORD_PROGRAM
                                 " did not answer in time when asked to %s %zu PCI functions",
                                 hook->holder,
                                 hook_wish(hook),
                                 n_said);
}

static void hook_release(const Hook *hook, const DomainFunctions *functions) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        _cleanup_free_ Release *releases = NULL;
        Fields fields;
        int r;

        releases = calloc(functions->n, sizeof(*releases));
        r = releases ? sd_bus_open_system(&bus) : -ENOMEM;
        if (r >= 0) {
                for (size_t i = 0; i < functions->n; i++)
                        releases[i].address = functions->addresses[i];
                r = release_all(bus,
                                hook->operation->grace_usec,
                                hook->operation->takes ? hook->holder : NULL,
                                hook->deadline_usec,
                                releases,
                                functions->n);
                hook_say_outcome(hook, releases, functions->n, r);
        }
        if (r < 0 && r != -ETIMEDOUT)
                (void) log_entry(hook->log,
                                 LOG_WARNING,
                                 r,
                                 hook_fields(hook, &fields),
                                 "Guest \"%s\": cannot ask " ERRORD_PROGRAM
                                 " over the system bus to %s %zu PCI functions",
                                 hook->holder,
                                 hook_wish(hook),
                                 functions->n);
}

static const char *domain_problem(int error) {
        switch (error) {
        case -EBADMSG:
                return "it is not well-formed";
        case -EINVAL:
                return "it is not of a domain";
        case -E2BIG:
                return "it has more PCI functions than a host can have";
        case -EFBIG:
                return "it is too long";
        case -ETIMEDOUT:
                return "it did not end in time";
        default:
                return strerror(-error);
        }
}

static int hook_read_domain(const Hook *hook, DomainFunctions *ret) {
        _cleanup_free_ void *xml = NULL;
        size_t size;
        int r;

        r = input_read(STDIN_FILENO, XML_SIZE_MAX, hook->deadline_usec, &xml, &size);
        return r < 0 ? r : domain_functions_read(xml, size, ret);
}

void hook_run(const HookOperation *operation, const char *guest, uint64_t deadline_usec, Log *log) {
        Hook hook = {
                .operation = operation,
                .deadline_usec = deadline_usec,
                .log = log,
        };
        DomainFunctions functions;
        Fields fields;
        int r;

        assert(operation);
        assert(guest);
        assert(log);

        holder_from_guest(guest, hook.holder);

        r = hook_read_domain(&hook, &functions);
        if (r < 0) {
                (void) log_entry(log,
                                 LOG_WARNING,
                                 0,
                                 hook_fields(&hook, &fields),
                                 "Guest \"%s\": cannot ask " ERRORD_PROGRAM
                                 " to %s its PCI functions, because its XML cannot be read: %s",
                                 hook.holder,
                                 hook_wish(&hook),
                                 domain_problem(r));
                return;
        }

        if (functions.n_invalid > 0)
                (void) log_entry(log,
                                 LOG_WARNING,
                                 0,
                                 hook_fields(&hook, &fields),
                                 "Guest \"%s\": passed over %zu devices whose address is none",
                                 hook.holder,
                                 functions.n_invalid);
        if (functions.n > 0)
                hook_release(&hook, &functions);
}
