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
#include <sys/stat.h>

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

int __real_open(const char *path, int flags, ...);
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

        if (strncmp(path, "/dev/", 5) != 0)
                return __real_open(path, flags, 0600); /* a tool's, such as gcov */
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

/* Where there is no group either, what there is to mend is the character device. */
static void test_neither_is_to_be_had(void **state) {
        VfioProblem problem;
        VfioDevice *device;

        kernel.cdev_errno = EACCES;
        kernel.group_errno = ENOENT;
        assert_not_opened(&both_nodes, -EACCES, "open");
        assert_int_equal(vfio_open(&both_nodes, &device, &problem), -EACCES);
        assert_string_equal(problem.path, both_nodes.cdev);
        kernel.cdev_errno = ENOENT;
        assert_not_opened(&both_nodes, -ENOENT, "open");
        kernel.cdev_errno = ENODEV;
        kernel.group_errno = EPERM;
        assert_not_opened(&both_nodes, -EPERM, "open");
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

        put_info(3, 32); /* one that is none */
        put16(INFO_CAPS + BASE_SIZE, 0);
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

/* A device of somebody else, or of a former run: an eventfd that the kernel shows as something else. */

typedef struct Shown {
        const char *fd_link;   /* what /proc/self/fd says of any fd; NULL for the truth */
        const char *char_link; /* what /sys/dev/char says */
        bool is_char;          /* what statx(2) says */
        bool has_path_only;
        bool other_handle; /* sysfs has another one than the device */
        int handle_errno;
} Shown;

static Shown shown;

ssize_t __real_readlink(const char *path, char *target, size_t size);
ssize_t __wrap_readlink(const char *path, char *target, size_t size);
int __wrap_statx(int fd, const char *path, int flags, unsigned mask, struct statx *ret);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, long argument);
int __wrap_sysfs_read_handle(const char *address, uint32_t *ret);

ssize_t __wrap_readlink(const char *path, char *target, size_t size) {
        const char *link = strncmp(path, "/proc/self/fd/", 14) == 0   ? shown.fd_link
                           : strcmp(path, "/sys/dev/char/511:3") == 0 ? shown.char_link
                                                                      : NULL;

        if (!link)
                return __real_readlink(path, target, size);
        memcpy(target, link, strlen(link) < size ? strlen(link) : size);
        return (ssize_t) (strlen(link) < size ? strlen(link) : size);
}

int __wrap_statx(int fd, const char *path, int flags, unsigned mask, struct statx *ret) {
        /* Nobody behind a file may be asked. */
        assert_int_equal(flags, AT_EMPTY_PATH | AT_STATX_DONT_SYNC);
        *ret = (struct statx){
                .stx_mode = shown.is_char ? S_IFCHR : S_IFREG,
                .stx_rdev_major = 511,
                .stx_rdev_minor = 3,
        };
        return 0;
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
        if (command == F_GETFL && shown.has_path_only)
                return O_PATH;
        return __real_fcntl(fd, command, argument);
}

int __wrap_sysfs_read_handle(const char *address, uint32_t *ret) {
        assert_string_equal(address, "0001:00:00.0");
        *ret = EXAMPLE_FH + (shown.other_handle ? 1 : 0);
        return -shown.handle_errno;
}

#define CHAR_LINK "../../devices/pci0001:00/0001:00:00.0/vfio-dev/vfio3"

static int setup_shown(void **state) {
        shown = (Shown){ .fd_link = "anon_inode:[vfio-device]" };
        return setup(state);
}

/* Recognises any fd. It is not touched, and nothing is left open if it fails. */
static int recognise(VfioDevice **ret, const char *what) {
        int fd = eventfd(0, EFD_CLOEXEC), before = next_fd(), r;
        VfioProblem problem = { 0 };

        *ret = NULL;
        r = vfio_recognise(fd, ret, &problem);
        if (r < 0) {
                assert_null(*ret);
                assert_non_null(problem.what);
                assert_non_null(strstr(problem.what, what));
                assert_int_equal(next_fd(), before);
        }
        assert_true(fcntl(fd, F_GETFD) >= 0);
        close(fd);
        return r;
}

static void assert_recognised(void) {
        VfioDevice *device;

        assert_int_equal(recognise(&device, ""), 0);
        assert_int_equal(vfio_function_handle(device), EXAMPLE_FH);
        assert_true(vfio_fds(device).device >= 0);
        assert_true(vfio_error_fd(device) < 0);
        assert_true(vfio_request_fd(device) < 0);
        assert_int_equal(kernel.armed_first, UINT32_MAX); /* nothing is installed */
        vfio_close(device);
}

static void assert_not_recognised(int error, const char *what) {
        VfioDevice *device;

        assert_int_equal(recognise(&device, what), error);
}

static void test_recognise(void **state) {
        assert_recognised();

        shown.fd_link = "/dev/vfio/devices/vfio3";
        shown.is_char = true;
        shown.char_link = CHAR_LINK;
        assert_recognised();
        shown.char_link = "../../devices/pci0001:00/0001:00:00.0/00a0:01:00.1/vfio-dev/vfio12";
        assert_recognised();
}

/* Before it looks like one, it is asked nothing. */
static void test_recognise_something_else(void **state) {
        static const char *const links[] = {
                "/tmp/anon_inode:[vfio-device]",
                "anon_inode:[vfio-device] (deleted)",
                "anon_inode:[vfio-devic",
                "anon_inode:[eventfd]",
                "",
                "socket:[1]",
        };
        static const char *const char_links[] = {
                "../../devices/virtual/misc/fuse",
                "../../devices/virtual/cuse/vfio-dev/vfio3",
                "../../devices/platform/abc/vfio-dev/vfio3",
                "../../devices/pci0001:00/0001:00:00.0/vfio-dev",
                "../../devices/pci0001:00/0001:00:00.0/vfio-dev/other",
                "../../devices/pci0001:00/0001:00:00.0/other-dev/vfio3",
                "0001:00:00.0/vfio-dev/vfio3",
                "vfio3",
                "",
        };

        kernel.info_errno = ENOTTY; /* what it would answer is said in other words */
        for (size_t i = 0; i < ELEMENTSOF(links); i++) {
                shown.fd_link = links[i];
                assert_not_recognised(-ENOTTY, "it is no VFIO device");
        }
        shown.is_char = true;
        for (size_t i = 0; i < ELEMENTSOF(char_links); i++) {
                shown.char_link = char_links[i];
                assert_not_recognised(-ENOTTY, "it is no VFIO device");
        }
        shown.is_char = false; /* a file by the same number */
        shown.char_link = CHAR_LINK;
        assert_not_recognised(-ENOTTY, "it is no VFIO device");

        shown.fd_link = "anon_inode:[vfio-device]";
        shown.has_path_only = true;
        assert_not_recognised(-ENOTTY, "it is no VFIO device");
}

static void test_recognise_fails(void **state) {
        kernel.info_errno = EINVAL;
        assert_not_recognised(-ENOTTY, "not open");
        kernel.info_errno = ENODEV;
        assert_not_recognised(-ENODEV, "GET_INFO");
        kernel.info_errno = 0;
        kernel.probe_errno = ENOTTY;
        assert_not_recognised(-EOPNOTSUPP, "no error records");
        kernel.probe_errno = 0;
        put32(INFO_CAPS + 32, 0);
        assert_not_recognised(-ENXIO, "which PCI function");
        put_info(3, 32);
        put16(INFO_CAPS, 9);
        assert_not_recognised(-ENXIO, "zPCI");
}

static void test_attach(void **state) {
        int request_fd = eventfd(0, EFD_CLOEXEC), before = next_fd();
        VfioProblem problem;
        VfioDevice *device;

        assert_int_equal(recognise(&device, ""), 0);
        assert_int_equal(vfio_attach(device, "0001:00:00.0", request_fd, &problem), 0);
        assert_int_equal(kernel.armed_first, VFIO_PCI_ERR_IRQ_INDEX); /* the owner's stays */
        assert_true(vfio_error_fd(device) >= 0);
        assert_true(vfio_request_fd(device) >= 0);
        assert_int_not_equal(vfio_request_fd(device), request_fd);
        vfio_close(device);
        assert_true(fcntl(request_fd, F_GETFD) >= 0);
        assert_int_equal(next_fd(), before);
        close(request_fd);
}

static void assert_not_attached(int error, const char *what) {
        int request_fd = eventfd(0, EFD_CLOEXEC), before = next_fd();
        VfioProblem problem;
        VfioDevice *device;

        assert_int_equal(recognise(&device, ""), 0);
        assert_int_equal(vfio_attach(device, "0001:00:00.0", request_fd, &problem), error);
        assert_non_null(strstr(problem.what, what));
        vfio_close(device); /* the caller's, whatever happened */
        assert_int_equal(next_fd(), before);
        close(request_fd);
}

static void test_attach_fails(void **state) {
        shown.other_handle = true;
        assert_not_attached(-ESTALE, "another handle");
        shown.other_handle = false;
        shown.handle_errno = ENOENT;
        assert_not_attached(-ENOENT, "function_handle");
        assert_int_equal(kernel.armed_first, UINT32_MAX);
        shown.handle_errno = 0;
        kernel.error_irq_errno = EINVAL;
        assert_not_attached(-EOPNOTSUPP, "error interrupt");
        kernel.error_irq_errno = ENODEV;
        assert_not_attached(-ENODEV, "SET_IRQS");
}

static VfioFds former(bool error, bool request) {
        return (VfioFds){
                .device = eventfd(0, EFD_CLOEXEC),
                .error = error ? eventfd(0, EFD_CLOEXEC) : -EBADF,
                .request = request ? eventfd(0, EFD_CLOEXEC) : -EBADF,
        };
}

/* With what there was, and what is missing made anew. */
static void test_take_back(void **state) {
        int before = next_fd();

        for (unsigned i = 0; i < 4; i++) {
                VfioFds was = former(i & 1, i & 2), fds = was;
                VfioProblem problem;
                VfioDevice *device;

                kernel.armed_first = UINT32_MAX;
                assert_int_equal(vfio_take_back(&fds, &device, &problem), 0);
                assert_int_equal(fds.device, -EBADF);
                assert_int_equal(fds.error, -EBADF);
                assert_int_equal(fds.request, -EBADF);
                assert_int_equal(vfio_fds(device).device, was.device);
                assert_true(vfio_error_fd(device) >= 0 && vfio_request_fd(device) >= 0);
                if (i & 1)
                        assert_int_equal(vfio_error_fd(device), was.error);
                assert_true(fcntl(vfio_error_fd(device), F_GETFL) & O_NONBLOCK);
                if (i & 2)
                        assert_int_equal(vfio_request_fd(device), was.request);
                assert_int_equal(kernel.armed_first,
                                 !(i & 2)   ? VFIO_PCI_REQ_IRQ_INDEX
                                 : !(i & 1) ? VFIO_PCI_ERR_IRQ_INDEX
                                            : UINT32_MAX);
                assert_int_equal(vfio_function_handle(device), EXAMPLE_FH);
                assert_int_equal(kernel.n_gets, 0);
                vfio_close(device);
                assert_int_equal(next_fd(), before);
        }
}

/* Its function is being unbound, which waits for it to be closed: there may be records in its queue. */
static void test_take_back_unbound(void **state) {
        VfioFds fds = former(true, true);
        VfioProblem problem;
        VfioDevice *device;

        shown.fd_link = "/dev/vfio/devices/vfio3 (deleted)";
        shown.is_char = true;
        shown.char_link = NULL;
        assert_int_equal(vfio_take_back(&fds, &device, &problem), 0);
        vfio_close(device);

        /* Nobody else can have it attached any more. */
        assert_not_recognised(-ENOTTY, "it is no VFIO device");
}

static void assert_not_taken_back(int error) {
        int before = next_fd();
        VfioFds fds = former(false, true);
        VfioDevice *device = NULL;
        VfioProblem problem;

        assert_int_equal(vfio_take_back(&fds, &device, &problem), error);
        assert_null(device);
        assert_non_null(problem.what);
        assert_int_equal(fds.device, -EBADF);
        assert_int_equal(next_fd(), before); /* taken over in any case */
}

static void test_take_back_fails(void **state) {
        kernel.info_errno = ENODEV;
        assert_not_taken_back(-ENODEV);
        kernel.info_errno = 0;
        kernel.error_irq_errno = EINVAL;
        assert_not_taken_back(-EOPNOTSUPP);
        put16(INFO_CAPS, 9);
        assert_not_taken_back(-EOPNOTSUPP);
        shown.fd_link = "/dev/fuse"; /* it is asked nothing */
        kernel.info_errno = EIO;
        assert_not_taken_back(-ENOTTY);
        shown.is_char = true;
        shown.char_link = "../../devices/virtual/misc/fuse";
        assert_not_taken_back(-ENOTTY);
}

static void test_is_eventfd(void **state) {
        int fd = eventfd(0, EFD_CLOEXEC), fds[2];

        shown.fd_link = NULL;
        assert_true(vfio_is_eventfd(fd));
        shown.has_path_only = true;
        assert_false(vfio_is_eventfd(fd));
        shown.has_path_only = false;
        close(fd);
        assert_false(vfio_is_eventfd(fd));
        assert_int_equal(pipe(fds), 0);
        assert_false(vfio_is_eventfd(fds[0]));
        close(fds[0]);
        close(fds[1]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_group, setup),
                cmocka_unit_test_setup(test_cdev, setup),
                cmocka_unit_test_setup(test_cdev_is_not_to_be_had, setup),
                cmocka_unit_test_setup(test_held_by_another, setup),
                cmocka_unit_test_setup(test_not_to_be_had, setup),
                cmocka_unit_test_setup(test_neither_is_to_be_had, setup),
                cmocka_unit_test_setup(test_irqs, setup),
                cmocka_unit_test_setup(test_lengths, setup),
                cmocka_unit_test_setup(test_chains, setup),
                cmocka_unit_test_setup(test_no_feature, setup),
                cmocka_unit_test_setup(test_read_ccdf, setup),
                cmocka_unit_test_setup(test_read_packed, setup),
                cmocka_unit_test_setup(test_reset, setup),
                cmocka_unit_test_setup(test_recognise, setup_shown),
                cmocka_unit_test_setup(test_recognise_something_else, setup_shown),
                cmocka_unit_test_setup(test_recognise_fails, setup_shown),
                cmocka_unit_test_setup(test_attach, setup_shown),
                cmocka_unit_test_setup(test_attach_fails, setup_shown),
                cmocka_unit_test_setup(test_take_back, setup_shown),
                cmocka_unit_test_setup(test_take_back_unbound, setup_shown),
                cmocka_unit_test_setup(test_take_back_fails, setup_shown),
                cmocka_unit_test_setup(test_is_eventfd, setup_shown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
