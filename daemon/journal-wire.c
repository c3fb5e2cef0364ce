/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <endian.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "journal-wire.h"

#define FIELD_NAME_MAX 64U /* journald drops fields with longer names */
#define SEALS          (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

static bool field_name_valid(const char *name, size_t size) {
        if (size == 0 || size > FIELD_NAME_MAX || name[0] == '_' ||
            (name[0] >= '0' && name[0] <= '9'))
                return false;

        for (size_t i = 0; i < size; i++)
                if (!(name[i] >= 'A' && name[i] <= 'Z') && !(name[i] >= '0' && name[i] <= '9') &&
                    name[i] != '_')
                        return false;

        return true;
}

static void wire_add(JournalWire *wire, const void *bytes, size_t size) {
        wire->iov[wire->n_iov++] = (struct iovec){
                .iov_base = (void *) bytes,
                .iov_len = size,
        };
        wire->size += size;
}

/* "NAME=value\n", or, for values with a line feed, "NAME\n", length as le64, value, "\n". */
static int wire_add_field(JournalWire *wire, size_t i, const struct iovec *field) {
        const char *text = field->iov_base;
        const char *equals = field->iov_len > 0 ? memchr(text, '=', field->iov_len) : NULL;
        size_t name_size, value_size;
        uint64_t length;

        if (!equals || !field_name_valid(text, (size_t) (equals - text)))
                return -EINVAL;

        name_size = (size_t) (equals - text);
        value_size = field->iov_len - name_size - 1;

        if (value_size == 0 || !memchr(equals + 1, '\n', value_size))
                wire_add(wire, text, field->iov_len);
        else {
                length = htole64(value_size);
                wire->lengths[i][0] = '\n';
                memcpy(&wire->lengths[i][1], &length, sizeof(length));

                wire_add(wire, text, name_size);
                wire_add(wire, wire->lengths[i], sizeof(wire->lengths[i]));
                wire_add(wire, equals + 1, value_size);
        }

        wire_add(wire, "\n", 1);
        return 0;
}

int journal_wire_build(JournalWire *wire, const struct iovec *fields, size_t n_fields) {
        int r;

        assert(fields);

        wire->n_iov = 0;
        wire->size = 0;
        if (n_fields == 0)
                return -EINVAL;
        if (n_fields > JOURNAL_FIELDS_MAX)
                return -E2BIG;

        for (size_t i = 0; i < n_fields; i++) {
                r = wire_add_field(wire, i, &fields[i]);
                if (r < 0)
                        return r;
        }

        return 0;
}

void journal_wire_copy(const JournalWire *wire, uint8_t *bytes) {
        assert(wire);
        assert(bytes);

        for (size_t i = 0; i < wire->n_iov; i++)
                bytes = mempcpy(bytes, wire->iov[i].iov_base, wire->iov[i].iov_len);
}

int journal_wire_memfd(const struct iovec *iov, size_t n_iov) {
        _cleanup_close_ int fd = -EBADF;
        size_t size = 0;
        ssize_t n;

        assert(iov);

        fd = memfd_create("journal-data", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;

        for (size_t i = 0; i < n_iov; i++)
                size += iov[i].iov_len;
        n = writev(fd, iov, (int) n_iov);
        if (n < 0)
                return -errno;
        if ((size_t) n != size)
                return -ENOMEM;
        if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
                return -errno;

        return TAKE_FD(fd);
}
