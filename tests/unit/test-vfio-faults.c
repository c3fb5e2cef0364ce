/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each system call with which a device is opened, attached or taken back fails: nothing stays open. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>

#include "faults.h"
#include "vfio-uapi.h"
#include "vfio.h"

#define INFO_SIZE  64U
#define INFO_CAPS  24U
#define EXAMPLE_FH 0x80020000U

static const VfioNodes group_nodes = { .address = "0001:00:00.0", .group = "/dev/vfio/7" };
static const VfioNodes cdev_nodes = {
        .address = "0001:00:00.0",
        .cdev = "/dev/vfio/devices/vfio0",
};

static struct {
        bool old_api, no_type1;
        int record; /* what VFIO_DEVICE_FEATURE answers: 1 for a record, or a negative errno */
} kernel;

/* The linker's names, see --wrap in ld(1). */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, long argument);
ssize_t __real_readlink(const char *path, char *target, size_t size);
ssize_t __wrap_readlink(const char *path, char *target, size_t size);
int __wrap_sysfs_read_handle(const char *address, uint32_t *ret);

int __wrap_open(const char *path, int flags, ...) {
        if (strncmp(path, "/dev/", 5) != 0)
                return __real_open(path, flags, 0600);                  /* a tool's, such as gcov */
        return fault("open") < 0 ? -1 : __real_eventfd(0, EFD_CLOEXEC); /* any descriptor */
}

int __wrap_open64(const char *path, int flags, ...) {
        return __wrap_open(path, flags);
}

int __wrap_eventfd(unsigned value, int flags) {
        return fault("eventfd") < 0 ? -1 : __real_eventfd(value, flags);
}

int __wrap_fcntl(int fd, int command, ...) {
        va_list args;
        long argument;

        va_start(args, command);
        argument = va_arg(args, long);
        va_end(args);
        return __wrap_fcntl64(fd, command, argument);
}

int __wrap_fcntl64(int fd, int command, long argument) {
        return fault("fcntl") < 0 ? -1 : __real_fcntl(fd, command, argument);
}

/* Any descriptor is a VFIO device. */
ssize_t __wrap_readlink(const char *path, char *target, size_t size) {
        static const char link[] = "anon_inode:[vfio-device]";

        if (strncmp(path, "/proc/self/fd/", 14) != 0)
                return __real_readlink(path, target, size);
        if (fault("readlink") < 0)
                return -1;
        memcpy(target, link, sizeof(link) - 1);
        return sizeof(link) - 1;
}

int __wrap_sysfs_read_handle(const char *address, uint32_t *ret) {
        *ret = EXAMPLE_FH;
        return fault("sysfs_read_handle");
}

static void put_info(uint8_t *info) {
        static const struct {
                struct vfio_device_info fixed;
        } answer = { .fixed = { .argsz = INFO_SIZE, .flags = 0x83, .cap_offset = INFO_CAPS } };
        const uint16_t id_and_version[] = { VFIO_DEVICE_INFO_CAP_ZPCI_BASE, 3 };
        const uint32_t fh_and_length[] = { EXAMPLE_FH, CCDF_ERROR_SIZE };

        memset(info, 0, INFO_SIZE);
        memcpy(info, &answer.fixed, sizeof(answer.fixed));
        memcpy(info + INFO_CAPS, id_and_version, sizeof(id_and_version));
        memcpy(info + INFO_CAPS + 32, fh_and_length, sizeof(fh_and_length));
}

static int answer_feature(const struct vfio_device_feature *feature) {
        if (feature->flags & VFIO_DEVICE_FEATURE_PROBE || kernel.record == 1)
                return 0;
        errno = -kernel.record;
        return -1;
}

int __wrap_ioctl(int fd, unsigned long request, ...) {
        va_list args;
        void *arg;

        va_start(args, request);
        arg = va_arg(args, void *);
        va_end(args);

        if (fault("ioctl") < 0)
                return -1;
        switch (request) {
        case VFIO_GET_API_VERSION:
                return kernel.old_api ? VFIO_API_VERSION + 1 : VFIO_API_VERSION;
        case VFIO_CHECK_EXTENSION:
                return !kernel.no_type1;
        case VFIO_GROUP_GET_STATUS:
                ((struct vfio_group_status *) arg)->flags = VFIO_GROUP_FLAGS_VIABLE;
                return 0;
        case VFIO_GROUP_GET_DEVICE_FD:
                return __real_eventfd(0, EFD_CLOEXEC);
        case VFIO_DEVICE_GET_INFO:
                put_info(arg);
                return 0;
        case VFIO_DEVICE_FEATURE:
                return answer_feature(arg);
        default:
                return 0;
        }
}

static int next_fd(void) {
        int fd = dup(STDERR_FILENO);

        close(fd);
        return fd;
}

typedef int (*Way)(VfioDevice **ret, VfioProblem *problem);

static int open_group(VfioDevice **ret, VfioProblem *problem) {
        return vfio_open(&group_nodes, ret, problem);
}

static int open_cdev(VfioDevice **ret, VfioProblem *problem) {
        return vfio_open(&cdev_nodes, ret, problem);
}

static int take_back(VfioDevice **ret, VfioProblem *problem) {
        VfioFds fds = {
                .device = __real_eventfd(0, EFD_CLOEXEC),
                .error = __real_eventfd(0, EFD_CLOEXEC),
                .request = -EBADF,
        };

        return vfio_take_back(&fds, ret, problem);
}

static int attach(VfioDevice **ret, VfioProblem *problem) {
        int fd = __real_eventfd(0, EFD_CLOEXEC), request_fd = __real_eventfd(0, EFD_CLOEXEC), r;

        r = vfio_recognise(fd, ret, problem);
        if (r >= 0) {
                r = vfio_attach(*ret, "0001:00:00.0", request_fd, problem);
                if (r < 0)
                        *ret = vfio_close(*ret);
        }
        close(fd);
        close(request_fd);
        return r;
}

static void test_each_call_fails(void **state) {
        static const struct {
                Way way;
                unsigned n_calls; /* at least */
        } ways[] = { { open_group, 15 }, { open_cdev, 10 }, { take_back, 8 }, { attach, 10 } };
        static const int errors[] = { -ENOMEM, -EMFILE, -EIO };

        for (size_t i = 0; i < ELEMENTSOF(ways) * ELEMENTSOF(errors); i++) {
                int error = errors[i / ELEMENTSOF(ways)], before = next_fd(), r;
                Way way = ways[i % ELEMENTSOF(ways)].way;
                unsigned n_failed = 0;

                for (unsigned n = 1, failed = 1; failed > 0; n++) {
                        VfioProblem problem = { 0 };
                        VfioDevice *device = NULL;

                        faults_begin(NULL, n, 1, error);
                        r = way(&device, &problem);
                        failed = faults_end();
                        n_failed += failed;

                        if (failed > 0) {
                                assert_true(r < 0);
                                assert_null(device);
                                assert_non_null(problem.what);
                        } else {
                                assert_int_equal(r, 0);
                                assert_true(vfio_error_fd(device) >= 0);
                                assert_true(vfio_request_fd(device) >= 0);
                                assert_null(vfio_close(device));
                        }
                        assert_int_equal(next_fd(), before);
                }
                assert_true(n_failed >= ways[i % ELEMENTSOF(ways)].n_calls);
        }
        assert_null(vfio_close(NULL));
}

static void assert_not_supported(const char *what) {
        VfioProblem problem = { 0 };
        VfioDevice *device = NULL;
        int before = next_fd();

        assert_int_equal(vfio_open(&group_nodes, &device, &problem), -EOPNOTSUPP);
        assert_non_null(strstr(problem.what, what));
        assert_null(device);
        assert_int_equal(next_fd(), before);
}

static void test_another_vfio(void **state) {
        kernel.old_api = true;
        assert_not_supported("unknown version");
        kernel.old_api = false;
        kernel.no_type1 = true;
        assert_not_supported("type 1");
        kernel.no_type1 = false;
}

/* Whatever the ioctl says, what it leaves in the ring is no record. */
static void test_read_fails(void **state) {
        static const int errors[] = { -ENOMEM, -EFAULT, -EIO, -ENODEV, -EINTR };
        VfioProblem problem;
        VfioDevice *device;

        assert_int_equal(vfio_open(&group_nodes, &device, &problem), 0);
        for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
                static const uint8_t blank[RECORD_RAW_SIZE];
                Record record;

                memset(&record, 0xff, sizeof(record));
                kernel.record = errors[i];
                assert_int_equal(vfio_read_error(device, &record), errors[i]);
                assert_int_equal(record.raw_size, 0);
                assert_memory_equal(record.raw, blank, sizeof(blank));
        }
        vfio_close(device);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_call_fails),
                cmocka_unit_test(test_another_vfio),
                cmocka_unit_test(test_read_fails),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
