/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs whenever the kernel is told of an error of a PCI function, before it does anything about it:
 * copies the platform's record to a ring buffer. Takes nothing from anybody.
 *
 * No type information of the kernel is needed, and none of Debian's s390x kernels could use it: the
 * program is called with the registers of the kernel function, whose layout is the same as
 * user_pt_regs of <asm/ptrace.h>, which never changes.
 */

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "witness-account.h"

/* user_pt_regs of s390: the first argument of a function is in register 2. */
struct registers {
        __u64 args[1];
        __u64 psw[2];
        __u64 gprs[16];
};

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, WITNESS_RING_SIZE);
} witness_ring SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct witness_counters);
} witness_count SEC(".maps");

SEC("kprobe")
int zpci_witness_1(struct registers *registers) {
        const void *record = (const void *) registers->gprs[2];
        struct witness_counters *counters;
        struct witness_account *account;
        __u64 sequence;
        __u32 zero = 0;

        counters = bpf_map_lookup_elem(&witness_count, &zero);
        if (!counters)
                return 0;
        sequence = __sync_fetch_and_add(&counters->sequence, 1) + 1;

        account = bpf_ringbuf_reserve(&witness_ring, sizeof(*account), 0);
        if (!account) {
                __sync_fetch_and_add(&counters->lost, 1);
                return 0;
        }

        account->sequence = sequence;
        account->nsec = bpf_ktime_get_ns();
        if (bpf_probe_read_kernel(account->raw, sizeof(account->raw), record) < 0) {
                __sync_fetch_and_add(&counters->lost, 1);
                bpf_ringbuf_discard(account, 0);
                return 0;
        }

        /* The daemon leaves accounts in the ring until their records are safe, so there are old ones
         * most of the time: without this it would not be told of new ones. */
        bpf_ringbuf_submit(account, BPF_RB_FORCE_WAKEUP);
        return 0;
}

/* What bpf_probe_read_kernel() wants to hear. */
char LICENSE[] SEC("license") = "GPL";
