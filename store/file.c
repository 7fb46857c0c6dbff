/* file.c: struct store_files over a directory of the host, and helpers over any of them. */
#include "store/file_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct directory {
	struct store_files files;
	int fd;
	bool direct;
};

static int directory_of(struct store_files *files)
{
	return ((struct directory *)files)->fd;
}

static int host_open(struct store_files *files, const char *path, enum store_open how,
		     struct store_file **file)
{
	static const int flags[] = {
	    [STORE_OPEN_READ] = O_RDONLY,
	    [STORE_OPEN_WRITE] = O_RDWR,
	    [STORE_OPEN_CREATE] = O_RDWR | O_CREAT,
	    [STORE_OPEN_EXCLUSIVE] = O_RDWR | O_CREAT | O_EXCL,
	    [STORE_OPEN_BLOCKS] = O_RDWR,
	};
	const struct directory *directory = (const struct directory *)files;
	int past_cache = how == STORE_OPEN_BLOCKS && directory->direct ? O_DIRECT : 0;
	struct host_file *opened = calloc(1, sizeof(*opened));

	if (!opened)
		return -ENOMEM;
	opened->file.files = files;
	opened->fd = openat(directory_of(files), path,
			    flags[how] | past_cache | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* tmpfs and some others have no way past the cache. */
	if (opened->fd < 0 && past_cache && errno == EINVAL)
		opened->fd = openat(directory_of(files), path, flags[how] | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (opened->fd < 0) {
		int error = -errno;

		free(opened);
		return error;
	}
	*file = &opened->file;
	return 0;
}

static void host_close(struct store_file *file)
{
	close(host_fd(file));
	free(file);
}

static ssize_t host_read(struct store_file *file, void *buffer, size_t bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t got = pread(host_fd(file), (char *)buffer + done, bytes - done,
				    (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static int host_write(struct store_file *file, const void *data, size_t bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t put = pwrite(host_fd(file), (const char *)data + done, bytes - done,
				     (off_t)(offset + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		done += (size_t)put;
	}
	return 0;
}

int host_transfer_one(const struct store_io *io)
{
	switch (io->kind) {
	case STORE_IO_READ:
		return store_file_read_all(io->file, io->buffer, io->bytes, io->offset);
	case STORE_IO_WRITE:
		return host_write(io->file, io->buffer, io->bytes, io->offset);
	case STORE_IO_SYNC:
		return fdatasync(host_fd(io->file)) ? -errno : 0;
	}
	return -EINVAL;
}

static int host_sync(struct store_file *file)
{
	return fdatasync(host_fd(file)) ? -errno : 0;
}

static void host_write_behind(struct store_file *file, uint64_t offset, uint64_t bytes)
{
	/* Only a hint: a later sync() waits for the same pages and reports their errors. */
	(void)sync_file_range(host_fd(file), (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
}

static int host_truncate(struct store_file *file, uint64_t bytes)
{
	return ftruncate(host_fd(file), (off_t)bytes) ? -errno : 0;
}

static int host_punch(struct store_file *file, uint64_t offset, uint64_t bytes)
{
	return fallocate(host_fd(file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			 (off_t)bytes)
		   ? -errno
		   : 0;
}

static int host_size(struct store_file *file, uint64_t *bytes)
{
	struct stat status;

	if (fstat(host_fd(file), &status))
		return -errno;
	*bytes = (uint64_t)status.st_size;
	return 0;
}

static int host_lock(struct store_file *file, uint64_t offset, uint64_t bytes, enum store_lock lock)
{
	static const short types[] = {
	    [STORE_UNLOCKED] = F_UNLCK,
	    [STORE_LOCK_SHARED] = F_RDLCK,
	    [STORE_LOCK_EXCLUSIVE] = F_WRLCK,
	};
	/* Locks of the open file description: closing another descriptor does not drop them. */
	struct flock range = {
	    .l_type = types[lock],
	    .l_whence = SEEK_SET,
	    .l_start = (off_t)offset,
	    .l_len = (off_t)bytes,
	};

	if (!fcntl(host_fd(file), F_OFD_SETLK, &range))
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

static int host_rename(struct store_files *files, const char *from, const char *to)
{
	return renameat(directory_of(files), from, directory_of(files), to) ? -errno : 0;
}

static int host_unlink(struct store_files *files, const char *path)
{
	return unlinkat(directory_of(files), path, 0) ? -errno : 0;
}

static int host_make_directory(struct store_files *files, const char *path)
{
	return mkdirat(directory_of(files), path, 0700) && errno != EEXIST ? -errno : 0;
}

static int open_directory(struct store_files *files, const char *path)
{
	return openat(directory_of(files), *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int host_sync_directory(struct store_files *files, const char *path)
{
	int fd = open_directory(files, path);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		error = -errno;
	close(fd);
	return error;
}

static int host_list(struct store_files *files, const char *path,
		     int (*each)(void *context, const char *name), void *context)
{
	int fd = open_directory(files, path);
	DIR *directory;
	struct dirent *entry;
	int result = 0;

	if (fd < 0)
		return -errno;
	directory = fdopendir(fd);
	if (!directory) {
		result = -errno;
		close(fd);
		return result;
	}
	while (!result && (errno = 0, entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			result = each(context, entry->d_name);
	if (!result && errno)
		result = -errno;
	closedir(directory);
	return result;
}

static void host_release(struct store_files *files)
{
	close(directory_of(files));
	free(files);
}

int store_files_open(const char *path, bool create, struct store_files **files)
{
	return store_files_open_direct(path, create, false, files);
}

int store_files_open_direct(const char *path, bool create, bool direct, struct store_files **files)
{
	struct directory *directory;
	int error;

	if (create && mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	directory = calloc(1, sizeof(*directory));
	if (!directory)
		return -ENOMEM;
	directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory->fd < 0) {
		error = -errno;
		free(directory);
		return error;
	}
	directory->direct = direct;
	directory->files = (struct store_files){
	    .open = host_open,
	    .close = host_close,
	    .read = host_read,
	    .write = host_write,
	    .sync = host_sync,
	    .write_behind = host_write_behind,
	    .truncate = host_truncate,
	    .punch = host_punch,
	    .size = host_size,
	    .lock = host_lock,
	    .rename = host_rename,
	    .unlink = host_unlink,
	    .make_directory = host_make_directory,
	    .sync_directory = host_sync_directory,
	    .list = host_list,
	    .transfer = host_transfer,
	    .release = host_release,
	};
	*files = &directory->files;
	return 0;
}

static int transfer_in_turn(struct store_io *ios, size_t count)
{
	int error = 0;

	for (size_t i = 0; i < count; i++) {
		struct store_file *file = ios[i].file;

		if (ios[i].kind == STORE_IO_READ)
			ios[i].error = store_file_read_all(file, ios[i].buffer, ios[i].bytes, ios[i].offset);
		else if (ios[i].kind == STORE_IO_WRITE)
			ios[i].error = file->files->write(file, ios[i].buffer, ios[i].bytes, ios[i].offset);
		else
			ios[i].error = file->files->sync(file);
		if (!error)
			error = ios[i].error;
	}
	return error;
}

int store_file_transfer(struct store_io *ios, size_t count)
{
	return ios[0].file->files->transfer ? ios[0].file->files->transfer(ios, count)
					    : transfer_in_turn(ios, count);
}

int store_file_read_all(struct store_file *file, void *buffer, size_t bytes, uint64_t offset)
{
	ssize_t got = file->files->read(file, buffer, bytes, offset);

	if (got < 0)
		return (int)got;
	return (size_t)got == bytes ? 0 : -ENODATA;
}

int store_file_load(struct store_files *files, const char *path, size_t limit, char **data,
		    size_t *bytes)
{
	struct store_file *file;
	uint64_t size = 0;
	char *loaded = NULL;
	int error = files->open(files, path, STORE_OPEN_READ, &file);

	if (error)
		return error;
	error = files->size(file, &size);
	if (!error && size > limit)
		error = -EFBIG;
	if (!error && !(loaded = malloc(size + 1)))
		error = -ENOMEM;
	if (!error)
		error = store_file_read_all(file, loaded, size, 0);
	files->close(file);
	if (error) {
		free(loaded);
		return error;
	}
	loaded[size] = '\0';
	*data = loaded;
	*bytes = size;
	return 0;
}

int store_file_replace(struct store_files *files, const char *directory, const char *path,
		       const void *data, size_t bytes)
{
	struct store_file *file;
	char temporary[256];
	int error;

	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	error = files->unlink(files, temporary);
	if (error && error != -ENOENT)
		return error;
	error = files->open(files, temporary, STORE_OPEN_EXCLUSIVE, &file);
	if (error)
		return error;
	error = files->write(file, data, bytes, 0);
	if (!error)
		error = files->sync(file);
	files->close(file);
	if (!error)
		error = files->rename(files, temporary, path);
	if (!error)
		error = files->sync_directory(files, directory);
	if (error)
		(void)files->unlink(files, temporary);
	return error;
}
