/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Translations. What scripts read (headings, JSON, states, names of codes) is not translated. */

#include <libintl.h>

#define _(text)  gettext(text)
#define N_(text) text /* translated where it is used */
