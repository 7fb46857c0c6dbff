/* SPDX-License-Identifier: MIT */
/*
 * Unix sockets of the monitor; see listen.h.
 */
#include "listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int listen_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, status = 0;
	mode_t mask;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A socket file that refuses connections was left by a process that died. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		status = -EADDRINUSE;
	else if (errno == ECONNREFUSED)
		(void)unlink(path);
	mask = umask(0177);
	if (!status && (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4)))
		status = -errno;
	umask(mask);
	if (status) {
		close(fd);
		return status;
	}
	return fd;
}
