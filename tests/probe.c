/* probe CALL[:ARGUMENT…]… — makes each system call in a process of its own and says what became of it: what it
 * returned, its errno, or the signal that it died of. Arguments that are not given are -1. For tests of filters:
 * a call that nothing denies fails with what the kernel says of such arguments. "compat" is getpgid by the 32-bit
 * entry, "x32" the same with the number of that architecture. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL(name) { #name, SYS_##name },
static const struct { const char *name; long number; } calls[] = {
	CALL(flock) CALL(fsync) CALL(tee) CALL(splice) CALL(getpgid) CALL(personality) CALL(ioprio_get) CALL(umask)
	CALL(write)
	{ "new", 500 }, /* above every number that a kernel or a profile names today */
#ifdef __x86_64__
	{ "x32", 0x40000000 | SYS_getpgid },
#endif
};

static long compat(void)
{
	long answer = -ENOSYS;
#ifdef __x86_64__
	asm volatile("int $0x80" : "=a"(answer) : "a"(132), "b"(-1) : "memory", "r8", "r9", "r10", "r11");
#endif
	return answer;
}

static int make(const char *name, const long *arguments)
{
	for (unsigned long i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (!strcmp(name, calls[i].name)) {
			long answer = syscall(calls[i].number, arguments[0], arguments[1], arguments[2], arguments[3],
					      arguments[4], arguments[5]);
			return answer == -1 ? errno : 0;
		}
	return strcmp(name, "compat") ? 255 : (int)-compat();
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		long arguments[6] = { -1, -1, -1, -1, -1, -1 };
		char line[256];
		int status;

		snprintf(line, sizeof(line), "%s", argv[i]);
		char *name = strtok(line, ":"), *argument;
		for (int n = 0; n < 6 && (argument = strtok(NULL, ":")); n++)
			arguments[n] = strtol(argument, NULL, 0);
		pid_t child = fork();
		if (child < 0)
			return 2;
		if (!child)
			_exit(make(name, arguments));
		if (waitpid(child, &status, 0) != child)
			return 2;
		if (WIFSIGNALED(status))
			printf("%s: signal %d\n", argv[i], WTERMSIG(status));
		else
			printf("%s: errno %d\n", argv[i], WEXITSTATUS(status));
		fflush(stdout);
	}
	return 0;
}
