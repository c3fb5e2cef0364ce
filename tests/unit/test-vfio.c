/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The VFIO floor over a kernel that answers as this file says: open(2) and ioctl(2) are wrapped. */

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

#include "vfio-uapi.h"
#include "vfio.h"

#define INFO_CAPS     24U /* where the measured kernel begins its chain */
#define BASE_SIZE     40U
#define EXAMPLE_FH    0x80020000U
#define SIZE_MEASURED 128U

typedef struct Kernel {
        /* how it is come by */
        int group_errno, cdev_errno, iommu_errno, container_errno;
        int bind_errno, device_errno;
        bool not_viable;
        /* what it tells of itself */
        uint8_t info[SIZE_MEASURED];
        int info_errno;
        int probe_errno;
        int error_irq_errno, request_irq_errno;
        /* what it does */
        uint8_t answer[RECORD_RAW_SIZE];
        size_t answer_size;
        int get_errno;
        int reset_errno;
        /* what was seen */
        unsigned n_gets;
        uint32_t armed_first;
        char opened[160];
} Kernel;

static Kernel kernel;

int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static int answer(int error) {
        errno = error;
        return error != 0 ? -1 : 0;
}

int __wrap_open(const char *path, int flags, ...) {
        int error = strcmp(path, "/dev/vfio/vfio") == 0     ? kernel.container_errno
                    : strcmp(path, "/dev/iommu") == 0       ? kernel.iommu_errno
                    : strncmp(path, "/dev/vfio/d", 11) == 0 ? kernel.cdev_errno
                                                            : kernel.group_errno;

        assert_true(flags & O_CLOEXEC);
        if (error != 0)
                return answer(error);

        assert_true(strlen(kernel.opened) + strlen(path) + 2 <= sizeof(kernel.opened));
        strcat(strcat(kernel.opened, path), " ");
        return eventfd(0, EFD_CLOEXEC); /* any descriptor */
}

int __wrap_open64(const char *path, int flags, ...) {
        return __wrap_open(path, flags);
}

static int answer_feature(struct vfio_device_feature *feature) {
        uint32_t what = feature->flags & VFIO_DEVICE_FEATURE_MASK;
        uint64_t data;

        assert_int_equal(what, VFIO_DEVICE_FEATURE_ZPCI_ERROR);
        assert_true(feature->flags & VFIO_DEVICE_FEATURE_GET);
        if (feature->flags & VFIO_DEVICE_FEATURE_PROBE)
                return answer(kernel.probe_errno);

        kernel.n_gets++;
        if (kernel.get_errno != 0)
                return answer(kernel.get_errno);

        if (feature->argsz == sizeof(*feature) + sizeof(data)) {
                memcpy(&data, feature->data, sizeof(data));
                memcpy((void *) (uintptr_t) data, kernel.answer, kernel.answer_size);
        } else {
                assert_true(feature->argsz >= sizeof(*feature) + kernel.answer_size);
                memcpy(feature->data, kernel.answer, kernel.answer_size);
        }
        return 0;
}

static int answer_irqs(const struct vfio_irq_set *set) {
        assert_int_equal(set->argsz, sizeof(*set) + sizeof(int32_t));
        assert_int_equal(set->flags, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER);
        assert_int_equal(set->start, 0);
        assert_int_equal(set->count, 1);
        if (kernel.armed_first == UINT32_MAX)
                kernel.armed_first = set->index;
        return answer(set->index == VFIO_PCI_ERR_IRQ_INDEX ? kernel.error_irq_errno
                                                           : kernel.request_irq_errno);
}

int __wrap_ioctl(int fd, unsigned long request, ...) {
        va_list args;
        void *arg;

        va_start(args, request);
        arg = va_arg(args, void *);
        va_end(args);

        switch (request) {
        case VFIO_GET_API_VERSION:
                return VFIO_API_VERSION;
        case VFIO_CHECK_EXTENSION:
                return 1;
        case VFIO_GROUP_GET_STATUS:
                ((struct vfio_group_status *) arg)->flags =
                        kernel.not_viable ? 0 : VFIO_GROUP_FLAGS_VIABLE;
                return 0;
        case VFIO_GROUP_SET_CONTAINER:
        case VFIO_SET_IOMMU:
                return 0;
        case VFIO_GROUP_GET_DEVICE_FD:
                assert_string_equal(arg, "0001:00:00.0");
                return kernel.device_errno != 0 ? answer(kernel.device_errno)
                                                : eventfd(0, EFD_CLOEXEC);
        case VFIO_DEVICE_BIND_IOMMUFD:
                return answer(kernel.bind_errno);
        case VFIO_DEVICE_GET_INFO:
                if (kernel.info_errno == 0)
                        memcpy(arg, kernel.info, sizeof(kernel.info));
                return answer(kernel.info_errno);
        case VFIO_DEVICE_SET_IRQS:
                return answer_irqs(arg);
        case VFIO_DEVICE_FEATURE:
                return answer_feature(arg);
        case VFIO_DEVICE_RESET:
                return answer(kernel.reset_errno);
        default:
                fail_msg("unexpected ioctl %lx", request);
                return -1;
        }
}

static void put16(size_t offset, uint16_t value) {
        memcpy(kernel.info + offset, &value, sizeof(value));
}

static void put32(size_t offset, uint32_t value) {
        memcpy(kernel.info + offset, &value, sizeof(value));
}

/* The answer of the measured kernel, with the base capability of a version. */
static void put_info(uint16_t version, uint32_t ccdf_err_length) {
        memset(kernel.info, 0, sizeof(kernel.info));
        put32(offsetof(struct vfio_device_info, argsz), SIZE_MEASURED);
        put32(offsetof(struct vfio_device_info, flags), 0x83U);
        put32(offsetof(struct vfio_device_info, cap_offset), INFO_CAPS);
        put16(INFO_CAPS, VFIO_DEVICE_INFO_CAP_ZPCI_BASE);
        put16(INFO_CAPS + 2, version);
        put32(INFO_CAPS + 4, INFO_CAPS + BASE_SIZE);
        put32(INFO_CAPS + 32, EXAMPLE_FH);
        put32(INFO_CAPS + 36, ccdf_err_length);
        put16(INFO_CAPS + BASE_SIZE, 2); /* ZPCI_GROUP */
        put16(INFO_CAPS + BASE_SIZE + 2, 2);
}

static int setup(void **state) {
        kernel = (Kernel){ .armed_first = UINT32_MAX, .get_errno = ENOMSG };
        put_info(3, CCDF_ERROR_SIZE);
        return 0;
}

static const VfioNodes group_nodes = { .address = "0001:00:00.0", .group = "/dev/vfio/7" };
static const VfioNodes both_nodes = {
        .address = "0001:00:00.0",
        .group = "/dev/vfio/7",
        .cdev = "/dev/vfio/devices/vfio0",
};

static int next_fd(void) {
        int fd = dup(STDERR_FILENO);

        close(fd);
        return fd;
}

static VfioDevice *open_device(const VfioNodes *nodes) {
        VfioDevice *device = NULL;
        VfioProblem problem;

        assert_int_equal(vfio_open(nodes, &device, &problem), 0);
        assert_non_null(device);
        return device;
}

/* It fails with this error, names what failed, and leaves nothing open. */
static void assert_not_opened(const VfioNodes *nodes, int error, const char *what) {
        VfioDevice *device = NULL;
        VfioProblem problem;
        int before = next_fd();

        kernel.opened[0] = '\0';
        assert_int_equal(vfio_open(nodes, &device, &problem), error);
        assert_null(device);
        assert_non_null(problem.what);
        assert_non_null(strstr(problem.what, what));
        assert_int_equal(next_fd(), before);
        assert_int_equal(kernel.n_gets, 0);
}

static void test_group(void **state) {
        int before = next_fd();
        VfioDevice *device = open_device(&group_nodes);

        assert_string_equal(kernel.opened, "/dev/vfio/7 /dev/vfio/vfio ");
        assert_int_equal(vfio_interface(device), RECORD_CCDF);
        assert_int_equal(vfio_function_handle(device), EXAMPLE_FH);
        assert_int_equal(kernel.armed_first, VFIO_PCI_REQ_IRQ_INDEX);
        assert_int_equal(kernel.n_gets, 0); /* a GET would consume a record */
        vfio_close(device);
        assert_int_equal(next_fd(), before);
}

static void test_cdev(void **state) {
        int before = next_fd();
        VfioDevice *device = open_device(&both_nodes);

        assert_string_equal(kernel.opened, "/dev/vfio/devices/vfio0 /dev/iommu ");
        vfio_close(device);
        assert_int_equal(next_fd(), before);
}

static void test_cdev_is_not_to_be_had(void **state) {
        static const int errors[] = { ENOENT, EACCES, ENODEV };

        for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
                kernel.opened[0] = '\0';
                kernel.iommu_errno = errors[i];
                vfio_close(open_device(&both_nodes));
                assert_non_null(strstr(kernel.opened, "/dev/vfio/7"));
        }
}

static void test_held_by_another(void **state) {
        kernel.group_errno = EBUSY;
        assert_not_opened(&group_nodes, -EBUSY, "open");
        kernel.bind_errno = EINVAL;
        assert_not_opened(&both_nodes, -EBUSY, "BIND");
        kernel.bind_errno = EBUSY;
        assert_not_opened(&both_nodes, -EBUSY, "BIND");
}

static void test_not_to_be_had(void **state) {
        kernel.device_errno = EAGAIN;
        assert_not_opened(&group_nodes, -EAGAIN, "GET_DEVICE_FD");
        kernel.not_viable = true;
        assert_not_opened(&group_nodes, -EBUSY, "viable");
        kernel.group_errno = EACCES;
        assert_not_opened(&group_nodes, -EACCES, "open");
        kernel.group_errno = 0;
        kernel.not_viable = false;
        kernel.container_errno = ENOENT;
        assert_not_opened(&group_nodes, -ENOENT, "open");
        assert_not_opened(&(const VfioNodes){ .address = "0001:00:00.0" }, -ENOENT, "no node");
}

static void test_irqs(void **state) {
        kernel.error_irq_errno = EINVAL;
        assert_not_opened(&group_nodes, -EOPNOTSUPP, "error interrupt");
        kernel.error_irq_errno = 0;
        kernel.request_irq_errno = EINVAL;
        assert_not_opened(&group_nodes, -EOPNOTSUPP, "ask for it back");
        kernel.request_irq_errno = EMFILE;
        assert_not_opened(&group_nodes, -EMFILE, "SET_IRQS");
}

static void test_lengths(void **state) {
        static const uint32_t bad[] = { 0, 8, 31, RECORD_RAW_SIZE + 1, 100000, UINT32_MAX };
        static const uint32_t good[] = { 32, 48, RECORD_RAW_SIZE };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                put_info(3, bad[i]);
                assert_not_opened(&group_nodes, -EOPNOTSUPP, "error records are too");
        }
        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                put_info(3, good[i]);
                kernel.opened[0] = '\0';
                vfio_close(open_device(&group_nodes));
        }
}

static void test_chains(void **state) {
        put32(offsetof(struct vfio_device_info, cap_offset), SIZE_MEASURED - 4);
        assert_not_opened(&group_nodes, -EBADMSG, "malformed");
        put32(offsetof(struct vfio_device_info, cap_offset), UINT32_MAX);
        assert_not_opened(&group_nodes, -EBADMSG, "malformed");
        put32(offsetof(struct vfio_device_info, cap_offset), 4);
        assert_not_opened(&group_nodes, -EBADMSG, "malformed");

        put_info(3, 32); /* a loop, with what we look for nowhere in it */
        put16(INFO_CAPS, 9);
        put32(INFO_CAPS + BASE_SIZE + 4, INFO_CAPS);
        assert_not_opened(&group_nodes, -EBADMSG, "malformed");
        put32(INFO_CAPS + 4, INFO_CAPS);
        assert_not_opened(&group_nodes, -EBADMSG, "malformed");

        put_info(3, 32); /* a loop behind what we look for */
        put32(INFO_CAPS + BASE_SIZE + 4, INFO_CAPS);
        assert_not_opened(&group_nodes, -EBADMSG, "malformed");

        put_info(3, 32); /* no zPCI function */
        put16(INFO_CAPS, 9);
        assert_not_opened(&group_nodes, -EOPNOTSUPP, "zPCI");
        put_info(3, 32);
        put32(offsetof(struct vfio_device_info, flags), 0x3U);
        assert_not_opened(&group_nodes, -EOPNOTSUPP, "zPCI");

        put_info(3, 32); /* cut short by the next one, and by the end */
        put32(INFO_CAPS + 4, INFO_CAPS + 36);
        put16(INFO_CAPS + 36, 2);
        put32(INFO_CAPS + 40, 0);
        assert_not_opened(&group_nodes, -EBADMSG, "cut short");
        put_info(3, 32);
        put32(INFO_CAPS + 4, 0);
        put32(offsetof(struct vfio_device_info, argsz), INFO_CAPS + 34);
        assert_not_opened(&group_nodes, -EBADMSG, "cut short");

        put_info(3, 32);
        put32(offsetof(struct vfio_device_info, argsz), 4);
        assert_not_opened(&group_nodes, -EBADMSG, "absurd");
        put32(offsetof(struct vfio_device_info, argsz), 1U << 20);
        assert_not_opened(&group_nodes, -EBADMSG, "absurd");
        kernel.info_errno = ENODEV;
        assert_not_opened(&group_nodes, -ENODEV, "GET_INFO");
}

static void test_no_feature(void **state) {
        kernel.probe_errno = ENOTTY;
        for (uint16_t version = 1; version <= 4; version++) {
                put_info(version, 32);
                assert_not_opened(&group_nodes, -EOPNOTSUPP, "no error records");
        }

        /* Another error is no answer: it may be gone at the next try. */
        kernel.probe_errno = ENODEV;
        assert_not_opened(&group_nodes, -ENODEV, "VFIO_DEVICE_FEATURE");
}

static void test_read_ccdf(void **state) {
        VfioDevice *device;
        Record record = { 0 };

        put_info(3, 48);
        device = open_device(&group_nodes);

        assert_int_equal(vfio_read_error(device, &record), 0);
        assert_int_equal(record.raw_size, 0);

        kernel.get_errno = 0;
        kernel.answer_size = 48;
        for (size_t i = 0; i < 48; i++)
                kernel.answer[i] = (uint8_t) (i + 1);
        assert_int_equal(vfio_read_error(device, &record), 1);
        assert_int_equal(record.source, RECORD_VFIO);
        assert_int_equal(record.interface, RECORD_CCDF);
        assert_int_equal(record.raw_size, 48);
        assert_memory_equal(record.raw, kernel.answer, 48);
        assert_false(vfio_is_unknown_revision(device));

        kernel.get_errno = ENODEV;
        assert_int_equal(vfio_read_error(device, &record), -ENODEV);
        assert_int_equal(record.raw[0], 0); /* blank again */
        vfio_close(device);
}

static void put_packed(uint8_t version, uint8_t pending, uint16_t pec) {
        kernel.get_errno = 0;
        kernel.answer[0] = version;
        kernel.answer[1] = pending;
        memcpy(kernel.answer + 2, &pec, sizeof(pec));
}

static void test_read_packed(void **state) {
        VfioDevice *device;
        Record record = { 0 };
        uint8_t pending;

        put_info(2, 0);
        device = open_device(&group_nodes);
        assert_int_equal(vfio_interface(device), RECORD_PACKED);

        kernel.answer_size = 4;
        put_packed(1, 2, 0x3a);
        assert_int_equal(vfio_read_error(device, &record), 1);
        assert_int_equal(record.interface, RECORD_PACKED);
        assert_int_equal(record.raw_size, 4);
        assert_int_equal(record_pec(&record), 0x3a);
        assert_int_equal(record_pending(&record, &pending), 0);
        assert_int_equal(pending, 2);

        record = (Record){ 0 };
        put_packed(1, 0, 0); /* nothing pending, as the proposal says it */
        assert_int_equal(vfio_read_error(device, &record), 0);
        assert_int_equal(record.raw[0], 0);
        kernel.get_errno = ENOMSG; /* … and as its reviewer asked */
        assert_int_equal(vfio_read_error(device, &record), 0);

        record = (Record){ 0 };
        put_packed(2, 0, 0x3a); /* a later revision with more to say */
        kernel.answer[9] = 0xff;
        kernel.answer_size = 12;
        assert_int_equal(vfio_read_error(device, &record), 1);
        assert_true(vfio_is_unknown_revision(device));
        assert_int_equal(record.raw_size, 12);
        assert_int_equal(record_pec(&record), 0x3a);
        vfio_close(device);
}

static void test_reset(void **state) {
        VfioDevice *device = open_device(&group_nodes);

        assert_int_equal(vfio_reset(device), 0);
        kernel.reset_errno = EAGAIN;
        assert_int_equal(vfio_reset(device), -EAGAIN);
        kernel.reset_errno = EIO;
        assert_int_equal(vfio_reset(device), -EIO);
        vfio_close(device);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_group, setup),
                cmocka_unit_test_setup(test_cdev, setup),
                cmocka_unit_test_setup(test_cdev_is_not_to_be_had, setup),
                cmocka_unit_test_setup(test_held_by_another, setup),
                cmocka_unit_test_setup(test_not_to_be_had, setup),
                cmocka_unit_test_setup(test_irqs, setup),
                cmocka_unit_test_setup(test_lengths, setup),
                cmocka_unit_test_setup(test_chains, setup),
                cmocka_unit_test_setup(test_no_feature, setup),
                cmocka_unit_test_setup(test_read_ccdf, setup),
                cmocka_unit_test_setup(test_read_packed, setup),
                cmocka_unit_test_setup(test_reset, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
