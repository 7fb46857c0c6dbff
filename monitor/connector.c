/* SPDX-License-Identifier: MIT */
/*
 * Both ends of the supervisor's one service; see connector.h. A request is a number of 4 bytes; its answer is 4 bytes, 0 or
 * a negative errno, with the connection beside it if it is 0.
 */
#include "connector.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int connector_open(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, status;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	status = -errno;
	close(fd);
	return status;
}

bool connector_send(int socket, int32_t status, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { .iov_base = &status, .iov_len = sizeof(status) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd >= 0) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&header) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
							    .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&header)), &fd, sizeof(fd));
	}
	return sendmsg(socket, &header, MSG_NOSIGNAL) == sizeof(status);
}

void connector_serve(int socket, const char *const *paths, unsigned int path_count)
{
	uint32_t number;

	for (;;) {
		ssize_t got = recv(socket, &number, sizeof(number), MSG_WAITALL);
		int fd;
		bool sent;

		if (got < 0 && errno == EINTR)
			continue;
		if (got != sizeof(number))
			return;
		fd = number < path_count ? connector_open(paths[number]) : -EINVAL;
		sent = connector_send(socket, fd < 0 ? fd : 0, fd);
		if (fd >= 0)
			close(fd);
		if (!sent)
			return;
	}
}

int connector_ask(int socket, uint32_t number)
{
	char control[CMSG_SPACE(sizeof(int))];
	int32_t status = 0;
	struct iovec part = { .iov_base = &status, .iov_len = sizeof(status) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = sizeof(control) };
	const struct cmsghdr *passed;
	ssize_t got;
	int fd;

	if (send(socket, &number, sizeof(number), MSG_NOSIGNAL) != sizeof(number))
		return -EPIPE;
	do
		got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got != sizeof(status))
		return -EPIPE;
	if (status)
		return status < 0 && status >= -4095 ? status : -EPROTO;
	passed = CMSG_FIRSTHDR(&header);
	if (!passed || passed->cmsg_level != SOL_SOCKET || passed->cmsg_type != SCM_RIGHTS ||
	    passed->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(passed), sizeof(fd));
	return fd;
}
