/* The first process of a small virtual machine: loads the recorder's BPF program into its kernel,
 * as src/recorder/kernel.rs does, lets processes make calls, and says what was seen. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/types.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../hook/bpf/recorder.h"

#define OUTER "/sys/fs/cgroup/outer"
#define INNER OUTER "/inner"

static int passed, failed;

static void expect(int holds, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf(holds ? "ok      [aarch64] " : "FAILED  [aarch64] ");
	vprintf(format, arguments);
	puts("");
	va_end(arguments);
	if (holds)
		passed++;
	else
		failed++;
}

static void finish(void)
{
	printf("aarch64: %d passed, %d failed, 0 skipped\n", passed, failed);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
}

static void need(int holds, const char *what)
{
	if (holds)
		return;
	perror(what);
	failed++;
	finish();
}

static void marker(long call)
{
	syscall(call, -1, -1, -1, -1, -1, -1);
}

static void load_filter(void)
{
	struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { .len = 1, .filter = all };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/* What a container does; argument 1: with a filter of its own. */
static int contained(int filtered)
{
	int wait = open(INNER "/cgroup.procs", O_WRONLY);
	int status;

	if (write(wait, "0", 1) != 1)
		return 1;
	close(wait);
	marker(SYS_getpriority);
	if (filtered)
		load_filter();
	else
		execl("/init", "/init", "entered", NULL);
	marker(SYS_flock);
	syscall(SYS_socket, 1, 99, 0);
	syscall(SYS_socket, 2, 99, 0);
	if (!fork()) {
		marker(SYS_fsync);
		execl("/compat", "/compat", NULL);
		_exit(1);
	}
	wait4(-1, &status, 0, NULL);
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

struct recorder {
	struct bpf_object *object;
	struct bpf_link *link;
	int slots, cgroups, control;
};

static void load(struct recorder *recorder)
{
	__u32 hierarchy = HIERARCHY_UNIFIED;
	struct bpf_map *map;

	recorder->object = bpf_object__open_file("/recorder.bpf.o", NULL);
	need(recorder->object != NULL, "opening the object");
	bpf_object__for_each_map(map, recorder->object) {
		const char *name = bpf_map__name(map);

		if (!strcmp(name, "cache"))
			bpf_map__set_max_entries(map, libbpf_num_possible_cpus() * CACHE_WAYS);
		else if (strstr(name, ".rodata"))
			bpf_map__set_initial_value(map, &hierarchy, sizeof(hierarchy));
	}
	need(!bpf_object__load(recorder->object), "loading the program");
	bpf_object__for_each_map(map, recorder->object)
		if (strstr(bpf_map__name(map), ".bss"))
			recorder->control = bpf_map__fd(map);
	recorder->slots = bpf_object__find_map_fd_by_name(recorder->object, "slots");
	recorder->cgroups = bpf_object__find_map_fd_by_name(recorder->object, "cgroups");
}

/* Records what contained() does into a slot. */
static void record(struct recorder *recorder, __u32 index, int filtered, struct slot *slot)
{
	static struct control control;
	struct stat group;
	__u32 zero = 0;
	__u64 id;
	int hold[2], status;
	char byte = 0;
	pid_t child;

	memset(slot, 0, sizeof(*slot));
	need(!pipe(hold), "pipe");
	child = fork();
	if (!child) {
		if (read(hold[0], &byte, 1) != 1)
			_exit(1);
		_exit(contained(filtered));
	}
	slot->filters = 1;
	slot->init = child;
	slot->native[SYS_clone] = LOOK;
	slot->native[SYS_clone3] = LOOK;
	slot->native[SYS_socket] = LOOK | 1 << WATCH_SHIFT;
	slot->watches[0].argument = 0;
	need(!stat(OUTER, &group), OUTER);
	id = group.st_ino;
	control.generation++;
	need(!bpf_map_update_elem(recorder->slots, &index, slot, BPF_ANY), "slots");
	need(!bpf_map_update_elem(recorder->cgroups, &id, &index, BPF_ANY), "cgroups");
	need(!bpf_map_update_elem(recorder->control, &zero, &control, BPF_ANY), "control");
	recorder->link = bpf_program__attach(bpf_object__next_program(recorder->object, NULL));
	need(recorder->link != NULL, "attaching");
	need(write(hold[1], &byte, 1) == 1, "pipe");
	marker(SYS_tee);
	wait4(child, &status, 0, NULL);
	expect(WIFEXITED(status) && !WEXITSTATUS(status), "what is recorded runs");
	need(!bpf_map_delete_elem(recorder->cgroups, &id), "cgroups");
	control.generation++;
	need(!bpf_map_update_elem(recorder->control, &zero, &control, BPF_ANY), "control");
	bpf_link__destroy(recorder->link);
	need(!bpf_map_lookup_elem(recorder->slots, &index, slot), "slots");
}

static int holds(const struct slot *slot, __u64 value)
{
	for (int i = 0; i < VALUES; i++)
		if (slot->watches[0].filled[i] && slot->watches[0].values[i] == value)
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	static struct slot slot;
	struct recorder recorder = { 0 };

	if (argc > 1 && !strcmp(argv[1], "entered")) {
		marker(SYS_flock);
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/sys", 0755);
	mkdir("/proc", 0755);
	need(!mount("proc", "/proc", "proc", 0, NULL), "/proc");
	need(!mount("sysfs", "/sys", "sysfs", 0, NULL), "/sys");
	need(!mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL), "/sys/fs/cgroup");
	need(!mkdir(OUTER, 0755) && !mkdir(INNER, 0755), OUTER);
	load(&recorder);
	expect(1, "the program is loaded by the kernel's own types");

	record(&recorder, 0, 1, &slot);
	expect(slot.opened == OPENED_BY_FILTER, "the first filter opens the window");
	expect(slot.native[SYS_flock] & SEEN, "a call behind it is seen");
	expect(!slot.native[SYS_getpriority] && slot.before[SYS_getpriority] == SEEN,
	       "a call before it is kept apart");
	expect(slot.native[SYS_fsync] & SEEN && slot.native[SYS_execve] & SEEN,
	       "a child's calls are seen, in a cgroup below the recorded one");
	expect(!slot.native[SYS_tee], "a neighbour's are not");
	expect(slot.forks == 1, "one process was made (%u)", slot.forks);
	expect(holds(&slot, 1) && holds(&slot, 2) && slot.watches[0].count == 2,
	       "both values of an argument are kept");
	/* getpid and exit of the 32-bit ABI, and one of ARM's private calls. */
	expect(slot.compat[20] == SEEN && slot.compat[1] == SEEN, "32-bit calls have a table of their own");
	expect(slot.compat[ARM_PRIVATE_AT + 5] == SEEN, "ARM's private calls are in it");
	expect(!slot.native[20] && !slot.unknown_abi, "and not in the native one");

	record(&recorder, 1, 0, &slot);
	expect(slot.opened == OPENED_BY_EXEC, "without a filter the execve opens the window");
	expect(slot.native[SYS_flock] & SEEN && slot.before[SYS_getpriority] == SEEN &&
	       !slot.native[SYS_getpriority], "and what it calls is seen");
	finish();
}
