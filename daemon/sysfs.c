/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "names.h"
#include "sysfs.h"
#include "util.h"

static void closedirp(DIR **dir) {
        if (*dir)
                (void) closedir(*dir);
}

/* Remembers what is wrong. value may be anything, or NULL for what is missing. */
static int sysfs_complain(SysfsProblem *problem, const char *attribute, const char *value) {
        size_t i = 0;

        for (; value && value[i] && i < sizeof(problem->value) - 1; i++)
                problem->value[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
        problem->value[i] = '\0';
        problem->attribute = attribute;
        return -EBADMSG;
}

/*
 * A file of a function cannot be read: because of the file, or because the whole function has just
 * vanished?
 */
static int
sysfs_unreadable(struct udev_device *device, SysfsProblem *problem, const char *attribute) {
        if (access(udev_device_get_syspath(device), F_OK) < 0 && errno == ENOENT)
                return -ENODEV;

        return sysfs_complain(problem, attribute, NULL);
}

static int sysfs_path(struct udev_device *device, const char *name, char path[static PATH_MAX]) {
        int n;

        n = snprintf(path, PATH_MAX, "%s/%s", udev_device_get_syspath(device), name);
        return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int
sysfs_read_numbers(struct udev_device *device, SysfsFunction *function, SysfsProblem *problem) {
        uint64_t fid, fh, uid, pchid, vfn, pfgid, pft;
        const struct {
                const char *attribute;
                uint64_t max;
                uint64_t *value;
        } numbers[] = {
                { "function_id", UINT32_MAX, &fid }, { "function_handle", UINT32_MAX, &fh },
                { "uid", UINT32_MAX, &uid },         { "pchid", UINT16_MAX, &pchid },
                { "vfn", UINT16_MAX, &vfn },         { "pfgid", UINT8_MAX, &pfgid },
                { "pft", UINT8_MAX, &pft },
        };

        for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
                const char *text;

                text = udev_device_get_sysattr_value(device, numbers[i].attribute);
                if (!text && errno == ENOENT && i == 0)
                        return 0; /* no zPCI function */
                if (!text)
                        return sysfs_unreadable(device, problem, numbers[i].attribute);
                if (parse_hex(text, numbers[i].max, numbers[i].value) < 0)
                        return sysfs_complain(problem, numbers[i].attribute, text);
        }

        function->fid = (uint32_t) fid;
        function->fh = (uint32_t) fh;
        function->uid = (uint32_t) uid;
        function->pchid = (uint16_t) pchid;
        function->vfn = (uint16_t) vfn;
        function->pfgid = (uint8_t) pfgid;
        function->pft = (uint8_t) pft;
        return 1;
}

static int
sysfs_read_driver(struct udev_device *device, SysfsFunction *function, SysfsProblem *problem) {
        const char *driver;

        driver = udev_device_get_driver(device);
        if (!driver)
                return errno == ENOENT ? 0 : sysfs_unreadable(device, problem, "driver");
        if (strlen(driver) >= sizeof(function->driver))
                return sysfs_complain(problem, "driver", driver);

        (void) strcpy(function->driver, driver);
        return 0;
}

static int
sysfs_read_group(struct udev_device *device, SysfsFunction *function, SysfsProblem *problem) {
        char path[PATH_MAX], target[PATH_MAX];
        const char *name;
        uint64_t group;
        ssize_t n;
        int r;

        function->group = UINT32_MAX;

        r = sysfs_path(device, "iommu_group", path);
        if (r < 0)
                return r;
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return errno == ENOENT ? 0 : sysfs_unreadable(device, problem, "iommu_group");
        target[n] = '\0';

        name = basename(target);
        if (parse_decimal(name, UINT32_MAX - 1, &group) < 0)
                return sysfs_complain(problem, "iommu_group", name);

        function->group = (uint32_t) group;
        return 0;
}

/* Whether a name is that of a VFIO character device, "vfio0". */
static bool sysfs_is_cdev(const char *name) {
        uint64_t number;

        return strncmp(name, "vfio", 4) == 0 && parse_decimal(name + 4, UINT32_MAX, &number) == 0;
}

/* What VFIO has registered for the function, whichever driver it is bound to. */
static int
sysfs_read_vfio(struct udev_device *device, SysfsFunction *function, SysfsProblem *problem) {
        _cleanup_(closedirp) DIR *dir = NULL;
        char path[PATH_MAX];
        int r;

        r = sysfs_path(device, "vfio-dev", path);
        if (r < 0)
                return r;
        dir = opendir(path);
        if (!dir)
                return errno == ENOENT ? 0 : sysfs_unreadable(device, problem, "vfio-dev");

        for (;;) {
                const struct dirent *entry = readdir(dir);

                if (!entry)
                        return 0;
                if (!sysfs_is_cdev(entry->d_name) ||
                    strlen(entry->d_name) >= sizeof(function->cdev))
                        continue;

                (void) strcpy(function->cdev, entry->d_name);
                function->vfio_bound = true;
                /* The name comes again, the number does not: sysfs gives them out in turn. */
                function->binding = entry->d_ino;
                return 0;
        }
}

/* A bad value must not hide the function: it is told, and the configuration decides. */
static void
sysfs_read_policy(struct udev_device *device, SysfsFunction *function, SysfsProblem *problem) {
        const char *text;
        int policy;

        text = udev_device_get_property_value(device, ERRORD_UDEV_POLICY);
        if (!text)
                return;

        policy = policy_from_string(text);
        if (policy < 0) {
                (void) sysfs_complain(problem, ERRORD_UDEV_POLICY, text);
                return;
        }

        function->policy = (Policy) policy;
        function->has_policy = true;
}

int sysfs_read_function(struct udev_device *device, SysfsFunction *ret, SysfsProblem *ret_problem) {
        SysfsFunction function = {};
        const char *address;
        int r;

        assert(device);
        assert(ret);
        assert(ret_problem);

        *ret = (SysfsFunction){};
        *ret_problem = (SysfsProblem){};

        address = udev_device_get_sysname(device);
        if (!pci_address_valid(address))
                return -EINVAL;
        (void) strcpy(ret->address, address);
        function = *ret;

        r = sysfs_read_numbers(device, &function, ret_problem);
        if (r <= 0)
                return r;
        r = sysfs_read_driver(device, &function, ret_problem);
        if (r < 0)
                return r;
        r = sysfs_read_group(device, &function, ret_problem);
        if (r < 0)
                return r;
        r = sysfs_read_vfio(device, &function, ret_problem);
        if (r < 0)
                return r;
        sysfs_read_policy(device, &function, ret_problem);

        *ret = function;
        return 1;
}

int sysfs_read_handle(const char *address, uint32_t *ret) {
        char path[sizeof("/sys/bus/pci/devices//function_handle") + PCI_ADDRESS_SIZE];
        _cleanup_close_ int fd = -EBADF;
        char text[32];
        uint64_t fh;
        ssize_t n;

        assert(address);
        assert(ret);

        (void) snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/function_handle", address);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;

        text[n] = '\0';
        text[strcspn(text, "\n")] = '\0';
        if (parse_hex(text, UINT32_MAX, &fh) < 0)
                return -EBADMSG;
        *ret = (uint32_t) fh;
        return 0;
}

static const char *const pft_table[] = {
        [0x00] = "UNC",  [0x02] = "ROCE", [0x05] = "ISM", [0x0a] = "ROC2",
        [0x0b] = "NVMe", [0x0c] = "NETH", [0x0d] = "CNW", [0x0f] = "NETD",
};

const char *sysfs_pft_name(uint8_t pft) {
        const char *name = pft < ELEMENTSOF(pft_table) ? pft_table[pft] : NULL;

        return name ?: "UNKNOWN";
}
