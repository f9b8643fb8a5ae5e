/* marker NAME — makes one system call with arguments that no call accepts, and ends. For the
 * recorder's tests: each container shall have made a call of its own. After --thread a thread makes
 * it; --compat makes getpgid by the 32-bit entry instead, and ends with 3 where there is none. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL(name) { #name, SYS_##name },
static const struct { const char *name; long number; } calls[] = {
	CALL(fsync) CALL(fdatasync) CALL(ftruncate) CALL(fchdir) CALL(fchmod) CALL(flock)
	CALL(readahead) CALL(fsetxattr) CALL(fgetxattr) CALL(flistxattr) CALL(fremovexattr)
	CALL(fadvise64) CALL(inotify_add_watch) CALL(inotify_rm_watch) CALL(mkdirat) CALL(mknodat)
	CALL(fchownat) CALL(unlinkat) CALL(renameat) CALL(linkat) CALL(symlinkat) CALL(readlinkat)
	CALL(fchmodat) CALL(faccessat) CALL(sync_file_range) CALL(splice) CALL(tee) CALL(vmsplice)
	CALL(utimensat) CALL(timerfd_settime) CALL(timerfd_gettime) CALL(accept4) CALL(signalfd4)
	CALL(preadv) CALL(pwritev) CALL(recvmmsg) CALL(syncfs) CALL(sendmmsg) CALL(finit_module)
	CALL(renameat2) CALL(execveat) CALL(copy_file_range) CALL(preadv2) CALL(pwritev2)
	CALL(sendfile) CALL(connect) CALL(accept) CALL(sendto) CALL(recvfrom) CALL(sendmsg)
	CALL(recvmsg) CALL(shutdown) CALL(bind) CALL(listen) CALL(getsockname) CALL(getpeername)
	CALL(setsockopt) CALL(getsockopt) CALL(mq_timedsend) CALL(mq_timedreceive) CALL(mq_notify)
	CALL(mq_getsetattr) CALL(name_to_handle_at) CALL(open_by_handle_at) CALL(setns) CALL(getsid)
	CALL(getpgid) CALL(sched_getparam) CALL(sched_getscheduler) CALL(sched_rr_get_interval)
	CALL(getpriority) CALL(setpriority) CALL(ioprio_get) CALL(ioprio_set) CALL(tkill)
	CALL(semget) CALL(semop) CALL(semctl) CALL(msgget) CALL(msgsnd) CALL(msgrcv) CALL(msgctl)
	CALL(shmat) CALL(shmctl) CALL(shmdt) CALL(timer_settime) CALL(timer_gettime)
	CALL(timer_getoverrun) CALL(timer_delete) CALL(add_key) CALL(keyctl) CALL(request_key)
	CALL(mlock) CALL(munlock) CALL(msync) CALL(mincore) CALL(pwrite64) CALL(fanotify_mark)
	CALL(fsopen) CALL(fsconfig) CALL(fsmount) CALL(move_mount)
};

static void *call(void *name)
{
	for (unsigned long i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (!strcmp(name, calls[i].name)) {
			syscall(calls[i].number, -1, -1, -1, -1, -1, -1);
			return name;
		}
	return NULL;
}

static int compat(void)
{
	long answer = -ENOSYS;
#ifdef __x86_64__
	asm volatile("int $0x80" : "=a"(answer) : "a"(132), "b"(-1) : "memory", "r8", "r9", "r10", "r11");
#endif
	return answer == -ENOSYS ? 3 : 0;
}

int main(int argc, char **argv)
{
	void *done = NULL;
	pthread_t thread;

	if (argc < 2) {
		for (unsigned long i = 0; i < sizeof(calls) / sizeof(*calls); i++)
			puts(calls[i].name);
		return 0;
	}
	if (!strcmp(argv[1], "--compat"))
		return compat();
	if (strcmp(argv[1], "--thread"))
		return call(argv[1]) ? 0 : 1;
	if (argc < 3 || pthread_create(&thread, NULL, call, argv[2]) || pthread_join(thread, &done))
		return 1;
	return done ? 0 : 1;
}
