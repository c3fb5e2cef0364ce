/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "fake-vfio.h"

#define FAKE_FID 0x10U

struct VfioDevice {
        int error_fd;
        int request_fd;
};

FakeKernel fake_kernel;

int vfio_open(const VfioNodes *nodes, VfioDevice **ret, VfioProblem *ret_problem) {
        VfioDevice *device;

        *ret_problem = (VfioProblem){ 0 };
        if (fake_kernel.open_error < 0) {
                ret_problem->what = "fake";
                return fake_kernel.open_error;
        }

        assert(!fake_kernel.device);
        device = malloc(sizeof(*device));
        assert(device);
        device->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        device->request_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        fake_kernel.device = device;
        fake_kernel.frozen = false;
        fake_kernel.n_opens++;

        *ret = device;
        return 0;
}

static VfioDevice *fake_device(int error_fd, int request_fd) {
        VfioDevice *device = malloc(sizeof(*device));

        assert(device);
        device->error_fd = error_fd;
        device->request_fd = request_fd;
        return device;
}

/* What a former run had, whose device went on in the service manager's hands. */
int vfio_take_back(VfioFds *fds, VfioDevice **ret, VfioProblem *ret_problem) {
        VfioFds taken = *fds;

        *ret_problem = (VfioProblem){ 0 };
        *fds = VFIO_NO_FDS;
        safe_close(taken.device);
        if (fake_kernel.open_error < 0) {
                safe_close(taken.error);
                safe_close(taken.request);
                return fake_kernel.open_error;
        }
        if (taken.error < 0)
                taken.error = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (taken.request < 0)
                taken.request = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        *ret = fake_kernel.device = fake_device(taken.error, taken.request);
        fake_kernel.n_taken_back++;
        return 0;
}

/* The device of an owner, recognised by whoever calls this. */
VfioDevice *fake_owned(void) {
        return fake_device(-EBADF, -EBADF);
}

int vfio_attach(VfioDevice *device, const char *address, int request_fd, VfioProblem *ret_problem) {
        *ret_problem = (VfioProblem){ 0 };
        if (fake_kernel.open_error < 0)
                return fake_kernel.open_error;
        device->request_fd = dup(request_fd);
        device->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert(!fake_kernel.device);
        fake_kernel.device = device;
        return 0;
}

bool vfio_is_eventfd(int fd) {
        char path[32], target[32] = "";

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return readlink(path, target, sizeof(target) - 1) > 0 &&
               strcmp(target, "anon_inode:[eventfd]") == 0;
}

VfioFds vfio_fds(const VfioDevice *device) {
        return (VfioFds){
                .device = device->error_fd, /* any will do */
                .error = device->error_fd,
                .request = device->request_fd,
        };
}

VfioDevice *vfio_close(VfioDevice *device) {
        if (!device)
                return NULL;

        if (device == fake_kernel.device) { /* else it was never attached */
                fake_kernel.n_lost_by_close += fake_kernel.n_queue;
                fake_kernel.n_queue = 0;
                fake_kernel.device = NULL;
        }
        fake_kernel.n_closes++;
        safe_close(device->error_fd);
        safe_close(device->request_fd);
        free(device);
        return NULL;
}

int vfio_error_fd(const VfioDevice *device) {
        return device->error_fd;
}

int vfio_request_fd(const VfioDevice *device) {
        return device->request_fd;
}

RecordInterface vfio_interface(const VfioDevice *device) {
        return RECORD_CCDF;
}

uint32_t vfio_function_handle(const VfioDevice *device) {
        return 0x80020000;
}

bool vfio_is_unknown_revision(const VfioDevice *device) {
        return fake_kernel.unknown_revision;
}

static void fake_fill(Record *record, uint16_t pec) {
        record->source = RECORD_VFIO;
        record->interface = RECORD_CCDF;
        record->raw_size = CCDF_ERROR_SIZE;
        record->raw[11] = FAKE_FID;
        record->raw[30] = (uint8_t) (pec >> 8);
        record->raw[31] = (uint8_t) pec;
}

int vfio_read_error(VfioDevice *device, Record *record) {
        uint16_t pec;

        assert(device == fake_kernel.device);
        if (fake_kernel.read_error < 0)
                return fake_kernel.read_error;
        if (fake_kernel.endless) {
                fake_fill(record, 2);
                return 1;
        }
        if (fake_kernel.n_queue == 0) {
                if (fake_kernel.spam)
                        (void) eventfd_write(device->error_fd, 1);
                return 0;
        }

        pec = fake_kernel.queue[0];
        fake_kernel.n_queue--;
        memmove(fake_kernel.queue, fake_kernel.queue + 1, fake_kernel.n_queue * sizeof(pec));
        fake_fill(record, pec);
        return 1;
}

int vfio_reset(VfioDevice *device) {
        assert(device == fake_kernel.device);
        fake_kernel.n_resets++;
        if (fake_kernel.reset_errors > 0) {
                fake_kernel.reset_errors--;
                return -EAGAIN;
        }
        if (fake_kernel.reset_error == 0)
                fake_kernel.frozen = false;
        return fake_kernel.reset_error;
}

void fake_error(uint16_t pec) {
        assert(fake_kernel.device);
        if (fake_kernel.n_queue < FAKE_QUEUE_LENGTH)
                fake_kernel.queue[fake_kernel.n_queue++] = pec;
        fake_kernel.frozen = true;
        assert(eventfd_write(fake_kernel.device->error_fd, 1) == 0);
}

void fake_request(void) {
        assert(fake_kernel.device);
        assert(eventfd_write(fake_kernel.device->request_fd, 1) == 0);
}
