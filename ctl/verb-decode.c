/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "ccdf.h"
#include "hex.h"
#include "output.h"
#include "pager.h"
#include "parse.h"
#include "pec.h"
#include "text.h"
#include "verb.h"

static int pec_to_json(const Pec *pec, json_object *object) {
        int r;

        r = value_add_number(object, "pec", pec->code);
        if (r >= 0)
                r = value_add_text(object, "name", pec->name);
        if (r >= 0 && pec->meaning)
                r = value_add_text(object, "meaning", pec->meaning);
        if (r >= 0)
                r = value_add_text(object, "severity", pec_severity_to_string(pec->severity));
        return r;
}

/* With the keys that "monitor" has for a record. */
static int record_to_json(const CcdfError *error, const char *raw, json_object *object) {
        int r;

        r = value_add_number(object, "fid", error->fid);
        if (r >= 0)
                r = value_add_number(object, "function_handle", error->fh);
        if (r >= 0)
                r = value_add_number(object, "failing_address", error->failing_address);
        if (r >= 0)
                r = value_add_number(object, "dma_address_space", error->dma_address_space);
        if (r >= 0)
                r = value_add_number(object, "msi_vector", error->msi_vector);
        if (r >= 0)
                r = value_add_number(object, "expected_table_type", error->expected_table_type);
        if (r >= 0)
                r = value_add_bool(object, "qualifier", error->qualifier);
        if (r >= 0)
                r = value_add_bool(object, "read_write", error->read_write);
        if (r >= 0)
                r = value_add_text(object, "raw", raw);
        return r;
}

static int pec_to_table(const Pec *pec, struct libscols_table *t) {
        int r;

        r = output_label(t, "PEC", NULL, "0x%04" PRIx16, pec->code);
        if (r >= 0)
                r = output_label(t, _("Name"), NULL, "%s", pec->name);
        if (r >= 0)
                r = output_label(t,
                                 _("Meaning"),
                                 NULL,
                                 "%s",
                                 pec->meaning ? pec->meaning : _("no public text says"));
        if (r >= 0)
                r = output_label(t,
                                 _("Severity"),
                                 pec->severity == PEC_PERMANENT ? COLOUR_BAD : NULL,
                                 "%s",
                                 pec_severity_to_string(pec->severity));
        return r;
}

static int record_to_table(const CcdfError *error, const char *raw, struct libscols_table *t) {
        int r;

        r = output_label(t, "FID", NULL, "0x%08" PRIx32, error->fid);
        if (r >= 0)
                r = output_label(t, _("Function handle"), NULL, "0x%08" PRIx32, error->fh);
        if (r >= 0)
                r = output_label(
                        t, _("Failing address"), NULL, "0x%" PRIx64, error->failing_address);
        if (r >= 0)
                r = output_label(
                        t, _("DMA address space"), NULL, "0x%02" PRIx8, error->dma_address_space);
        if (r >= 0)
                r = output_label(t, _("MSI vector"), NULL, "%" PRIu16, error->msi_vector);
        if (r >= 0)
                r = output_label(
                        t, _("Expected table type"), NULL, "%" PRIu8, error->expected_table_type);
        if (r >= 0)
                r = output_label(t, _("Qualifier bit"), NULL, "%d", error->qualifier);
        if (r >= 0)
                r = output_label(t, _("Read/write bit"), NULL, "%d", error->read_write);
        if (r >= 0 && strlen(raw) > 2 * CCDF_ERROR_SIZE)
                r = output_label(t, _("Further bytes"), NULL, "%s", raw + 2 * CCDF_ERROR_SIZE);
        return r;
}

/* error and raw are NULL if there is a code only. */
static int print(Context *c, const CcdfError *error, const char *raw, uint16_t code) {
        _cleanup_(scols_unref_tablep) struct libscols_table *table = NULL;
        _cleanup_(json_putp) json_object *object = NULL;
        Pec pec = pec_describe(code);

        if (c->json != JSON_OFF) {
                object = json_object_new_object();
                if (!object || pec_to_json(&pec, object) < 0 ||
                    (error && record_to_json(error, raw, object) < 0))
                        return fail_memory();
                output_json(c, object);
                return EXIT_DONE;
        }

        table = output_table_labels(c);
        if (!table || pec_to_table(&pec, table) < 0 ||
            (error && record_to_table(error, raw, table) < 0))
                return fail_memory();
        pager_open(c);
        return scols_print_table(table) < 0 ? fail_memory() : EXIT_DONE;
}

static int decode_record(Context *c, const char *digits) {
        _cleanup_free_ uint8_t *bytes = NULL;
        CcdfError error;
        size_t size;
        int r;

        r = hex_to_bytes(digits, &bytes, &size);
        if (r == -ENOMEM)
                return fail_memory();
        if (r < 0 || ccdf_decode(bytes, size, &error) < 0)
                return fail_usage(
                        _("%zu hexadecimal digits are neither a PEC (1 to %u) nor a record (%u, or "
                          "more in pairs)"),
                        strlen(digits),
                        HEX_PEC_DIGITS,
                        2 * CCDF_ERROR_SIZE);

        return print(c, &error, digits, error.pec);
}

static int run(Context *c, int n, char *const arguments[]) {
        _cleanup_free_ char *digits = NULL;
        uint64_t code;
        int r;

        assert(c);

        r = hex_collect(n, arguments, &digits);
        if (r == -ENOMEM)
                return fail_memory();
        if (r < 0)
                return fail_usage(_(
                        "A record or a PEC is hexadecimal digits, with or without 0x and blanks"));

        if (strlen(digits) <= HEX_PEC_DIGITS && parse_hex(digits, UINT16_MAX, &code) >= 0)
                return print(c, NULL, NULL, (uint16_t) code);
        return decode_record(c, digits);
}

const Verb verb_decode = {
        .name = "decode",
        .arguments = N_("RECORD|PEC"),
        .summary = N_("Explain an error record or a PCI event code"),
        .help = N_(
                "Explains an error record (the CCDF record: 32 bytes or more) or a PCI event code (PEC), given\n"
                "as hexadecimal digits, with or without 0x and blanks. Needs no daemon.\n"),
        .min_arguments = 1,
        .max_arguments = INT_MAX,
        .run = run,
};
