/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "domain-xml.h"
#include "util.h"

#define QUIET_AND_LOCAL (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING)

static void xml_freep(xmlChar **text) {
        if (*text)
                xmlFree(*text);
}

static void parser_freep(xmlParserCtxt **parser) {
        xmlFreeParserCtxt(*parser);
}

static void document_freep(xmlDoc **document) {
        xmlFreeDoc(*document);
}

/* Of node and the siblings behind it, the first that is such an element; NULL if there is none. */
static xmlNode *element(xmlNode *node, const char *name) {
        while (node && (node->type != XML_ELEMENT_NODE || node->ns ||
                        strcmp((const char *) node->name, name) != 0))
                node = node->next;
        return node;
}

static bool is_element(xmlNode *node, const char *name) {
        return element(node, name) == node;
}

static bool has_type(xmlNode *node, const char *type) {
        _cleanup_(xml_freep) xmlChar *value = xmlGetNoNsProp(node, BAD_CAST "type");

        return value && strcmp((const char *) value, type) == 0;
}

/*
 * A number as libvirt reads it: hexadecimal, octal or decimal, as its beginning tells. An attribute
 * that is not there leaves *ret alone, and is 0 for libvirt. Returns whether it is there, or
 * -EINVAL.
 */
static int read_number(xmlNode *node, const char *name, unsigned max, unsigned *ret) {
        _cleanup_(xml_freep) xmlChar *value = xmlGetNoNsProp(node, BAD_CAST name);
        const char *text = (const char *) value;
        unsigned long long number;
        char *end;

        if (!text)
                return 0;
        if (text[0] < '0' || text[0] > '9') /* strtoull() takes blanks and signs */
                return -EINVAL;

        errno = 0;
        number = strtoull(text, &end, 0);
        if (*end != '\0' || errno != 0 || number > max)
                return -EINVAL;

        *ret = (unsigned) number;
        return 1;
}

/* Returns 0 or -EINVAL. */
static int read_address(xmlNode *node, char ret[PCI_ADDRESS_SIZE]) {
        unsigned parts[4] = { 0 };
        static const struct {
                const char *name;
                unsigned max;
        } attributes[ELEMENTSOF(parts)] = {
                { "domain", UINT32_MAX },
                { "bus", 0xff },
                { "slot", 0x1f },
                { "function", 7 },
        };
        int r, n = 0;

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                r = read_number(node, attributes[i].name, attributes[i].max, &parts[i]);
                if (r < 0)
                        return r;
                n += r;
        }
        if (n == 0)
                return -EINVAL;

        (void) snprintf(ret,
                        PCI_ADDRESS_SIZE,
                        "%04x:%02x:%02x.%x",
                        parts[0],
                        parts[1] & 0xffU, /* for the compiler, which does not know the bounds */
                        parts[2] & 0x1fU,
                        parts[3] & 7U);
        return 0;
}

static int add_address(DomainFunctions *functions, xmlNode *node) {
        char address[PCI_ADDRESS_SIZE];

        if (read_address(node, address) < 0) {
                functions->n_invalid++;
                return 0;
        }

        for (size_t i = 0; i < functions->n; i++)
                if (strcmp(functions->addresses[i], address) == 0)
                        return 0;

        if (functions->n == DOMAIN_FUNCTIONS_MAX)
                return -E2BIG;
        memcpy(functions->addresses[functions->n++], address, sizeof(address));
        return 0;
}

/* What is below <source> of a device is the host's. */
static int add_sources(DomainFunctions *functions, xmlNode *device) {
        int r;

        for (xmlNode *source = element(device->children, "source"); source;
             source = element(source->next, "source"))
                for (xmlNode *address = element(source->children, "address"); address;
                     address = element(address->next, "address")) {
                        if (xmlHasProp(address, BAD_CAST "type") && !has_type(address, "pci"))
                                continue;
                        r = add_address(functions, address);
                        if (r < 0)
                                return r;
                }

        return 0;
}

/* A disk is a chain of images, any of which can lie on an NVMe controller. */
static int add_disk(DomainFunctions *functions, xmlNode *disk) {
        int r = 0;

        for (xmlNode *image = disk; image && r >= 0;
             image = element(image->children, "backingStore"))
                if (has_type(image, "nvme"))
                        r = add_sources(functions, image);

        return r;
}

static int add_device(DomainFunctions *functions, xmlNode *device) {
        if (is_element(device, "disk"))
                return add_disk(functions, device);
        if ((is_element(device, "hostdev") && has_type(device, "pci")) ||
            (is_element(device, "interface") && has_type(device, "hostdev")))
                return add_sources(functions, device);

        return 0;
}

/* Called before anything of the document type is read; then there is no root element. */
static void refuse_document_type(void *parser,
                                 const xmlChar *name,
                                 const xmlChar *external_id,
                                 const xmlChar *system_id) {
        xmlStopParser(parser);
}

int domain_functions_read(const void *xml, size_t size, DomainFunctions *ret) {
        _cleanup_(parser_freep) xmlParserCtxt *parser = NULL;
        _cleanup_(document_freep) xmlDoc *document = NULL;
        xmlNode *domain;
        int r;

        assert(xml || size == 0);
        assert(ret);

        ret->n = 0;
        ret->n_invalid = 0;

        if (size == 0 || size > INT_MAX)
                return -EBADMSG;

        parser = xmlNewParserCtxt();
        if (!parser)
                return -ENOMEM;
        parser->sax->internalSubset = refuse_document_type;

        document = xmlCtxtReadMemory(parser, xml, (int) size, NULL, NULL, QUIET_AND_LOCAL);
        domain = document ? xmlDocGetRootElement(document) : NULL;
        if (!domain)
                return parser->errNo == XML_ERR_NO_MEMORY ? -ENOMEM : -EBADMSG;
        if (!is_element(domain, "domain"))
                return -EINVAL;

        for (xmlNode *devices = element(domain->children, "devices"); devices;
             devices = element(devices->next, "devices"))
                for (xmlNode *device = devices->children; device; device = device->next) {
                        r = add_device(ret, device);
                        if (r < 0)
                                return r;
                }

        return 0;
}
