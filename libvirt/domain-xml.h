/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which PCI functions of the host a libvirt domain is given, by its XML. */

#include <stddef.h>

#include "parse.h"

/* Twice the functions that any kernel is built for. */
#define DOMAIN_FUNCTIONS_MAX 1024U

typedef struct DomainFunctions {
        char addresses[DOMAIN_FUNCTIONS_MAX][PCI_ADDRESS_SIZE]; /* each once, as they come */
        size_t n;
        size_t n_invalid; /* devices whose host address is none */
} DomainFunctions;

/*
 * Reads the XML that libvirt gives its hooks. The addresses are those of the host: of
 * hostdev[@type='pci'], of interface[@type='hostdev'], and of disk[@type='nvme'] with what backs
 * it, each below source; never the guest's view, which is the device's own address. Nothing is
 * loaded from anywhere, and a document type, which libvirt never writes, is refused: so there are
 * no entities. Returns 0, -EBADMSG if this is no such XML, -EINVAL if it is of something else than
 * a domain, -E2BIG if it has more functions than a host can have, or -ENOMEM.
 */
int domain_functions_read(const void *xml, size_t size, DomainFunctions *ret);
