/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vfio-device.h"
#include "vfio-uapi.h"

#define INFO_SIZE_MAX 65536U

typedef struct PackedError {
        uint8_t version;
        uint8_t pending_errors;
        uint16_t pec;
} PackedError;

_Static_assert(sizeof(struct vfio_device_feature) == sizeof(((Record *) NULL)->feature),
               "the header of the ioctl lies in front of the raw bytes");

static uint32_t info_u32(const uint8_t *info, size_t offset) {
        uint32_t value;

        memcpy(&value, info + offset, sizeof(value));
        return value;
}

/*
 * Finds a capability in the answer of VFIO_DEVICE_GET_INFO. Returns its offset, 0 if there is none,
 * or -EBADMSG: a chain that is malformed further on is not believed in its beginning either.
 */
static int
info_find_capability(const uint8_t *info, uint32_t size, uint16_t id, uint32_t *ret_end) {
        struct vfio_device_info fixed;
        uint32_t offset, previous = 0, found = 0;

        memcpy(&fixed, info, sizeof(fixed));
        if (!(fixed.flags & VFIO_DEVICE_FLAGS_CAPS))
                return 0;

        for (offset = fixed.cap_offset; offset != 0;) {
                struct vfio_info_cap_header header;

                /* The kernel chains them upwards, so a chain that does not rise is a loop. */
                if (offset <= previous || offset < offsetof(struct vfio_device_info, cap_offset) ||
                    offset > size - sizeof(header))
                        return -EBADMSG;

                memcpy(&header, info + offset, sizeof(header));
                if (header.id == 0) /* into nothing: there is no such capability */
                        return -EBADMSG;
                if (header.id == id && found == 0) {
                        found = offset;
                        *ret_end = header.next != 0 ? header.next : size;
                }

                previous = offset;
                offset = header.next;
        }

        return (int) found;
}

static int vfio_probe(const VfioDevice *device) {
        struct vfio_device_feature feature = {
                .argsz = sizeof(feature),
                .flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET |
                         VFIO_DEVICE_FEATURE_ZPCI_ERROR,
        };

        return ioctl(device->fd, VFIO_DEVICE_FEATURE, &feature) < 0 ? -errno : 0;
}

/* The capability tells the shape of the feature: asking the feature itself could cost a record. */
static int vfio_learn_interface(VfioDevice *device,
                                const uint8_t *info,
                                uint32_t base,
                                uint32_t end,
                                VfioProblem *problem) {
        struct vfio_info_cap_header header;
        int r;

        memcpy(&header, info + base, sizeof(header));

        if (header.version >= 2) {
                if (end - base < ZPCI_BASE_FH_OFFSET + sizeof(uint32_t))
                        return vfio_problem(problem, -EBADMSG, "its zPCI capability is cut short");
                device->fh = info_u32(info, base + ZPCI_BASE_FH_OFFSET);
        }

        r = vfio_probe(device);
        if (r < 0 && r != -ENOTTY && r != -EINVAL)
                return vfio_problem(problem, r, "VFIO_DEVICE_FEATURE");
        if (r < 0)
                return vfio_problem(
                        problem,
                        -EOPNOTSUPP,
                        "the kernel has no error records for VFIO (Linux 7.3 or newer has)");

        if (header.version < 3) {
                device->interface = RECORD_PACKED;
                return 0;
        }

        if (end - base < ZPCI_BASE_CCDF_ERR_LENGTH_OFFSET + sizeof(uint32_t))
                return vfio_problem(problem, -EBADMSG, "its zPCI capability is cut short");

        /* The kernel is not told the size of our buffer: a longer record would overrun it. */
        device->record_size = info_u32(info, base + ZPCI_BASE_CCDF_ERR_LENGTH_OFFSET);
        if (device->record_size < CCDF_ERROR_SIZE)
                return vfio_problem(
                        problem, -EOPNOTSUPP, "the kernel's error records are too short");
        if (device->record_size > RECORD_RAW_SIZE)
                return vfio_problem(
                        problem, -EOPNOTSUPP, "the kernel's error records are too long");

        device->interface = RECORD_CCDF;
        return 0;
}

int vfio_error_learn(VfioDevice *device, VfioProblem *problem) {
        _cleanup_free_ uint8_t *info = NULL;
        struct vfio_device_info fixed = { .argsz = INFO_SIZE_MAX };
        uint32_t size, end = 0;
        int base;

        assert(device);

        info = calloc(1, INFO_SIZE_MAX);
        if (!info)
                return vfio_problem(problem, -ENOMEM, "memory");

        memcpy(info, &fixed, sizeof(fixed));
        if (ioctl(device->fd, VFIO_DEVICE_GET_INFO, info) < 0)
                return vfio_problem(problem, -errno, "VFIO_DEVICE_GET_INFO");

        size = info_u32(info, offsetof(struct vfio_device_info, argsz));
        if (size < sizeof(fixed) || size > INFO_SIZE_MAX)
                return vfio_problem(problem, -EBADMSG, "VFIO_DEVICE_GET_INFO tells an absurd size");

        base = info_find_capability(info, size, VFIO_DEVICE_INFO_CAP_ZPCI_BASE, &end);
        if (base < 0)
                return vfio_problem(problem, base, "its capability chain is malformed");
        if (base == 0)
                return vfio_problem(problem, -ENXIO, "VFIO does not know it as a zPCI function");

        return vfio_learn_interface(device, info, (uint32_t) base, end, problem);
}

static int vfio_read_ccdf(VfioDevice *device, Record *record) {
        /* struct vfio_device_feature, whose data are a struct vfio_device_feature_zpci_err. */
        struct {
                uint32_t argsz;
                uint32_t flags;
                uint64_t data;
        } get = {
                .argsz = sizeof(get),
                .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_ZPCI_ERROR,
                .data = (uintptr_t) record->raw,
        };

        record->raw_size = device->record_size;
        return ioctl(device->fd, VFIO_DEVICE_FEATURE, &get) < 0 ? -errno : 1;
}

static int vfio_read_packed(VfioDevice *device, Record *record) {
        struct vfio_device_feature feature = {
                /* As much room as there is: a later revision may have more to say. */
                .argsz = sizeof(record->feature) + RECORD_RAW_SIZE,
                .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_ZPCI_ERROR,
        };
        PackedError error;

        record->raw_size = RECORD_RAW_SIZE;
        memcpy(&record->feature, &feature, sizeof(feature));
        if (ioctl(device->fd, VFIO_DEVICE_FEATURE, &record->feature) < 0)
                return -errno;

        memcpy(&error, record->raw, sizeof(error));
        if (error.pec == 0 && error.pending_errors == 0)
                return 0;

        device->packed_version = error.version;
        record->raw_size = record_raw_used(RECORD_PACKED, record->raw, RECORD_RAW_SIZE);
        return 1;
}

int vfio_read_error(VfioDevice *device, Record *record) {
        int r;

        assert(device);
        assert(record);

        record->source = RECORD_VFIO;
        record->interface = (uint8_t) device->interface;

        r = device->interface == RECORD_CCDF ? vfio_read_ccdf(device, record)
                                             : vfio_read_packed(device, record);
        if (r > 0)
                return r;

        memset(record->raw, 0, sizeof(record->raw));
        record->raw_size = 0;
        return r == -ENOMSG ? 0 : r;
}

bool vfio_is_unknown_revision(const VfioDevice *device) {
        assert(device);

        return device->interface == RECORD_PACKED && device->packed_version != 0 &&
               device->packed_version != RECORD_PACKED_VERSION;
}
