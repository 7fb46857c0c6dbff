/* SPDX-License-Identifier: MIT */
/*
 * Opens and reads files; see file.h.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_open(const char *path, uint64_t *size_bytes, char *error, size_t error_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;

	if (fd < 0 || fstat(fd, &status)) {
		snprintf(error, error_bytes, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*size_bytes = (uint64_t)status.st_size;
	return fd;
}

bool file_read(int fd, uint64_t offset, uint8_t *to, uint64_t size_bytes)
{
	while (size_bytes) {
		ssize_t got = pread(fd, to, size_bytes, (off_t)offset);

		if (got <= 0)
			return false;
		to += got;
		offset += (uint64_t)got;
		size_bytes -= (uint64_t)got;
	}
	return true;
}
