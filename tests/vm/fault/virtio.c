/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "virtio.h"

#include <err.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdbool.h>

#define FEATURE_WORD                                                                               \
        1 /* both features asked for, VERSION_1 and ACCESS_PLATFORM, are in the second word */
#define FEATURES (1u << (VIRTIO_F_VERSION_1 - 32) | 1u << (VIRTIO_F_ACCESS_PLATFORM - 32))

/* Where a virtio structure lies. */
struct place {
        uint32_t region;
        uint32_t offset;
        uint32_t multiplier; /* of the notify structure only */
};

static bool find(const struct device *device, unsigned type, struct place *place) {
        const uint32_t config = VFIO_PCI_CONFIG_REGION_INDEX;
        uint32_t at = device_read(device, config, PCI_CAPABILITY_LIST, 1);

        for (int i = 0; at && i < 48; i++) {
                if (device_read(device, config, at + PCI_CAP_LIST_ID, 1) == PCI_CAP_ID_VNDR &&
                    device_read(device, config, at + VIRTIO_PCI_CAP_CFG_TYPE, 1) == type) {
                        place->region = device_read(device, config, at + VIRTIO_PCI_CAP_BAR, 1);
                        place->offset = device_read(device, config, at + VIRTIO_PCI_CAP_OFFSET, 4);
                        place->multiplier =
                                device_read(device, config, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
                        return true;
                }
                at = device_read(device, config, at + PCI_CAP_LIST_NEXT, 1);
        }
        return false;
}

/* Finds the structure, and lets the function answer on its BARs and do DMA: a reset takes both away. */
static struct place prepare(const struct device *device, unsigned type) {
        const uint32_t config = VFIO_PCI_CONFIG_REGION_INDEX;
        struct place place = {};
        uint32_t command = device_read(device, config, PCI_COMMAND, 2);

        if (command == 0xffff)
                errx(1, "%s is in the error state", device->address);
        device_write(
                device, config, PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        if (!find(device, type, &place))
                errx(1, "%s is not a virtio function", device->address);
        return place;
}

static void put(const struct device *device,
                const struct place *common,
                uint32_t field,
                size_t size,
                uint32_t value) {
        device_write(device, common->region, common->offset + field, size, value);
}

static void
put_address(const struct device *device, const struct place *common, uint32_t field, uint64_t dma) {
        put(device, common, field, 4, (uint32_t) dma);
        put(device, common, field + 4, 4, (uint32_t) (dma >> 32));
}

uint64_t virtio_fault(const struct device *device, uint64_t dma) {
        struct place common = prepare(device, VIRTIO_PCI_CAP_COMMON_CFG);
        struct place notify = prepare(device, VIRTIO_PCI_CAP_NOTIFY_CFG);
        uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
        uint32_t queue_offset;

        put(device, &common, VIRTIO_PCI_COMMON_STATUS, 1, 0);
        put(device, &common, VIRTIO_PCI_COMMON_STATUS, 1, status);
        put(device, &common, VIRTIO_PCI_COMMON_GFSELECT, 4, FEATURE_WORD);
        put(device, &common, VIRTIO_PCI_COMMON_GF, 4, FEATURES);
        status |= VIRTIO_CONFIG_S_FEATURES_OK;
        put(device, &common, VIRTIO_PCI_COMMON_STATUS, 1, status);

        put(device, &common, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
        queue_offset =
                device_read(device, common.region, common.offset + VIRTIO_PCI_COMMON_Q_NOFF, 2);
        put_address(device, &common, VIRTIO_PCI_COMMON_Q_DESCLO, dma);
        put_address(device, &common, VIRTIO_PCI_COMMON_Q_AVAILLO, dma + 0x1000);
        put_address(device, &common, VIRTIO_PCI_COMMON_Q_USEDLO, dma + 0x2000);
        put(device, &common, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
        put(device, &common, VIRTIO_PCI_COMMON_STATUS, 1, status | VIRTIO_CONFIG_S_DRIVER_OK);

        /* On the notification the function looks first for the index in the ring of available buffers. */
        device_write(device, notify.region, notify.offset + queue_offset * notify.multiplier, 2, 0);
        return dma + 0x1000 + 2;
}

unsigned virtio_queues(const struct device *device) {
        struct place common = prepare(device, VIRTIO_PCI_CAP_COMMON_CFG);

        return device_read(device, common.region, common.offset + VIRTIO_PCI_COMMON_NUMQ, 2);
}
