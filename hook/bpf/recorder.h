/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the recorder's BPF program and its reader (src/recorder/layout.rs): the sizes and
 * structures of the maps. Each member's offset is asserted here and in layout.rs, whose tests compare
 * both sides. If you change a size or an offset, increase LAYOUT in layout.rs, so that a new binary
 * never reads the pinned maps of an old one.
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
/* How many arguments of calls can be watched, and how many distinct values of each are kept. */
#define WATCHES 8
#define VALUES 16

/* A byte of a table of calls. */
#define SEEN 0x01
/* With or without SEEN: the program looks at this call each time. */
#define LOOK 0x80
/* With LOOK: which watch its argument goes to, counted from 1; 0 is none. */
#define WATCH_SHIFT 1
#define WATCH_MASK 0x0f

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
	__u32 filters;         /* a task with at least this many filters is inside the window */
	__u32 init;            /* the process ID of the container's init; 0 if unknown */
	__u32 opened;          /* OPENED_… */
	__u32 forks;           /* calls that create a process */
	__u32 unknown_abi;     /* 1 after a call of an ABI or number that no table has */
	__u32 unknown_call;    /* the last such call */
	__u8 native[CALLS];    /* calls of the native ABI in the window */
	__u8 compat[CALLS];    /* calls of the 32-bit ABI in the window */
	__u8 before[CALLS];    /* native calls of the container's init before its window */
	struct watch watches[WATCHES];
};

/* What a CPU remembers of a cgroup. */
struct cache_entry {
	__u64 cgroup;          /* a serial number of the kernel's, never used twice */
	__u32 generation;      /* of `control` when this was looked up */
	__u32 slot;            /* the recording, or none */
};

/* What userspace says to all CPUs. */
struct control {
	__u32 generation;      /* raised whenever a recording begins or ends */
};

#define OFFSET(structure, member, offset)                                                          \
	_Static_assert(__builtin_offsetof(struct structure, member) == (offset),                   \
		       #structure "." #member)
#define SIZE(structure, size) _Static_assert(sizeof(struct structure) == (size), #structure)

OFFSET(watch, argument, 0);
OFFSET(watch, count, 4);
OFFSET(watch, values, 8);
OFFSET(watch, filled, 136);
SIZE(watch, 152);
OFFSET(slot, filters, 0);
OFFSET(slot, init, 4);
OFFSET(slot, opened, 8);
OFFSET(slot, forks, 12);
OFFSET(slot, unknown_abi, 16);
OFFSET(slot, unknown_call, 20);
OFFSET(slot, native, 24);
OFFSET(slot, compat, 536);
OFFSET(slot, before, 1048);
OFFSET(slot, watches, 1560);
SIZE(slot, 2776);
OFFSET(cache_entry, cgroup, 0);
OFFSET(cache_entry, generation, 8);
OFFSET(cache_entry, slot, 12);
SIZE(cache_entry, 16);
OFFSET(control, generation, 0);
SIZE(control, 4);

#undef OFFSET
#undef SIZE

#endif
