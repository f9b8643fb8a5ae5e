// SPDX-License-Identifier: Apache-2.0
/*
 * The recorder: one program on the entry of every system call, for all recordings of a node.
 *
 * A task belongs to a recording if its cgroup, or one above it, is in `cgroups`. Looking that up
 * for every call would cost more than the call's own entry, so each CPU caches the last few cgroups
 * that ran on it. Userspace invalidates the caches by raising the generation.
 *
 * A call is recorded once its task has loaded the container's filter, that is, has at least as many
 * filters as `slot.filters` says. What a runtime does before that is its own set-up, for the
 * container's init and for processes executed into it alike. If no filter is loaded at all, the
 * execve of the container's init opens the window.
 *
 * The program runs with preemption off, so the entries of a CPU's cache have one user at a time.
 * Tables of calls are bytes, not bits: CPUs store to them side by side and lose nothing.
 */
#include "kernel.h"
#include "recorder.h"

#define TS_COMPAT 0x0002       /* x86: the call came through the 32-bit entry */
#define TIF_32BIT (1UL << 22)  /* arm64: the task runs AArch32 */
#define CLONE_THREAD 0x00010000
#define MAX_DEPTH 32           /* how far up the cgroup tree a recorded ancestor is looked for */
#define NO_SLOT 0xffffffff     /* in a cache entry: this cgroup is not recorded */

#if defined(__TARGET_ARCH_x86)
#define NR_CLONE 56
#define NR_FORK 57
#define NR_VFORK 58
#define NR_EXECVE 59
#define NR_EXECVEAT 322
#elif defined(__TARGET_ARCH_arm64)
#define NR_CLONE 220
#define NR_FORK CALLS /* there is none */
#define NR_VFORK CALLS
#define NR_EXECVE 221
#define NR_EXECVEAT 281
#endif
#define NR_CLONE3 435

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The hierarchy that identifies containers on this node; set before loading. */
const volatile __u32 hierarchy = HIERARCHY_UNIFIED;

/* Written by userspace only. */
struct control control;

/* The id of a recorded cgroup to its slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SLOTS);
	__type(key, __u64);
	__type(value, __u32);
} cgroups SEC(".maps");

/* The recordings. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

/* CACHE_WAYS entries for each CPU; their number is set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CACHE_WAYS);
	__type(key, __u32);
	__type(value, struct cache_entry);
} cache SEC(".maps");

#define SUBSYS(set, name)                                                                          \
	(*(struct cgroup_subsys_state **)((void *)&(set)->subsys +                                 \
					  8 * KERNEL_VALUE(enum cgroup_subsys_id, name)))

/* The task's place in the hierarchy that identifies containers. */
static __always_inline struct cgroup_subsys_state *place_of(struct task_struct *task)
{
	struct css_set *set = task->cgroups;

	switch (hierarchy) {
	case HIERARCHY_PIDS:
		return SUBSYS(set, pids_cgrp_id);
	case HIERARCHY_MEMORY:
		return SUBSYS(set, memory_cgrp_id);
	case HIERARCHY_CPU:
		return SUBSYS(set, cpu_cgrp_id);
	case HIERARCHY_DEVICES:
		return SUBSYS(set, devices_cgrp_id);
	case HIERARCHY_FREEZER:
		return SUBSYS(set, freezer_cgrp_id);
	default:
		return &set->dfl_cgrp->self;
	}
}

/* The recording of this cgroup or of the nearest one above it. */
static __noinline __u32 find_slot(struct cgroup_subsys_state *place)
{
	for (int depth = 0; depth < MAX_DEPTH && place; depth++) {
		__u64 id = place->cgroup->kn->id;
		__u32 *slot = bpf_map_lookup_elem(&cgroups, &id);
		if (slot)
			return *slot;
		place = place->parent;
	}
	return NO_SLOT;
}

static __always_inline int is_compat(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	return task->thread_info.status & TS_COMPAT;
#else
	return (task->thread_info.flags & TIF_32BIT) != 0;
#endif
}

static __always_inline __u64 argument_of(struct pt_regs *regs, __u32 index)
{
#if defined(__TARGET_ARCH_x86)
	switch (index) {
	case 0:
		return regs->di;
	case 1:
		return regs->si;
	case 2:
		return regs->dx;
	case 3:
		return regs->r10;
	case 4:
		return regs->r8;
	default:
		return regs->r9;
	}
#else
	switch (index) {
	case 0:
		return regs->regs[0];
	case 1:
		return regs->regs[1];
	case 2:
		return regs->regs[2];
	case 3:
		return regs->regs[3];
	case 4:
		return regs->regs[4];
	default:
		return regs->regs[5];
	}
#endif
}

/* Keeps a value, unless it is kept already. If there is no room, `count` shows that. */
static __always_inline void keep_value(struct watch *watch, __u64 value)
{
	__u32 count = watch->count;

	if (count > VALUES)
		return;
	for (int i = 0; i < VALUES; i++)
		if (watch->filled[i] && watch->values[i] == value)
			return;
	/* Two CPUs may keep the same value twice; none is lost. */
	count = __sync_fetch_and_add(&watch->count, 1);
	if (count < VALUES) {
		watch->values[count] = value;
		watch->filled[count] = 1;
	}
}

static __always_inline int makes_a_process(__u64 call, struct pt_regs *regs)
{
	if (call == NR_FORK || call == NR_VFORK)
		return 1;
	if (call == NR_CLONE)
		return !(argument_of(regs, 0) & CLONE_THREAD);
	if (call == NR_CLONE3) {
		__u64 flags = CLONE_THREAD;

		bpf_probe_read_user(&flags, sizeof(flags), (void *)argument_of(regs, 0));
		return !(flags & CLONE_THREAD);
	}
	return 0;
}

/* Handles a call that was not seen before, or that is looked at each time. */
static __noinline int note(struct task_struct *task, struct pt_regs *regs, struct slot *slot,
			   __u64 call, __u64 compat)
{
	if ((__u32)task->seccomp.filter_count.counter < slot->filters) {
		if (slot->opened || compat || (slot->init && (__u32)task->tgid != slot->init))
			return 0;
		if (call != NR_EXECVE && call != NR_EXECVEAT) {
			slot->before[call & (CALLS - 1)] = SEEN;
			return 0;
		}
		slot->filters = 0;
		slot->opened = OPENED_BY_EXEC;
	} else if (!slot->opened) {
		slot->opened = OPENED_BY_FILTER;
	}

	if (compat) {
		slot->compat[call & (CALLS - 1)] = SEEN;
		return 0;
	}

	__u8 state = slot->native[call & (CALLS - 1)];
	if (state & LOOK) {
		__u32 watch = (state >> WATCH_SHIFT) & WATCH_MASK;

		if (watch && watch <= WATCHES)
			keep_value(&slot->watches[watch - 1],
				   argument_of(regs, slot->watches[watch - 1].argument));
		if (makes_a_process(call, regs))
			__sync_fetch_and_add(&slot->forks, 1);
	}
	slot->native[call & (CALLS - 1)] = state | SEEN;
	return 0;
}

SEC("tp_btf/sys_enter")
int portcullis_record(__u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cgroup_subsys_state *place = place_of(task);
	__u64 cgroup = place->serial_nr;
	__u32 at = bpf_get_smp_processor_id() * CACHE_WAYS + (cgroup & (CACHE_WAYS - 1));
	struct cache_entry *entry = bpf_map_lookup_elem(&cache, &at);

	if (!entry)
		return 0;

	__u32 generation = *(volatile __u32 *)&control.generation;
	if (entry->cgroup != cgroup || entry->generation != generation) {
		entry->slot = find_slot(place);
		entry->cgroup = cgroup;
		entry->generation = generation;
	}

	__u32 index = entry->slot;
	if (index == NO_SLOT)
		return 0;
	struct slot *slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot)
		return 0;

	__u64 call = ctx[1];
	__u64 compat = is_compat(task);
#if defined(__TARGET_ARCH_arm64)
	if (compat && (call & ~7UL) == ARM_PRIVATE)
		call = ARM_PRIVATE_AT + (call & 7);
#endif
	if (call >= CALLS) {
		slot->unknown_call = call;
		slot->unknown_abi = 1;
		return 0;
	}
	if ((compat ? slot->compat[call] : slot->native[call]) == SEEN)
		return 0;
	return note(task, (struct pt_regs *)ctx[0], slot, call, compat);
}
