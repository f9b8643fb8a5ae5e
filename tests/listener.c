/* listener PATH HOW — what decides on calls for SCMP_ACT_NOTIFY: takes the descriptor that a runtime sends to the
 * socket, and lets each call through ("answers"), fails it with errno 61 ("refuses"), or ends at the first ("dies").
 * Prints the metadata that came with the descriptor, then the number of each call. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Takes one connection's message; the descriptor, or -1. */
static int take(int server)
{
	char text[65536], control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec part = { text, sizeof(text) - 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int connection = accept(server, NULL, NULL), taken = -1;
	ssize_t length = connection < 0 ? -1 : recvmsg(connection, &message, 0);
	struct cmsghdr *header = length < 0 ? NULL : CMSG_FIRSTHDR(&message);

	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&taken, CMSG_DATA(header), sizeof(int));
	if (length > 0) {
		text[length] = 0;
		for (char *at = text; (at = strchr(at, '\n'));)
			*at = ' ';
		printf("%s\n", text);
	}
	if (connection >= 0)
		close(connection);
	return taken;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int server = socket(AF_UNIX, SOCK_STREAM, 0), calls;

	if (argc != 3 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	strcpy(address.sun_path, argv[1]);
	if (bind(server, (struct sockaddr *)&address, sizeof(address)) || listen(server, 4))
		return 2;
	while ((calls = take(server)) >= 0) {
		for (;;) {
			struct seccomp_notif call = { 0 };
			struct seccomp_notif_resp answer = { 0 };

			if (ioctl(calls, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
				if (errno == EINTR)
					continue;
				break; /* the container is gone */
			}
			printf("call %d\n", call.data.nr);
			if (!strcmp(argv[2], "dies"))
				return 0;
			answer.id = call.id;
			if (!strcmp(argv[2], "refuses"))
				answer.error = -61;
			else
				answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
			ioctl(calls, SECCOMP_IOCTL_NOTIF_SEND, &answer);
		}
		close(calls);
	}
	return 1;
}
