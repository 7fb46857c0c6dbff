/* talk: connects to a Unix socket, sends it the standard input, and prints what comes back until the other end closes. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/** Passes on what is there. Returns false at the end. */
static int pass(int from, int to)
{
	char bytes[4096];
	ssize_t got = read(from, bytes, sizeof(bytes));

	return got > 0 && write(to, bytes, (size_t)got) == got;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fprintf(stderr, "usage: talk SOCKET\n");
		return 2;
	}
	strcpy(address.sun_path, argv[1]);
	fds[1].fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fds[1].fd, (struct sockaddr *)&address, sizeof(address))) {
		perror(argv[1]);
		return 1;
	}
	while (poll(fds, 2, -1) >= 0) {
		if (fds[0].revents && !pass(STDIN_FILENO, fds[1].fd)) {
			shutdown(fds[1].fd, SHUT_WR);
			fds[0].fd = -1;
		}
		if (fds[1].revents && !pass(fds[1].fd, STDOUT_FILENO))
			return 0;
	}
	return 1;
}
