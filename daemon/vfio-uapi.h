/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The VFIO interface of Linux 7.3, also where the headers of an older kernel are installed: what
 * they lack is defined here under the kernel's own names (include/uapi/linux/vfio.h and
 * vfio_zdev.h).
 */

#include <linux/types.h>
#include <linux/vfio.h>

#ifndef VFIO_DEVICE_INFO_CAP_ZPCI_BASE
#define VFIO_DEVICE_INFO_CAP_ZPCI_BASE 1
#endif

#ifndef VFIO_DEVICE_FEATURE_ZPCI_ERROR
#define VFIO_DEVICE_FEATURE_ZPCI_ERROR 13
#endif

#ifndef VFIO_DEVICE_BIND_IOMMUFD
#define VFIO_DEVICE_BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)

struct vfio_device_bind_iommufd {
        __u32 argsz;
        __u32 flags;
        __s32 iommufd;
        __u32 out_devid;
};
#endif

/*
 * struct vfio_device_info_cap_zpci_base by offset: its tail grew with the versions of the
 * capability, and a header may have any of them.
 */
#define ZPCI_BASE_FH_OFFSET              32U /* __u32 fh, from version 2 on */
#define ZPCI_BASE_CCDF_ERR_LENGTH_OFFSET 36U /* __u32 ccdf_err_length, from version 3 on */
