/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The CCDF error record of a PCI function: 32 bytes, big-endian, decoded by byte offset.
 *
 * Layout: struct zpci_ccdf_err in arch/s390/include/asm/pci.h and arch/s390/pci/pci_event.c of
 * Linux. The architecture lets the record grow at its end; what is not known is kept in the raw
 * bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CCDF_ERROR_SIZE 32U

typedef struct CcdfError {
        uint32_t fh;                 /* function handle */
        uint32_t fid;                /* function ID */
        uint8_t expected_table_type; /* 4 bits; the coding is not public */
        uint16_t msi_vector;         /* MSI vector number, 12 bits */
        uint8_t dma_address_space;
        bool qualifier;           /* event qualifier; the meaning is not public */
        bool read_write;          /* the polarity is not public */
        uint64_t failing_address; /* PCI (DMA) address */
        uint16_t pec;             /* PCI event code, see pec.h */
} CcdfError;

/*
 * Decodes the first 32 of size bytes. Returns 0, or -EBADMSG if there are fewer, in which case
 * *ret is untouched.
 */
int ccdf_decode(const uint8_t *bytes, size_t size, CcdfError *ret);

/*
 * Writes bytes as lower-case hexadecimal digits without blanks, and a zero byte.
 * text must hold 2 * size + 1 bytes.
 */
void ccdf_format(const uint8_t *bytes, size_t size, char *text);
