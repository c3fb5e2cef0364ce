/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Accounts of errors, made up. */

#include <string.h>

#include "pairing.h"

/* What is known of an error to who knows all: its record, of function fid with handle 0x8000 | fid. */
static inline PairingAccount
make_account(RecordSource source, uint32_t fid, uint16_t pec, uint8_t place, uint64_t time_usec) {
        PairingAccount account = {
                .source = source,
                .fid = fid,
                .pec = pec,
                .detailed = true,
                .time_usec = time_usec,
        };

        account.raw[6] = 0x80;
        account.raw[7] = (uint8_t) fid;
        for (unsigned i = 0; i < 4; i++)
                account.raw[8 + i] = (uint8_t) (fid >> (24 - 8 * i));
        account.raw[23] = place; /* of the failing address */
        account.raw[30] = (uint8_t) (pec >> 8);
        account.raw[31] = (uint8_t) pec;
        return account;
}

/* A record of the packed interface, which knows no more than FID and PEC. */
static inline void tell_packed(Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec) {
        PairingAccount account = {
                .source = RECORD_VFIO,
                .fid = fid,
                .pec = pec,
                .number = 1,
                .time_usec = time_usec,
        };

        (void) pairing_vfio(pairing, &account);
}

/* A record that a former run left. */
static inline void
tell_former(Pairing *pairing, uint32_t fid, uint16_t pec, uint64_t time_usec, uint64_t now_usec) {
        PairingAccount account = make_account(RECORD_VFIO, fid, pec, 0, time_usec);

        pairing_former(pairing, &account, false, now_usec);
}
