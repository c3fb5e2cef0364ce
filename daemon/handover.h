/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What one run of the daemon hands over to the next, besides the records: who asked for what, and
 * what is not to be forgotten of each function.
 *
 * A memfd in the service manager's fd store, with a text in it (JSON). It is written anew whenever
 * something changes, beside the former text; the store of the place where it is makes it valid. So a
 * crash at any instant leaves the one or the other.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "recovery-limit.h"
#include "sysfs.h"
#include "util.h"

#define HANDOVER_TEXT_SIZE 257U /* of who and why, with the end */
#define HANDOVER_NAME_SIZE 256U /* of a connection of the bus */

typedef struct HandoverFunction {
        SysfsFunction sysfs;          /* without the policy */
        bool claimed;                 /* by Claim(), whatever the policy */
        bool released;                /* by Release() … */
        uint64_t released_until_usec; /* … until then (CLOCK_MONOTONIC), 0: until Claim() */
        char holder[HANDOVER_TEXT_SIZE];
        bool permanent;
        bool recovery_limit;
        RecoveryHistory recoveries;
        char owner[HANDOVER_NAME_SIZE]; /* who attached it: a unique name, or empty */
        uid_t owner_uid;
} HandoverFunction;

typedef struct HandoverInhibitor {
        uint64_t id; /* names its fd in the store */
        char **addresses;
        size_t n_addresses;
        char who[HANDOVER_TEXT_SIZE];
        char why[HANDOVER_TEXT_SIZE];
        uid_t uid;
        pid_t pid;
} HandoverInhibitor;

typedef struct Handover {
        char bus_id[33]; /* of the bus that has the owners; empty if there was none */
        HandoverFunction *functions;
        size_t n_functions;
        HandoverInhibitor *inhibitors;
        size_t n_inhibitors;
} Handover;

/* Adds a zeroed one. Returns NULL if there is no memory; valid until the next is added. */
HandoverFunction *handover_add_function(Handover *handover);
HandoverInhibitor *handover_add_inhibitor(Handover *handover);
/* Frees what it has. */
void handover_done(Handover *handover);
/* Copies an inhibitor, addresses and all. Returns 0, or -ENOMEM: then *to has nothing to free. */
int handover_copy_inhibitor(HandoverInhibitor *to, const HandoverInhibitor *from);
/* Frees the addresses. */
void handover_inhibitor_done(HandoverInhibitor *inhibitor);

/* Makes an empty memfd for it. Returns an fd or a negative errno. */
int handover_create(void);
/*
 * Writes it. Returns 0, -ENOMEM, -EFBIG if it is longer than what is read, -EBADMSG if fd is damaged,
 * or an error of pread(2) and pwrite(2): then the former text stays valid.
 */
int handover_write(int fd, const Handover *handover);
/*
 * Reads what a former run wrote; nothing of it is believed unchecked. What is wrong in itself (an
 * address that is none) is left out, and *ret_skipped counts it. Returns 0, -ENODATA if nothing was
 * written yet, -EBADMSG if it is damaged, -EPROTO if it is of a newer version, -ENOMEM, or an error
 * of pread(2).
 */
int handover_read(int fd, Handover *ret, unsigned *ret_skipped);
