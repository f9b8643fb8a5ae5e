/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few kernel types that the recorder reads, declared by hand: only the members that are
 * used, found in the running kernel's BTF when the program is loaded (CO-RE), so that neither
 * kernel headers nor a dump of some kernel's types is needed to build.
 */
#ifndef PORTCULLIS_KERNEL_H
#define PORTCULLIS_KERNEL_H

typedef unsigned char __u8;
typedef unsigned int __u32;
typedef unsigned long long __u64;

/* The loader's and the kernel's own numbers (linux/bpf.h). */
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_ENUMVAL_VALUE 1

/* How map definitions are written for the loader. */
#define __uint(name, value) int(*name)[value]
#define __type(name, type) typeof(type) *name
#define SEC(name) __attribute__((section(name), used))

#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))

/* The helpers that are used. */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static long (*const bpf_probe_read_user)(void *to, __u32 size, const void *from) = (void *)112;
static struct task_struct *(*const bpf_get_current_task_btf)(void) = (void *)158;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct thread_info {
	unsigned long flags;   /* arm64: TIF_32BIT */
	__u32 status;          /* x86: TS_COMPAT */
};

struct kernfs_node {
	__u64 id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	__u64 serial_nr;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

struct seccomp {
	atomic_t filter_count;
};

struct task_struct {
	struct thread_info thread_info;
	int tgid;
	struct css_set *cgroups;
	struct seccomp seccomp;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di;
	unsigned long si;
	unsigned long dx;
	unsigned long r10;
	unsigned long r8;
	unsigned long r9;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0;
};
#else
#error "portcullis records on x86_64 and aarch64"
#endif

#pragma clang attribute pop

/* The numbers differ between kernels; the names do not. */
#define KERNEL_VALUE(type, name)                                                                   \
	__builtin_preserve_enum_value(*(typeof(type) *)name, BPF_ENUMVAL_VALUE)

enum cgroup_subsys_id {
	cpu_cgrp_id,
	memory_cgrp_id,
	devices_cgrp_id,
	freezer_cgrp_id,
	pids_cgrp_id,
};

#endif
