/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Journal entries as they go over journald's socket: systemd.io/JOURNAL_NATIVE_PROTOCOL. */

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "journal.h"

typedef struct JournalWire {
        struct iovec iov[4 * JOURNAL_FIELDS_MAX]; /* points into the fields and into lengths */
        size_t n_iov;
        size_t size; /* of all bytes */
        uint8_t lengths[JOURNAL_FIELDS_MAX][1 + sizeof(uint64_t)];
} JournalWire;

/*
 * Lays out an entry of "NAME=value" fields, whose bytes are not copied: they must outlive wire, and
 * wire must stay where it is. Returns 0, -EINVAL if there are no fields or one has no name or one
 * that journald would refuse, -E2BIG if there are more than JOURNAL_FIELDS_MAX.
 */
int journal_wire_build(JournalWire *wire, const struct iovec *fields, size_t n_fields);

/* Copies all of it to bytes, which has room for wire->size. */
void journal_wire_copy(const JournalWire *wire, uint8_t *bytes);

/*
 * Copies all of it to a new memfd, sealed, since journald takes no file that somebody could still
 * change. Returns the fd or a negative errno.
 */
int journal_wire_memfd(const struct iovec *iov, size_t n_iov);
