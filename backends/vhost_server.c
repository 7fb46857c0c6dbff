/*
 * The socket of a vhost-user device: messages and their descriptors in, replies out; one front-end after another.
 */
#include "vhost_device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int take_fds(struct msghdr *header, int *fds, unsigned int *count)
{
	*count = 0;
	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		*count = (unsigned int)((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(control), *count * sizeof(int));
	}
	return header->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
}

/** Receives a whole message. Returns 1, 0 at the end, or a negative errno. */
static int receive(int socket, struct vhost_message *message, int *fds, unsigned int *fd_count)
{
	char control[CMSG_SPACE(VHOST_MESSAGE_FDS * sizeof(int))];
	struct iovec part = {.iov_base = message, .iov_len = VHOST_HEADER_BYTES};
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t got;
	int error;

	do
		got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	while (got < 0 && errno == EINTR);
	*fd_count = 0;
	if (got <= 0)
		return got == 0 || errno == ECONNRESET ? 0 : -errno;
	error = take_fds(&header, fds, fd_count);
	if (!error && (got != VHOST_HEADER_BYTES || message->size > VHOST_MESSAGE_MAX))
		error = -EPROTO;
	if (!error && message->size) {
		do
			got = recv(socket, message->payload, message->size, MSG_WAITALL);
		while (got < 0 && errno == EINTR);
		if (got != (ssize_t)message->size)
			error = got < 0 ? -errno : -EPROTO;
	}
	return error ? error : 1;
}

static int send_reply(int socket, const struct vhost_message *reply, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {.iov_base = (void *)reply, .iov_len = VHOST_HEADER_BYTES + reply->size};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t sent;

	if (fd >= 0) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&header) = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&header)), &fd, sizeof(fd));
	}
	do
		sent = sendmsg(socket, &header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)part.iov_len ? 0 : -EIO;
}

int vhost_serve(int socket, const struct vhost_kind *kind)
{
	struct vhost_device *device = malloc(sizeof(*device));
	struct vhost_message message, reply;
	int fds[VHOST_MESSAGE_FDS], reply_fd, result;
	unsigned int fd_count;

	if (!device)
		return -ENOMEM;
	vhost_device_make(device, kind);
	for (;;) {
		result = receive(socket, &message, fds, &fd_count);
		if (result <= 0) {
			while (fd_count)
				close(fds[--fd_count]);
			break;
		}
		result = vhost_device_handle(device, &message, fds, fd_count, &reply, &reply_fd);
		if (result == 1)
			result = send_reply(socket, &reply, reply_fd);
		if (reply_fd >= 0)
			close(reply_fd);
		if (result < 0)
			break;
	}
	vhost_device_release(device);
	free(device);
	return result;
}

int vhost_open(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;
	mode_t mask;
	int error, listener;

	/* Made under another name: who finds it under its own can connect at once. */
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s~", path) >= (int)sizeof(address.sun_path))
		return -ENAMETOOLONG;
	/* Only what a server before this one left behind is removed. */
	if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
		return -EADDRINUSE;
	unlink(address.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0)
		return -errno;
	mask = umask(077);
	error = bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 1) ||
				rename(address.sun_path, path)
			? -errno
			: 0;
	umask(mask);
	if (error) {
		close(listener);
		return error;
	}
	return listener;
}

/** Ends a connection when this process is asked to stop. */
struct guard {
	int socket, stop;
	int over[2];
};

static void *watch(void *context)
{
	const struct guard *guard = context;
	struct pollfd fds[2] = {{.fd = guard->stop, .events = POLLIN}, {.fd = guard->over[0], .events = POLLIN}};

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	if (fds[0].revents)
		shutdown(guard->socket, SHUT_RDWR);
	return NULL;
}

static int serve_guarded(int socket, const struct vhost_kind *kind, int stop_fd)
{
	struct guard guard = {.socket = socket, .stop = stop_fd};
	pthread_t thread;
	int result;

	if (pipe2(guard.over, O_CLOEXEC))
		return -errno;
	if (pthread_create(&thread, NULL, watch, &guard)) {
		close(guard.over[0]);
		close(guard.over[1]);
		return -EAGAIN;
	}
	result = vhost_serve(socket, kind);
	close(guard.over[1]);
	pthread_join(thread, NULL);
	close(guard.over[0]);
	return result;
}

int vhost_accept(int listener, const struct vhost_kind *kind, int stop_fd)
{
	struct pollfd fds[2] = {{.fd = listener, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};

	for (;;) {
		int connection;

		if (poll(fds, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (fds[1].revents)
			return 0;
		connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (connection < 0)
			continue;
		/* A front-end that breaks the protocol loses its connection; the next may do better. */
		(void)serve_guarded(connection, kind, stop_fd);
		close(connection);
	}
}
