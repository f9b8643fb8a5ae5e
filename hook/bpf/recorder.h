/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the recorder's BPF program and its reader (src/recorder/layout.rs) share: sizes and the
 * layout of what lies in the maps. A change here raises LAYOUT in layout.rs, so that a new
 * binary never reads the pinned maps of an old one.
 */
#ifndef PORTCULLIS_RECORDER_H
#define PORTCULLIS_RECORDER_H

/* How many recordings can run at once. */
#define SLOTS 1024
/* System call numbers of one ABI; the highest one in use is below 480. */
#define CALLS 512
/* ARM's private calls (0xf0000 + n) lie at the end of the compat table. */
#define ARM_PRIVATE 0xf0000
#define ARM_PRIVATE_AT (CALLS - 8)
/* Entries of each CPU's cache; a power of two. */
#define CACHE_WAYS 16
/* How far up the cgroup tree a recorded ancestor is looked for. */
#define MAX_DEPTH 32
/* How many arguments of calls can be watched, and how many distinct values of each are kept. */
#define WATCHES 8
#define VALUES 16

/* A byte of a table of calls. */
#define UNSEEN 0x00
#define SEEN 0x01
/* Set beside UNSEEN or SEEN: this call is looked at each time. */
#define LOOK 0x80
/* With LOOK: which watch its argument goes to, counted from 1; 0 is none. */
#define WATCH_SHIFT 1
#define WATCH_MASK 0x0f

/* No recording. */
#define NO_SLOT 0xffffffff

/* The hierarchy that identifies containers: the unified one, or a controller's of version 1. */
#define HIERARCHY_UNIFIED 0
#define HIERARCHY_PIDS 1
#define HIERARCHY_MEMORY 2
#define HIERARCHY_CPU 3
#define HIERARCHY_DEVICES 4
#define HIERARCHY_FREEZER 5

/* How a window opened. */
#define OPENED_NOT 0
#define OPENED_BY_FILTER 1
#define OPENED_BY_EXEC 2

/* One argument of one call whose values are kept. */
struct watch {
	__u32 argument;        /* 0..5 */
	__u32 count;           /* values offered so far; above VALUES: the bound did not hold */
	__u64 values[VALUES];  /* the values, from the first on */
	__u8 filled[VALUES];   /* 1 once the value beside it is there */
};

/* One recording. */
struct slot {
	__u32 filters;         /* a task with at least so many filters is in its window */
	__u32 init;            /* the process id of the container's init, 0: not known */
	__u32 opened;          /* OPENED_… */
	__u32 forks;           /* calls that make a process */
	__u32 strange;         /* calls of an ABI or a number that no table has */
	__u32 strange_call;    /* one of them */
	__u8 native[CALLS];    /* calls of the native ABI in the window */
	__u8 compat[CALLS];    /* calls of the 32-bit ABI in the window */
	__u8 before[CALLS];    /* native calls of the container's init before its window */
	struct watch watches[WATCHES];
};

/* layout.rs reads and writes these bytes. */
_Static_assert(sizeof(struct watch) == 152, "struct watch");
_Static_assert(__builtin_offsetof(struct slot, native) == 24, "slot.native");
_Static_assert(__builtin_offsetof(struct slot, compat) == 24 + CALLS, "slot.compat");
_Static_assert(__builtin_offsetof(struct slot, before) == 24 + 2 * CALLS, "slot.before");
_Static_assert(__builtin_offsetof(struct slot, watches) == 24 + 3 * CALLS, "slot.watches");
_Static_assert(sizeof(struct slot) == 24 + 3 * CALLS + WATCHES * 152, "struct slot");

/* What a CPU remembers of a cgroup. */
struct cache_entry {
	__u64 cgroup;          /* a serial number of the kernel's, never used twice */
	__u32 generation;      /* of `control` when this was looked up */
	__u32 slot;            /* the recording, or NO_SLOT */
};

/* What userspace says to all CPUs. */
struct control {
	__u32 generation;      /* raised whenever a recording begins or ends */
};

#endif
