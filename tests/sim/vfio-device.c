/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ioctls of an open device that have structures. 'f' stays where it is even if the function goes
 * away: what is read from it then is stale, as an answer that crossed the removal would be. */

#include <errno.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "rpc.h"
#include "vfio.h"

#define NSEC_PER_MSEC      1000000U
#define INFO_SIZE          24U
#define CAP_BASE_SIZE      40U
#define CAP_GROUP_SIZE     48U
#define CAP_PFIP_SIZE      16U
#define CAPS_SIZE          (CAP_BASE_SIZE + CAP_GROUP_SIZE + CAP_PFIP_SIZE)
#define FEATURE_ZPCI_ERROR 13U
#define FEATURE_HEADER     8U

static void put_header(uint8_t *p, uint16_t id, uint16_t version, uint32_t next) {
        put_u16(p, id);
        put_u16(p + 2, version);
        put_u32(p + 4, next);
}

static unsigned base_version(const SimFunction *f) {
        if (f->set.base_version > 0)
                return f->set.base_version;
        return f->set.uapi == SIM_UAPI_CCDF ? 3 : 2;
}

/* ZPCI_BASE, ZPCI_GROUP and PFIP, in this order, as a real kernel has them. */
static void put_caps(const SimFunction *f, uint8_t p[static CAPS_SIZE]) {
        unsigned version = base_version(f);
        uint8_t *group = p + CAP_BASE_SIZE, *pfip = group + CAP_GROUP_SIZE;

        memset(p, 0, CAPS_SIZE);

        put_header(p, 1, (uint16_t) version, INFO_SIZE + CAP_BASE_SIZE);
        put_u64(p + 8, UINT64_C(0x100000000));  /* start_dma */
        put_u64(p + 16, UINT64_C(0x1ffffffff)); /* end_dma */
        put_u16(p + 24, f->pchid);
        put_u16(p + 26, f->vfn);
        put_u16(p + 28, 64); /* fmb_length */
        p[30] = f->pft;
        p[31] = f->pfgid;
        if (version >= 2)
                put_u32(p + 32, f->fh);
        if (version >= 3)
                put_u32(p + 36, f->set.err_length);

        put_header(group, 2, 2, INFO_SIZE + CAP_BASE_SIZE + CAP_GROUP_SIZE);
        put_u64(group + 8, UINT64_C(0xffffffff));          /* dasm */
        put_u64(group + 16, UINT64_C(0xfe00000000000000)); /* msi_addr */
        put_u64(group + 24, 1);                            /* flags: refresh */
        put_u16(group + 32, 60);                           /* mui */
        put_u16(group + 34, 2048);                         /* noi */
        put_u16(group + 36, 128);                          /* maxstbl */
        group[38] = 1;                                     /* version */
        put_u16(group + 40, 128);                          /* imaxstbl */

        put_header(pfip, 4, 1, 0);
        put_u32(pfip + 8, 4);
        memcpy(pfip + 12, (const uint8_t[]){ 0, 1, 2, 3 }, 4);

        if (f->set.caps == SIM_CAPS_LOOP)
                put_u32(pfip + 4, INFO_SIZE);
}

int sim_vfio_info(Sim *sim, SimFunction *f, uint8_t *arg) {
        uint32_t have = get_u32(arg), size = INFO_SIZE + CAPS_SIZE, offset = INFO_SIZE;
        uint8_t info[INFO_SIZE + CAPS_SIZE] = {};
        uint32_t flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_CAPS;

        if (have < 16) /* argsz, flags, num_regions, num_irqs */
                return -EINVAL;

        sim_lock(sim);
        put_caps(f, info + INFO_SIZE);
        if (f->set.caps == SIM_CAPS_NONE || !f->zpci) {
                size = INFO_SIZE;
                offset = 0;
                flags &= ~(uint32_t) VFIO_DEVICE_FLAGS_CAPS;
        } else if (f->set.caps == SIM_CAPS_SHORT)
                size = INFO_SIZE + 16;
        else if (f->set.caps == SIM_CAPS_OUTSIDE)
                offset = 4096;
        sim_unlock(sim);

        put_u32(info + 4, flags);
        put_u32(info + 8, VFIO_PCI_NUM_REGIONS);
        put_u32(info + 12, VFIO_PCI_NUM_IRQS);

        if (have < size) {
                put_u32(info, size); /* says how much it takes, and gives no capabilities */
                memcpy(arg, info, have < INFO_SIZE ? have : INFO_SIZE);
        } else {
                put_u32(info, f->set.caps == SIM_CAPS_SHORT ? size : have);
                put_u32(info + 16, offset);
                memcpy(arg, info, size);
        }
        return 0;
}

/* Like what copy_to_user() finds: a bad pointer is EFAULT, not a crash of the client. (A sandbox
 * without that call has to do with good ones.) */
static bool is_writable(uint64_t pointer, size_t size) {
        static const uint8_t zeros[4096];

        for (size_t done = 0, n; done < size; done += n) {
                void *to = (void *) (uintptr_t) (pointer + done);
                struct iovec local = { .iov_base = (void *) zeros }, remote = { .iov_base = to };

                n = size - done < sizeof(zeros) ? size - done : sizeof(zeros);
                local.iov_len = remote.iov_len = n;
                if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != (ssize_t) n &&
                    errno == EFAULT)
                        return false;
        }
        return true;
}

/* Linux 7.3: the payload is a pointer; the kernel is not told how long the buffer is. */
static int get_ccdf(Sim *sim, SimFunction *f, const uint8_t *payload) {
        const uint8_t *record;
        uint64_t pointer;
        uint32_t length;
        uint8_t *to;
        int r = 0;

        memcpy(&pointer, payload, sizeof(pointer));
        if (pointer == 0)
                return -EINVAL;
        to = (uint8_t *) (uintptr_t) pointer;

        sim_lock(sim);
        length = f->set.err_length;
        record = sim_device_oldest(f);
        if (!record)
                r = -ENOMSG;
        else {
                if (!is_writable(pointer, length))
                        r = -EFAULT;
                else {
                        /* A record that has grown: what follows is 0x20, 0x21, ... */
                        for (uint32_t i = SIM_RECORD; i < length; i++)
                                to[i] = (uint8_t) i;
                        memcpy(to, record, length < SIM_RECORD ? length : SIM_RECORD);
                }
                sim_device_take(f);
        }
        sim_unlock(sim);
        return r;
}

/* The proposal: the answer is the payload itself. */
static int get_packed(Sim *sim, SimFunction *f, uint8_t *payload, bool rev2) {
        uint8_t answer[16] = {};
        const uint8_t *record;
        int r = 0;

        sim_lock(sim);
        record = sim_device_oldest(f);
        if (!record && f->set.uapi == SIM_UAPI_V13_ENOMSG)
                r = -ENOMSG;
        else {
                uint32_t pending = sim_device_pending(f);

                answer[0] = rev2 ? 2 : 1;
                answer[1] = (uint8_t) (pending > 0 ? pending - 1 : 0) + (f->set.endless ? 1 : 0);
                if (record)
                        put_u16(answer + 2, (uint16_t) (record[30] << 8 | record[31]));
                if (record && rev2)
                        memcpy(answer + 4, record + 4, 8); /* handle and id: a guess */
                if (rev2)
                        memset(answer + 12, 0xa5, 4);
                memcpy(payload, answer, rev2 ? 16 : 4);
                if (record)
                        sim_device_take(f);
        }
        sim_unlock(sim);
        return r;
}

int sim_vfio_feature(Sim *sim, SimFunction *f, uint8_t *arg) {
        const uint32_t all = VFIO_DEVICE_FEATURE_MASK | VFIO_DEVICE_FEATURE_SET |
                             VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PROBE;
        const uint32_t both = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_GET;
        uint32_t argsz = get_u32(arg), flags, uapi = f->set.uapi;
        uint32_t payload = uapi == SIM_UAPI_CCDF ? 8 : uapi == SIM_UAPI_V13_REV2 ? 16 : 4;

        if (argsz < FEATURE_HEADER)
                return -EINVAL;
        flags = get_u32(arg + 4);
        if (flags & ~all || (!(flags & VFIO_DEVICE_FEATURE_PROBE) && (flags & both) == both))
                return -EINVAL;
        if ((flags & VFIO_DEVICE_FEATURE_MASK) != FEATURE_ZPCI_ERROR || uapi == SIM_UAPI_NONE ||
            !f->zpci)
                return -ENOTTY;
        if (flags & VFIO_DEVICE_FEATURE_SET)
                return -EINVAL;
        if (flags & VFIO_DEVICE_FEATURE_PROBE)
                return 0;
        if (!(flags & VFIO_DEVICE_FEATURE_GET) || argsz < FEATURE_HEADER + payload)
                return -EINVAL;
        if (f->set.get_ms > 0)
                sim_sleep_until(sim_now() + (uint64_t) f->set.get_ms * NSEC_PER_MSEC);
        if (f->set.get_errno > 0)
                return -(int) f->set.get_errno;

        return uapi == SIM_UAPI_CCDF
                       ? get_ccdf(sim, f, arg + FEATURE_HEADER)
                       : get_packed(sim, f, arg + FEATURE_HEADER, uapi == SIM_UAPI_V13_REV2);
}

static bool has_irq(const SimFunction *f, uint32_t index) {
        return index == VFIO_PCI_REQ_IRQ_INDEX ||
               (index == VFIO_PCI_ERR_IRQ_INDEX && f->set.err_irq);
}

int sim_vfio_irq_info(const SimFunction *f, uint8_t *arg) {
        uint32_t index;

        if (get_u32(arg) < 16)
                return -EINVAL;
        index = get_u32(arg + 8);
        if (!has_irq(f, index))
                return -EINVAL; /* the interrupts of the function itself are none of our business */
        put_u32(arg + 4, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE);
        put_u32(arg + 12, 1);
        return 0;
}

int sim_vfio_set_irqs(Sim *sim, SimFunction *f, const uint8_t *arg) {
        uint32_t argsz = get_u32(arg), flags, data, start, count, size;
        SimRequest request = { .slot = sim_slot(sim, f), .generation = f->generation };
        SimReply reply;
        int fd = -1;

        if (argsz < 20)
                return -EINVAL;
        flags = get_u32(arg + 4);
        request.index = get_u32(arg + 8);
        start = get_u32(arg + 12);
        count = get_u32(arg + 16);
        data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
        size = data == VFIO_IRQ_SET_DATA_EVENTFD ? 4 : data == VFIO_IRQ_SET_DATA_BOOL ? 1 : 0;

        if (!has_irq(f, request.index) || start != 0 || count > 1 || argsz - 20 < size * count ||
            (flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) != VFIO_IRQ_SET_ACTION_TRIGGER)
                return -EINVAL;

        switch (data) {
        case VFIO_IRQ_SET_DATA_NONE:
                request.kind = count > 0 ? SIM_REQUEST_IRQ_LOOPBACK : SIM_REQUEST_IRQ_OFF;
                break;
        case VFIO_IRQ_SET_DATA_BOOL:
                if (count == 0)
                        return -EINVAL;
                if (arg[20] == 0)
                        return 0;
                request.kind = SIM_REQUEST_IRQ_LOOPBACK;
                break;
        case VFIO_IRQ_SET_DATA_EVENTFD:
                if (count == 0)
                        return -EINVAL;
                fd = (int) get_u32(arg + 20);
                if (fd < -1)
                        return -EINVAL;
                request.kind = fd < 0 ? SIM_REQUEST_IRQ_OFF : SIM_REQUEST_IRQ;
                break;
        default:
                return -EINVAL;
        }
        return sim_rpc(sim, &request, fd, &reply);
}
