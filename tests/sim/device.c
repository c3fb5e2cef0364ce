/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "device.h"

#define NSEC_PER_MSEC 1000000U

static bool identify(const Sim *sim, int dirfd, const char *path, int flags, SimRef *ret) {
        struct statx st;
        unsigned slot;

        if (syscall(SYS_statx, dirfd, path, flags, STATX_INO | STATX_SIZE | STATX_TYPE, &st) < 0)
                return false;

        slot = st.stx_size & 0xffff;
        if (!S_ISREG(st.stx_mode) || st.stx_size >> 16 < 1 || st.stx_size >> 16 > _SIM_NODE_MAX ||
            slot >= SIM_FUNCTIONS || st.stx_dev_major != sim->state->dev_major ||
            st.stx_dev_minor != sim->state->dev_minor)
                return false;

        *ret = (SimRef){
                .node = (SimNode) ((st.stx_size >> 16) - 1),
                .slot = slot,
                .ino = st.stx_ino,
        };
        if (ret->node == SIM_NODE_CONTAINER)
                return st.stx_ino == sim->state->container_ino;
        if (ret->node == SIM_NODE_IOMMU)
                return st.stx_ino == sim->state->iommu_ino;
        return true;
}

bool sim_identify(const Sim *sim, int fd, SimRef *ret) {
        /* The file may be anybody's: no file system is asked anything. */
        return identify(sim, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, ret);
}

bool sim_identify_path(const Sim *sim, const char *path, SimRef *ret) {
        return identify(sim, AT_FDCWD, path, 0, ret);
}

SimFunction *sim_ref_function(Sim *sim, const SimRef *ref) {
        SimFunction *f = sim->state->functions + ref->slot;

        return f->used && ref->node <= SIM_NODE_DEVICE && f->ino[ref->node] == ref->ino ? f : NULL;
}

uint64_t sim_fd_word(int fd) {
        off_t offset = (off_t) syscall(SYS_lseek, fd, 0, SEEK_CUR);

        return offset < 0 ? 0 : (uint64_t) offset;
}

int sim_fd_set_word(int fd, uint64_t word) {
        return syscall(SYS_lseek, fd, (off_t) word, SEEK_SET) < 0 ? -errno : 0;
}

int sim_fd_hold(int fd, bool shared) {
        struct flock lock = { .l_type = shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

        if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
                return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
        return 0;
}

bool sim_fd_is_held(int fd) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static void settle(SimFunction *f, uint64_t now) {
        if (f->frozen && f->thawed_at > 0 && now >= f->thawed_at) {
                f->frozen = false;
                f->thawed_at = 0;
        }
}

bool sim_device_frozen(SimFunction *f) {
        settle(f, sim_now());
        return f->frozen;
}

int sim_group_open(Sim *sim, SimFunction *f, int fd) {
        int r;

        if (f->leaving)
                return -ENODEV;

        if (f->group_open || f->open != SIM_OPEN_NO || sim_now() < f->closing_until) {
                f->busy++;
                return -EBUSY;
        }

        r = sim_fd_hold(fd, false);
        if (r < 0)
                return r;

        f->group_open = true;
        f->group_generation = sim->state->next_generation++;
        f->container = 0;
        return sim_fd_set_word(fd, f->group_generation);
}

int sim_device_open(Sim *sim, SimFunction *f, SimOpen how, int fd, uint64_t *ret_until) {
        uint64_t now = sim_now();
        int r;

        settle(f, now);
        if (f->leaving)
                return -ENODEV;
        if (f->set.open_errno > 0)
                return -(int) f->set.open_errno;

        if (f->open == SIM_OPEN_NO) {
                if (now < f->locked_until) {
                        f->again++;
                        return -EAGAIN;
                }
        } else if (how != SIM_OPEN_GROUP) {
                f->busy++; /* only the group path opens a device more than once */
                return -EINVAL;
        }

        r = sim_fd_hold(fd, how == SIM_OPEN_GROUP);
        if (r < 0)
                return r;

        if (f->open == SIM_OPEN_NO) {
                f->open = (uint8_t) how;
                f->generation = sim->state->next_generation++;
                f->n_queued = f->n_taken = 0;
                f->opens++;
                f->opened_at = f->locked_until = now + (uint64_t) f->set.open_ms * NSEC_PER_MSEC;
                if (f->frozen && !f->permanent) /* open resets the function */
                        f->thawed_at = f->locked_until;
        }
        *ret_until = f->opened_at;
        return sim_fd_set_word(fd, f->generation);
}

int sim_device_reset(SimFunction *f, uint64_t *ret_until) {
        uint64_t now = sim_now();

        settle(f, now);
        if (f->set.reset_errno > 0)
                return -(int) f->set.reset_errno;
        if (now < f->locked_until) {
                f->again++;
                return -EAGAIN;
        }

        f->resets++;
        f->locked_until = *ret_until = now + (uint64_t) f->set.reset_ms * NSEC_PER_MSEC;
        if (f->frozen && !f->permanent)
                f->thawed_at = f->locked_until;
        return 0;
}

void sim_device_release(SimFunction *f) {
        uint64_t now = sim_now();

        settle(f, now);
        if (now < f->locked_until)
                f->close_resets_skipped++; /* close only tries the lock, and says nothing */
        else if (!f->permanent)
                f->frozen = false;

        f->open = SIM_OPEN_NO;
        f->n_queued = f->n_taken = 0;
        f->err_armed = f->req_armed = false;
        f->closes++;
        f->closing_until = now + (uint64_t) f->set.close_ms * NSEC_PER_MSEC;
        if (f->locked_until < f->closing_until)
                f->locked_until = f->closing_until;
}

static void enqueue(SimFunction *f, const uint8_t *record) {
        memcpy(f->last_record, record, SIM_RECORD);
        if (sim_device_pending(f) == SIM_QUEUE)
                f->dropped++;
        else
                memcpy(f->queue[f->n_queued++ % SIM_QUEUE], record, SIM_RECORD);
}

SimVerdict sim_device_error(SimFunction *f, const uint8_t record[static SIM_RECORD], bool force) {
        unsigned pec = (unsigned) record[30] << 8 | record[31];
        uint64_t now = sim_now();
        bool permanent = pec == SIM_PEC_PERMERR || pec == SIM_PEC_FAILED;

        if (pec >= 0x2a && pec <= 0x2c)
                return SIM_VERDICT_LOGGED;

        settle(f, now);
        if (f->frozen && !force)
                return SIM_VERDICT_NOTHING;

        f->errors++;
        f->permanent |= permanent;
        if (f->locked_until < now + (uint64_t) f->set.eagain_ms * NSEC_PER_MSEC)
                f->locked_until = now + (uint64_t) f->set.eagain_ms * NSEC_PER_MSEC;
        f->thawed_at = 0;

        if (f->open == SIM_OPEN_NO) {
                f->frozen = permanent || !f->set.recovery_ok;
                return SIM_VERDICT_KERNEL;
        }
        f->frozen = true;
        enqueue(f, record);
        return SIM_VERDICT_QUEUED;
}

const uint8_t *sim_device_oldest(const SimFunction *f) {
        if (sim_device_pending(f) > 0)
                return f->queue[f->n_taken % SIM_QUEUE];
        return f->set.endless ? f->last_record : NULL;
}

void sim_device_take(SimFunction *f) {
        if (sim_device_pending(f) > 0)
                __atomic_store_n(&f->n_taken, f->n_taken + 1, __ATOMIC_RELEASE);
        f->records_read++;
}
