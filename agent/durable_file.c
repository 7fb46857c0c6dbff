/* Small files that are either old or new: see durable_file.h. */
#include "durable_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int file, const unsigned char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t written = write(file, bytes, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		bytes += written;
		size -= (size_t)written;
	}
	return 0;
}

int durable_file_sync_directory(const char *path)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int file, result = 0;

	if (snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path + 1) : 1,
		     slash ? path : ".") >= (int)sizeof(directory))
		return -ENAMETOOLONG;
	file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file < 0)
		return -errno;
	if (fsync(file) != 0)
		result = -errno;
	close(file);
	return result;
}

int durable_file_write(const char *path, const void *bytes, size_t size_bytes, mode_t mode)
{
	char beside[PATH_MAX];
	int file, result;

	if (snprintf(beside, sizeof(beside), "%s.new", path) >= (int)sizeof(beside))
		return -ENAMETOOLONG;
	file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (file < 0)
		return -errno;
	result = write_all(file, bytes, size_bytes);
	if (result == 0 && (fchmod(file, mode) != 0 || fsync(file) != 0))
		result = -errno;
	if (close(file) != 0 && result == 0)
		result = -errno;
	if (result == 0 && rename(beside, path) != 0)
		result = -errno;
	if (result != 0) {
		unlink(beside);
		return result;
	}
	return durable_file_sync_directory(path);
}

int durable_file_read(const char *path, size_t max_bytes, unsigned char **bytes, size_t *size_bytes)
{
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	size_t have = 0;
	int result = 0;

	*bytes = NULL;
	if (file < 0)
		return -errno;
	if (fstat(file, &status) != 0)
		result = -errno;
	else if (!S_ISREG(status.st_mode))
		result = -EINVAL;
	else if ((uint64_t)status.st_size > max_bytes)
		result = -EFBIG;
	if (result == 0 && !(*bytes = malloc((size_t)status.st_size + 1)))
		result = -ENOMEM;
	while (result == 0 && have < (size_t)status.st_size) {
		ssize_t got = read(file, *bytes + have, (size_t)status.st_size - have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			result = got < 0 ? -errno : -EIO;
		else
			have += (size_t)got;
	}
	close(file);
	if (result != 0) {
		free(*bytes);
		*bytes = NULL;
		return result;
	}
	(*bytes)[have] = '\0';
	*size_bytes = have;
	return 0;
}

int durable_file_make_directory(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t length = strlen(path);

	if (length == 0 || length >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, length + 1);
	for (char *at = part + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(part, mode) != 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return mkdir(part, mode) != 0 && errno != EEXIST ? -errno : 0;
}
