/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stddef.h>

#include "pec.h"
#include "util.h"

#define PEC_NO_NAME "UNKNOWN"

/* Where there is no meaning, no public text has one. */
/* clang-format off */
static const Pec pecs[] = {
        { 0x0000, PEC_NO_NAME, NULL, PEC_UNKNOWN }, /* not told; no code of the platform */
        { 0x0001, "INVALAS", "DMA to an address space with no translation registered", PEC_RECOVERABLE },
        { 0x0002, "OORANGE", "DMA address outside the registered range", PEC_RECOVERABLE },
        { 0x0003, "INVALTF", "invalid I/O translation anchor format", PEC_RECOVERABLE },
        { 0x0004, "TPROTE", "write denied by the protection bit of the translation anchor", PEC_RECOVERABLE },
        { 0x0005, "APROTE", "write denied by the protection bit of a translation table entry", PEC_RECOVERABLE },
        { 0x0006, "KEYE", NULL, PEC_RECOVERABLE },
        { 0x0007, "INVALTE", "invalid translation table entry", PEC_RECOVERABLE },
        { 0x0008, "INVALTL", "invalid translation table length", PEC_RECOVERABLE },
        { 0x0009, "TT", "translation table type mismatch", PEC_RECOVERABLE },
        { 0x000a, "INVALMS", NULL, PEC_RECOVERABLE },
        { 0x000b, "SERR", NULL, PEC_RECOVERABLE },
        { 0x0010, "NOMSI", NULL, PEC_RECOVERABLE },
        { 0x0011, "INVALBV", NULL, PEC_RECOVERABLE },
        { 0x0012, "AIBV", NULL, PEC_RECOVERABLE },
        { 0x0013, "AIRERR", "adapter interruption indicator address cannot be mapped", PEC_RECOVERABLE },
        { 0x002a, "FMBA", "function measurement block", PEC_INFORMATIONAL },
        { 0x002b, "FMBUP", "function measurement block", PEC_INFORMATIONAL },
        { 0x002c, "FMBPRO", "function measurement block", PEC_INFORMATIONAL },
        { 0x0030, "CCONF", NULL, PEC_RECOVERABLE },
        { 0x003a, "SERVAC", "service action", PEC_RECOVERABLE },
        { 0x003b, "PERMERR", "permanent error", PEC_PERMANENT },
        { 0x0040, PEC_NO_NAME, "service action or error recovery failed", PEC_PERMANENT },
};
/* clang-format on */

Pec pec_describe(uint16_t code) {
        for (size_t i = 0; i < ELEMENTSOF(pecs); i++)
                if (pecs[i].code == code)
                        return pecs[i];

        return (Pec){ code, PEC_NO_NAME, NULL, PEC_RECOVERABLE };
}

const char *pec_severity_to_string(PecSeverity severity) {
        static const char *const names[_PEC_SEVERITY_MAX] = {
                [PEC_RECOVERABLE] = "recoverable",
                [PEC_PERMANENT] = "permanent",
                [PEC_INFORMATIONAL] = "informational",
                [PEC_UNKNOWN] = "unknown",
        };

        return (unsigned) severity < _PEC_SEVERITY_MAX ? names[severity] : NULL;
}
