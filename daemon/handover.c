/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "handover-text.h"

#define HANDOVER_MAGIC "ZPCIHAND"
#define HANDOVER_PAGE  4096U
#define ALLOCATE_STEP  16U

/* At the beginning of the memfd. */
typedef struct HandoverHeader {
        char magic[8];
        uint64_t place_offset; /* these two are written by one store of 16 bytes */
        uint64_t place_size;
} HandoverHeader;

_Static_assert(sizeof(HandoverHeader) == 24, "the header never changes its size");

/* Room for one more in an array. */
static void *handover_grow(void *array, size_t n, size_t size) {
        if (n % ALLOCATE_STEP != 0)
                return array;
        return reallocarray(array, n + ALLOCATE_STEP, size);
}

HandoverFunction *handover_add_function(Handover *handover) {
        HandoverFunction *functions;

        assert(handover);

        functions = handover_grow(
                handover->functions, handover->n_functions, sizeof(*handover->functions));
        if (!functions)
                return NULL;
        handover->functions = functions;
        functions += handover->n_functions++;
        *functions = (HandoverFunction){ 0 };
        return functions;
}

HandoverInhibitor *handover_add_inhibitor(Handover *handover) {
        HandoverInhibitor *inhibitors;

        assert(handover);

        inhibitors = handover_grow(
                handover->inhibitors, handover->n_inhibitors, sizeof(*handover->inhibitors));
        if (!inhibitors)
                return NULL;
        handover->inhibitors = inhibitors;
        inhibitors += handover->n_inhibitors++;
        *inhibitors = (HandoverInhibitor){ 0 };
        return inhibitors;
}

void handover_inhibitor_done(HandoverInhibitor *inhibitor) {
        assert(inhibitor);

        for (size_t i = 0; i < inhibitor->n_addresses; i++)
                free(inhibitor->addresses[i]);
        free(inhibitor->addresses);
        inhibitor->addresses = NULL;
        inhibitor->n_addresses = 0;
}

int handover_copy_inhibitor(HandoverInhibitor *to, const HandoverInhibitor *from) {
        assert(to);
        assert(from);

        *to = *from;
        to->n_addresses = 0;
        to->addresses = calloc(from->n_addresses, sizeof(char *));
        if (!to->addresses)
                return -ENOMEM;

        for (size_t i = 0; i < from->n_addresses; i++) {
                to->addresses[i] = strdup(from->addresses[i]);
                if (!to->addresses[i]) {
                        handover_inhibitor_done(to);
                        return -ENOMEM;
                }
                to->n_addresses++;
        }

        return 0;
}

void handover_done(Handover *handover) {
        assert(handover);

        for (size_t i = 0; i < handover->n_inhibitors; i++)
                handover_inhibitor_done(&handover->inhibitors[i]);
        free(handover->inhibitors);
        free(handover->functions);
        *handover = (Handover){ 0 };
}

static int write_all(int fd, const void *data, size_t size, uint64_t offset) {
        const char *rest = data;

        while (size > 0) {
                ssize_t n = pwrite(fd, rest, size, (off_t) offset);

                if (n < 0)
                        return -errno;
                rest += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }

        return 0;
}

static int read_all(int fd, void *data, size_t size, uint64_t offset) {
        char *rest = data;

        while (size > 0) {
                ssize_t n = pread(fd, rest, size, (off_t) offset);

                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EBADMSG;
                rest += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }

        return 0;
}

int handover_create(void) {
        const HandoverHeader header = { .magic = HANDOVER_MAGIC };
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = memfd_create("zpci-errord-handover", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = write_all(fd, &header, sizeof(header), 0);
        return r < 0 ? r : TAKE_FD(fd);
}

/* Returns 0, -EBADMSG if the header is damaged, or an error of fstat(2) and pread(2). */
static int read_header(int fd, HandoverHeader *ret) {
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        r = read_all(fd, ret, sizeof(*ret), 0);
        if (r < 0)
                return r;
        if (memcmp(ret->magic, HANDOVER_MAGIC, sizeof(ret->magic)) != 0 ||
            ret->place_size > HANDOVER_TEXT_MAX || ret->place_offset > (uint64_t) st.st_size ||
            ret->place_size > (uint64_t) st.st_size - ret->place_offset)
                return -EBADMSG;
        return 0;
}

/* Where size bytes do not touch the former text. */
static uint64_t handover_place(const HandoverHeader *former, size_t size) {
        uint64_t end;

        if (former->place_size == 0 || HANDOVER_PAGE + size <= former->place_offset)
                return HANDOVER_PAGE;

        end = former->place_offset + former->place_size;
        return (end + HANDOVER_PAGE - 1) / HANDOVER_PAGE * HANDOVER_PAGE;
}

int handover_write(int fd, const Handover *handover) {
        _cleanup_free_ char *text = NULL;
        HandoverHeader header;
        size_t size;
        int r;

        assert(fd >= 0);
        assert(handover);

        r = read_header(fd, &header);
        if (r < 0)
                return r;
        r = handover_format(handover, &text);
        if (r < 0)
                return r;
        size = strlen(text);
        if (size > HANDOVER_TEXT_MAX)
                return -EFBIG;

        header.place_offset = handover_place(&header, size);
        header.place_size = size;
        r = write_all(fd, text, size, header.place_offset);
        if (r < 0)
                return r;
        /* Less than a page, and in one: no sudden end of ours comes in the middle of it. */
        return write_all(fd, &header, sizeof(header), 0);
}

int handover_read(int fd, Handover *ret, unsigned *ret_skipped) {
        _cleanup_free_ char *text = NULL;
        HandoverHeader header;
        int r;

        assert(fd >= 0);
        assert(ret);
        assert(ret_skipped);

        r = read_header(fd, &header);
        if (r < 0)
                return r;
        if (header.place_size == 0)
                return -ENODATA;

        text = malloc(header.place_size);
        if (!text)
                return -ENOMEM;
        r = read_all(fd, text, header.place_size, header.place_offset);
        if (r < 0)
                return r;
        return handover_parse(text, header.place_size, ret, ret_skipped);
}
