/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The text of a handover, and nobody else sees it. */

#include "handover.h"

#define HANDOVER_VERSION  1U
#define HANDOVER_TEXT_MAX (16U * 1024U * 1024U)

/* Returns 0 or -ENOMEM; the text is the caller's. */
int handover_format(const Handover *handover, char **ret);
/* As handover_read(). size is at most HANDOVER_TEXT_MAX. */
int handover_parse(const char *text, size_t size, Handover *ret, unsigned *ret_skipped);
