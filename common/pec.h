/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * PCI event codes (PEC): what they are called, what they mean, and how bad they are.
 *
 * Names and meanings are taken from public sources only: arch/s390/pci/pci_event.c of Linux,
 * hw/s390x/s390-pci-bus.h of QEMU, and the z/VM monitor record MRIODPER. Where no public text says
 * what a code means there is a name and no meaning.
 */

#include <stdint.h>

typedef enum PecSeverity {
        PEC_RECOVERABLE,   /* a reset of the function recovers it */
        PEC_PERMANENT,     /* a reset does not help */
        PEC_INFORMATIONAL, /* no error of the function */
        PEC_UNKNOWN,       /* the source of the record did not tell the code */
        _PEC_SEVERITY_MAX,
} PecSeverity;

typedef struct Pec {
        uint16_t code;
        const char *name;    /* "UNKNOWN" for codes that have none */
        const char *meaning; /* one clause without a full stop, or NULL where none is public */
        PecSeverity severity;
} Pec;

/*
 * Describes a code. Codes that are not in the table are recoverable, as Linux treats them, and
 * named UNKNOWN. Code 0 stands for "not told" and has severity PEC_UNKNOWN. The result is static
 * but for its code, which is the one asked for.
 */
Pec pec_describe(uint16_t code);

/* "recoverable", "permanent", "informational", "unknown"; NULL if out of range. */
const char *pec_severity_to_string(PecSeverity severity);
