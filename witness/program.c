/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "program.h"
#include "witness-account.h"
#include "witness-object.h" /* witness.bpf.c, compiled: witness_object[] */

#define MAPS_MAX 8U

static int print_all(enum libbpf_print_level level, const char *format, va_list arguments) {
        return vfprintf(stderr, format, arguments);
}

static int print_nothing(enum libbpf_print_level level, const char *format, va_list arguments) {
        return 0;
}

static void object_closep(struct bpf_object **object) {
        bpf_object__close(*object);
}

static int duplicate(int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

        return copy < 0 ? -errno : copy;
}

void program_done(Program *program) {
        program->ring = safe_close(program->ring);
        program->counters = safe_close(program->counters);
        program->link = safe_close(program->link);
}

/* Under lockdown=confidentiality no program may read the kernel's memory: loading it is EINVAL. */
static bool is_locked_down(void) {
        _cleanup_close_ int fd = open("/sys/kernel/security/lockdown", O_RDONLY | O_CLOEXEC);
        char text[64];
        ssize_t n;

        if (fd < 0)
                return false;
        n = read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return false;

        text[n] = '\0';
        return strstr(text, "[confidentiality]");
}

static int object_load(struct bpf_object **ret) {
        struct bpf_object *object;
        int r;

        object = bpf_object__open_mem(witness_object, sizeof(witness_object), NULL);
        if (!object)
                return -errno;

        r = bpf_object__load(object);
        if (r < 0) {
                bpf_object__close(object);
                return r == -EACCES || is_locked_down() ? -EPERM : r;
        }

        *ret = object;
        return 0;
}

/*
 * The numbers of accounts begin with the time since boot: no two programs give the same one to
 * different errors.
 */
static int object_start_counting(int counters) {
        struct witness_counters start = { .sequence = now_usec(CLOCK_BOOTTIME) };
        __u32 zero = 0;

        return bpf_map_update_elem(counters, &zero, &start, BPF_ANY);
}

static int object_attach(const struct bpf_object *object, const char *symbol, Program *ret) {
        struct bpf_program *program = bpf_object__find_program_by_name(object, WITNESS_PROGRAM);
        struct bpf_link_info info = {};
        __u32 size = sizeof(info);
        struct bpf_link *link;
        int r;

        ret->ring = duplicate(bpf_object__find_map_fd_by_name(object, "witness_ring"));
        ret->counters = duplicate(bpf_object__find_map_fd_by_name(object, "witness_count"));
        if (ret->ring < 0 || ret->counters < 0)
                return -EMFILE;

        r = object_start_counting(ret->counters);
        if (r < 0)
                return r;

        link = bpf_program__attach_kprobe(program, false, symbol);
        if (!link)
                return errno == EACCES ? -EPERM : -errno;

        /* Before Linux 5.15 it is no link, and could not be found again. */
        r = bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &size);
        if (r < 0) {
                (void) bpf_link__destroy(link);
                return -EOPNOTSUPP;
        }

        ret->link = duplicate(bpf_link__fd(link));
        /* Without this, it would be switched off in the kernel. */
        bpf_link__disconnect(link);
        (void) bpf_link__destroy(link);
        return ret->link < 0 ? ret->link : 0;
}

/* Takes the maps of a running program. */
static int program_take_maps(const __u32 *ids, __u32 n, Program *ret) {
        for (__u32 i = 0; i < n; i++) {
                _cleanup_close_ int fd = bpf_map_get_fd_by_id(ids[i]);
                struct bpf_map_info info = {};
                __u32 size = sizeof(info);

                if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
                        return -errno;
                if (info.type == BPF_MAP_TYPE_RINGBUF && ret->ring < 0)
                        ret->ring = TAKE_FD(fd);
                else if (info.type == BPF_MAP_TYPE_ARRAY && ret->counters < 0)
                        ret->counters = TAKE_FD(fd);
        }

        return ret->ring >= 0 && ret->counters >= 0 ? 0 : -ENOENT;
}

/* Whether the program of this id is the witness; then takes its maps. */
static int program_examine(__u32 id, Program *ret) {
        _cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
        __u32 maps[MAPS_MAX] = {};
        struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t) maps };
        __u32 size = sizeof(info);

        if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
                return -errno;
        if (strcmp(info.name, WITNESS_PROGRAM) != 0 || info.nr_map_ids > MAPS_MAX)
                return -ENOENT;

        return program_take_maps(maps, info.nr_map_ids, ret);
}

/* Goes by what is attached: a program that is only loaded sees nothing. */
static int program_find(Program *ret) {
        for (__u32 id = 0; bpf_link_get_next_id(id, &id) == 0;) {
                _cleanup_(program_done) Program found = PROGRAM_NONE;
                struct bpf_link_info info = {};
                __u32 size = sizeof(info);

                found.link = bpf_link_get_fd_by_id(id);
                if (found.link < 0 || bpf_obj_get_info_by_fd(found.link, &info, &size) < 0 ||
                    program_examine(info.prog_id, &found) < 0)
                        continue; /* somebody else's, or gone in the meantime */

                *ret = found;
                found = PROGRAM_NONE;
                return 0;
        }

        return -ENOENT;
}

int program_attach(const char *symbol, bool verbose, Program *ret) {
        _cleanup_(object_closep) struct bpf_object *object = NULL;
        _cleanup_(program_done) Program program = PROGRAM_NONE;
        int r;

        assert(symbol);
        assert(ret);

        (void) libbpf_set_print(verbose ? print_all : print_nothing);

        r = program_find(&program);
        if (r < 0)
                r = object_load(&object);
        if (object)
                r = object_attach(object, symbol, &program);
        if (r < 0)
                return r;

        *ret = program;
        program = PROGRAM_NONE;
        return 0;
}
