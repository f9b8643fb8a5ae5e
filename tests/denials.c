/* denials — prints a line for each call that a seccomp filter logs or kills for, as the kernel's audit records say it:
 * the number of the call, the program, and the cgroup of its process that has a word in its path (the argument; by
 * default, libpod), or "?" if the process has ended by then. The
 * first line, "ready", says that it listens. A line "lost" says that records were lost on their way here.
 * With --lost, it prints how many the kernel lost before it sent them, and ends: its backlog was full.
 * Needs CAP_AUDIT_READ (--lost: CAP_AUDIT_CONTROL) and the initial network namespace. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char *word = "libpod";

static void last_cgroup(const char *pid, char *cgroup, size_t size)
{
	char path[64], line[4096];
	snprintf(path, sizeof(path), "/proc/%s/cgroup", pid);
	snprintf(cgroup, size, "?");
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		if (strstr(line, word)) snprintf(cgroup, size, "%s", line);
	}
	if (file) fclose(file);
}

static int print_lost(void)
{
	struct nlmsghdr request = { .nlmsg_len = NLMSG_LENGTH(0), .nlmsg_type = AUDIT_GET, .nlmsg_flags = NLM_F_REQUEST };
	union {
		struct nlmsghdr head;
		char bytes[9000];
	} answer;
	int audit = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
	if (audit < 0 || send(audit, &request, request.nlmsg_len, 0) < 0) return perror("denials"), 1;
	do {
		if (recv(audit, &answer, sizeof(answer), 0) < (ssize_t)sizeof(request)) return perror("denials"), 1;
		if (answer.head.nlmsg_type == NLMSG_ERROR) return fputs("denials: the kernel does not say it\n", stderr), 1;
	} while (answer.head.nlmsg_type != AUDIT_GET);
	printf("%u\n", ((struct audit_status *)NLMSG_DATA(&answer.head))->lost);
	return 0;
}

int main(int count, char **arguments)
{
	if (count > 1 && !strcmp(arguments[1], "--lost")) return print_lost();
	if (count > 1) word = arguments[1];
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 << (AUDIT_NLGRP_READLOG - 1) };
	int audit = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), room = 64 << 20;
	char text[9000], pid[16], call[16], comm[64], cgroup[4096];
	if (audit < 0 || bind(audit, (struct sockaddr *)&address, sizeof(address))) return perror("denials"), 1;
	setsockopt(audit, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	puts("ready");
	fflush(stdout);
	for (;;) {
		ssize_t size = recv(audit, text, sizeof(text) - 1, 0);
		if (size < 0) {
			if (errno == EINTR) continue;
			puts(errno == ENOBUFS ? "lost" : strerror(errno));
			fflush(stdout);
			if (errno != ENOBUFS) return 1;
			continue;
		}
		text[size] = 0;
		struct nlmsghdr *head = (struct nlmsghdr *)text;
		if (head->nlmsg_type != AUDIT_SECCOMP) continue;
		const char *body = NLMSG_DATA(head), *at_pid = strstr(body, " pid="), *at_call = strstr(body, " syscall="), *at_comm = strstr(body, " comm=");
		if (!at_pid || sscanf(at_pid, " pid=%15s", pid) != 1) continue;
		if (!at_call || sscanf(at_call, " syscall=%15s", call) != 1) continue;
		if (!at_comm || sscanf(at_comm, " comm=%63s", comm) != 1) continue;
		last_cgroup(pid, cgroup, sizeof(cgroup));
		printf("%s %s %s\n", call, comm, cgroup);
		fflush(stdout);
	}
}
