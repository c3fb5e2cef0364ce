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
#include "subject.h"

#define XML_SIZE_MAX ((size_t) 16 * 1024 * 1024)

_Static_assert(SUBJECT_FIELDS_MAX <= LOG_FIELDS_MAX,
               "an entry has room for all fields of a subject");

/* For whom all is done, and where it is said. */
typedef struct Hook {
        const HookOperation *operation;
        char holder[HOLDER_SIZE];
        uint64_t deadline_usec;
        Log *log;
} Hook;

/*
 * The first operation is before libvirt binds functions to vfio-pci, and before it takes some from
 * a network's pool; the second is after that, right before QEMU is started. The third is the last
 * that shows those of a pool, when QEMU has gone and libvirt is not done with them; the fourth is
 * when it is. A function is given back by a release that ends soon: the policy decides then.
 */
static const HookOperation operations[] = {
        { "prepare", "begin", .is_first = true, .takes = true, .grace_usec = 0 },
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

/* The functions that came to this. Returns whether there are any. */
static bool subject_begin_with(Subject *subject,
                               const Hook *hook,
                               const Release *releases,
                               size_t n,
                               ReleaseOutcome outcome) {
        subject_begin(subject, hook->holder);
        for (size_t i = 0; i < n; i++)
                if (releases[i].outcome == outcome)
                        subject_add(subject, releases[i].address);

        return subject->n_functions > 0;
}

/* What the daemon is asked for, as part of a sentence. */
static const char *hook_wish(const Hook *hook) {
        return hook->operation->takes ? "let go of" : "take back";
}

static void hook_say_failed(const Hook *hook, const Release *release) {
        Subject subject;

        subject_begin(&subject, hook->holder);
        subject_add(&subject, release->address);
        (void) log_entry(hook->log,
                         LOG_WARNING,
                         0,
                         subject.fields,
                         "Guest \"%s\": " ERRORD_PROGRAM " does not %s %s: %s",
                         hook->holder,
                         hook_wish(hook),
                         subject.list,
                         release->problem);
}

static void hook_say_outcome(const Hook *hook, const Release *releases, size_t n) {
        Subject subject;

        for (size_t i = 0; i < n; i++)
                if (releases[i].outcome == RELEASE_FAILED)
                        hook_say_failed(hook, &releases[i]);

        if (hook->operation->is_first &&
            subject_begin_with(&subject, hook, releases, n, RELEASE_NO_DAEMON))
                (void) log_entry(hook->log,
                                 LOG_NOTICE,
                                 0,
                                 subject.fields,
                                 "Guest \"%s\": " ERRORD_PROGRAM
                                 " does not run, and so does not hold %s",
                                 hook->holder,
                                 subject.list);

        if (subject_begin_with(&subject, hook, releases, n, RELEASE_PENDING))
                (void) log_entry(hook->log,
                                 LOG_WARNING,
                                 0,
                                 subject.fields,
                                 "Guest \"%s\": " ERRORD_PROGRAM
                                 " was asked to %s %s, and did not answer in time%s",
                                 hook->holder,
                                 hook_wish(hook),
                                 subject.list,
                                 hook->operation->takes ? "; the guest may find them busy" : "");
}

static int hook_ask(const Hook *hook, Release *releases, size_t n) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_open_system(&bus);
        if (r < 0)
                return r;

        return release_all(bus,
                           hook->operation->grace_usec,
                           hook->operation->takes ? hook->holder : NULL,
                           hook->deadline_usec,
                           releases,
                           n);
}

static void hook_release(const Hook *hook, const DomainFunctions *functions) {
        _cleanup_free_ Release *releases = NULL;
        Subject subject;
        int r = -ENOMEM;

        releases = calloc(functions->n, sizeof(*releases));
        if (releases) {
                for (size_t i = 0; i < functions->n; i++)
                        releases[i].address = functions->addresses[i];
                r = hook_ask(hook, releases, functions->n);
        }

        if (r >= 0 || r == -ETIMEDOUT) {
                hook_say_outcome(hook, releases, functions->n);
                return;
        }

        subject_begin(&subject, hook->holder);
        for (size_t i = 0; i < functions->n; i++)
                subject_add(&subject, functions->addresses[i]);
        (void) log_entry(hook->log,
                         LOG_WARNING,
                         r,
                         subject.fields,
                         "Guest \"%s\": cannot reach the system bus to have " ERRORD_PROGRAM
                         " %s %s",
                         hook->holder,
                         hook_wish(hook),
                         subject.list);
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
        Subject subject;
        int r;

        assert(operation);
        assert(guest);
        assert(log);

        holder_from_guest(guest, hook.holder);
        subject_begin(&subject, hook.holder);

        r = hook_read_domain(&hook, &functions);
        if (r < 0) {
                (void) log_entry(log,
                                 LOG_WARNING,
                                 0,
                                 subject.fields,
                                 "Guest \"%s\": cannot have " ERRORD_PROGRAM
                                 " %s its PCI functions, because its XML cannot be read: %s",
                                 hook.holder,
                                 hook_wish(&hook),
                                 domain_problem(r));
                return;
        }

        if (functions.n_invalid > 0)
                (void) log_entry(
                        log,
                        LOG_WARNING,
                        0,
                        subject.fields,
                        "Guest \"%s\": passed over devices whose host address is none: %zu",
                        hook.holder,
                        functions.n_invalid);
        if (functions.n > 0)
                hook_release(&hook, &functions);
}
