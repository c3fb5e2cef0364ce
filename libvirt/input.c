/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <poll.h>

#include "input.h"
#include "util.h"

#define CHUNK ((size_t) 64 * 1024)

int input_wait(int fd, uint64_t deadline_usec) {
        struct pollfd input = {
                .fd = fd,
                .events = POLLIN,
        };

        for (;;) {
                uint64_t now = now_usec(CLOCK_MONOTONIC);
                uint64_t left = deadline_usec > now ? deadline_usec - now : 0;
                struct timespec timeout = {
                        .tv_sec = (time_t) (left / USEC_PER_SEC),
                        .tv_nsec = (long) (left % USEC_PER_SEC) * 1000,
                };
                int r = ppoll(&input, 1, &timeout, NULL);

                if (r > 0)
                        return 0;
                if (r == 0)
                        return -ETIMEDOUT;
                if (errno != EINTR)
                        return -errno;
        }
}

int input_read(int fd, size_t max, uint64_t deadline_usec, void **ret, size_t *ret_size) {
        _cleanup_free_ char *bytes = NULL;
        size_t size = 0, room = 0;
        int r;

        assert(ret && ret_size);

        for (;;) {
                ssize_t n;

                if (size == room) {
                        char *more = realloc(bytes, room + (room > 0 ? room : CHUNK));

                        if (!more)
                                return -ENOMEM;
                        bytes = more;
                        room += room > 0 ? room : CHUNK;
                }

                r = input_wait(fd, deadline_usec);
                if (r < 0)
                        return r;
                n = read(fd, bytes + size, room - size);
                if (n < 0 && errno != EINTR && errno != EAGAIN)
                        return -errno;
                if (n == 0)
                        break;
                if (n > 0)
                        size += (size_t) n;
                if (size > max)
                        return -EFBIG;
        }

        *ret = TAKE_PTR(bytes);
        *ret_size = size;
        return 0;
}
