/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The text of a handover, and nobody else sees it. */

#include "handover.h"

/* Returns 0 or -ENOMEM; the text is the caller's. */
int handover_format(const Handover *handover, char **ret);
/* As handover_read(). text ends with a null byte after size bytes. */
int handover_parse(const char *text, size_t size, Handover *ret, unsigned *ret_skipped);
