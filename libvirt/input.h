/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Waits until a read of fd would not wait, also because there is nobody to write any more, or until
 * a time of CLOCK_MONOTONIC. Returns 0, -ETIMEDOUT, or another negative errno.
 */
int input_wait(int fd, uint64_t deadline_usec);

/*
 * Reads fd to its end, or until that time. *ret is the caller's to free. Returns 0,
 * -EFBIG if there are more than max bytes, -ETIMEDOUT, or another negative errno.
 */
int input_read(int fd, size_t max, uint64_t deadline_usec, void **ret, size_t *ret_size);
