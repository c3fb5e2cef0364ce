/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sysfs.h"
#include "vfio-device.h"

/* What the kernel shows of an fd (proc(5)) never starts with a slash unless it has a path. */
#define DEVICE_LINK  "anon_inode:[vfio-device]"
#define EVENTFD_LINK "anon_inode:[eventfd]"

/* Reads where a link leads; what is too long is not what we look for. */
static int read_link(const char *path, char ret[static PATH_MAX]) {
        ssize_t n;

        n = readlink(path, ret, PATH_MAX);
        if (n < 0)
                return -errno;
        if (n >= PATH_MAX)
                return -ENAMETOOLONG;
        ret[n] = '\0';
        return 0;
}

/* Not one with O_PATH, which has the name of a file that it can do nothing with. */
static bool fd_is_open(int fd) {
        int flags;

        flags = fcntl(fd, F_GETFL);
        return flags >= 0 && !(flags & O_PATH);
}

/* The kernel answers this by itself, whoever stands behind the fd. */
static bool fd_is(int fd, const char *wanted) {
        char path[sizeof("/proc/self/fd/") + 16], target[PATH_MAX];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return read_link(path, target) >= 0 && strcmp(target, wanted) == 0;
}

/* Whether a path of sysfs ends with <PCI address>/vfio-dev/vfio<N>. */
static bool is_vfio_of_function(char *path) {
        char *name, *folder, *address;

        name = strrchr(path, '/');
        if (!name || strncmp(name, "/vfio", 5) != 0)
                return false;
        *name = '\0';
        folder = strrchr(path, '/');
        if (!folder || strcmp(folder, "/vfio-dev") != 0)
                return false;
        *folder = '\0';
        address = strrchr(path, '/');
        return address && pci_address_valid(address + 1);
}

/*
 * A name in /proc/devices would prove nothing: CUSE registers any. Without DONT_SYNC, a file of FUSE
 * would have its server asked.
 */
static bool fd_is_cdev(int fd, bool unbound) {
        char path[64], target[PATH_MAX];
        struct statx st;
        int r;

        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0 ||
            !S_ISCHR(st.stx_mode))
                return false;

        (void) snprintf(path,
                        sizeof(path),
                        "/sys/dev/char/%" PRIu32 ":%" PRIu32,
                        st.stx_rdev_major,
                        st.stx_rdev_minor);
        r = read_link(path, target);
        return r >= 0 ? is_vfio_of_function(target) : r == -ENOENT && unbound;
}

bool vfio_is_device(int fd, bool unbound) {
        return fd_is_open(fd) && (fd_is(fd, DEVICE_LINK) || fd_is_cdev(fd, unbound));
}

bool vfio_is_eventfd(int fd) {
        return fd_is_open(fd) && fd_is(fd, EVENTFD_LINK);
}

int vfio_recognise(int fd, VfioDevice **ret, VfioProblem *ret_problem) {
        _cleanup_(vfio_closep) VfioDevice *device = NULL;
        int r;

        assert(fd >= 0);
        assert(ret);
        assert(ret_problem);

        *ret_problem = (VfioProblem){ 0 };
        if (!vfio_is_device(fd, false))
                return vfio_problem(ret_problem, -ENOTTY, "it is no VFIO device");

        device = vfio_device_new();
        if (!device)
                return vfio_problem(ret_problem, -ENOMEM, "memory");
        device->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (device->fd < 0)
                return vfio_problem(ret_problem, -errno, "fcntl");

        r = vfio_error_learn(device, ret_problem);
        /* A character device answers so to everything before it is bound to an iommufd. */
        if (r == -EINVAL)
                return vfio_problem(ret_problem, -ENOTTY, "its VFIO device is not open");
        if (r < 0)
                return r;
        if (device->fh == 0)
                return vfio_problem(
                        ret_problem, -ENXIO, "VFIO does not tell which PCI function it is");

        *ret = TAKE_PTR(device);
        return 0;
}

int vfio_attach(VfioDevice *device, const char *address, int request_fd, VfioProblem *ret_problem) {
        uint32_t fh;
        int r;

        assert(device);
        assert(address);
        assert(ret_problem);

        *ret_problem = (VfioProblem){ 0 };
        r = sysfs_read_handle(address, &fh);
        if (r < 0)
                return vfio_problem(ret_problem, r, "function_handle");
        if (fh != device->fh)
                return vfio_problem(ret_problem, -ESTALE, "the function has another handle now");

        device->request_fd = fcntl(request_fd, F_DUPFD_CLOEXEC, 3);
        if (device->request_fd < 0)
                return vfio_problem(ret_problem, -errno, "fcntl");
        return vfio_watch(device, ret_problem);
}
