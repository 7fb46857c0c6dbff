/*
 * objects_directory.c: objects as files of a directory that nginx or any cache can serve as it
 * stands: packs/ab/abcd..., manifests/ab/abcd..., disks/NAME/abcd.... Uploads live in partial/ and
 * get their place when whole and synced.
 *
 * A connection that was cut is noticed late, and its upload stays locked until then. Whoever goes on
 * meanwhile gets a file of its own with what had arrived, which takes the partial file's name; the
 * late one finds that its file has no name any more, and can neither publish nor remove anything.
 */
#include "server/objects.h"
#include "server/step.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct directory {
	int fd;
};

/* "packs/abcd" lives at "packs/ab/abcd": a directory of a million entries serves nobody. */
static void place(const char *key, char path[OBJECTS_KEY_MAX + 8])
{
	const char *name = strrchr(key, '/') + 1;

	if (!strncmp(key, "disks/", 6))
		snprintf(path, OBJECTS_KEY_MAX + 8, "%s", key);
	else
		snprintf(path, OBJECTS_KEY_MAX + 8, "%.*s%.2s/%s", (int)(name - key), key, name,
			 name);
}

static void partial_place(const char *key, char path[96])
{
	uint8_t hash[32];
	char text[65];

	crypto_hash_sha256(hash, (const uint8_t *)key, strlen(key));
	sodium_bin2hex(text, sizeof(text), hash, sizeof(hash));
	snprintf(path, 96, "partial/%s", text);
}

static int sync_directory(int root, const char *path)
{
	int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int status = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return status;
}

/* Makes the directories above @path, synced, so that a rename into them survives a power cut. */
static int make_parents(int root, const char *path)
{
	char parent[OBJECTS_KEY_MAX + 8], above[OBJECTS_KEY_MAX + 8] = ".";
	int status;

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
		if (!mkdirat(root, parent, 0750)) {
			status = sync_directory(root, above);
			if (status)
				return status;
		} else if (errno != EEXIST) {
			return -errno;
		}
		memcpy(above, parent, sizeof(above));
	}
	return 0;
}

static int directory_open(const char *location, void **handle)
{
	struct directory *directory = calloc(1, sizeof(*directory));

	if (!directory)
		return -ENOMEM;
	directory->fd = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory->fd < 0 || (mkdirat(directory->fd, "partial", 0750) && errno != EEXIST)) {
		int status = -errno;

		free(directory);
		return status;
	}
	*handle = directory;
	return 0;
}

static void directory_close(void *handle)
{
	struct directory *directory = handle;

	close(directory->fd);
	free(directory);
}

static int directory_get(void *handle, const char *key, struct object *object)
{
	struct directory *directory = handle;
	char path[OBJECTS_KEY_MAX + 8];
	struct stat info;

	place(key, path);
	object->handle = NULL;
	object->fd = openat(directory->fd, path, O_RDONLY | O_CLOEXEC);
	if (object->fd < 0)
		return -errno;
	if (fstat(object->fd, &info)) {
		close(object->fd);
		return -EIO;
	}
	object->size_bytes = (uint64_t)info.st_size;
	return 0;
}

static ssize_t directory_read(void *handle, const struct object *object, uint64_t offset_bytes,
			      void *buffer, size_t bytes)
{
	ssize_t got = pread(object->fd, buffer, bytes, (off_t)offset_bytes);

	return got < 0 ? -errno : got;
}

static void directory_release(void *handle, struct object *object)
{
	close(object->fd);
}

static uint64_t directory_partial(void *handle, const char *key)
{
	struct directory *directory = handle;
	struct stat info;
	char path[96];

	partial_place(key, path);
	return fstatat(directory->fd, path, &info, 0) ? 0 : (uint64_t)info.st_size;
}

/* Whether the upload's file still is the one of that name. */
static bool is_named(const struct directory *directory, const char *path, int fd)
{
	struct stat named, own;

	return !fstatat(directory->fd, path, &named, AT_SYMLINK_NOFOLLOW) && !fstat(fd, &own) &&
	       named.st_dev == own.st_dev && named.st_ino == own.st_ino;
}

static int copy_start(int from, int to, uint64_t bytes)
{
	off_t at = 0, out = 0;

	while ((uint64_t)at < bytes) {
		ssize_t copied = copy_file_range(from, &at, to, &out, bytes - (uint64_t)at, 0);

		if (copied <= 0)
			return copied < 0 ? -errno : -EIO;
	}
	return 0;
}

/* Goes on with an upload that somebody holds: @put->fd becomes a file of its own. */
static int take_over(const struct directory *directory, const char *path, uint64_t offset_bytes,
		     struct object_put *put)
{
	struct stat info;
	char own[128];
	int status, fd;

	if (fstat(put->fd, &info) || (offset_bytes && (uint64_t)info.st_size != offset_bytes))
		return -ESTALE;
	snprintf(own, sizeof(own), "%s.%08x", path, randombytes_random());
	fd = openat(directory->fd, own, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	status = copy_start(put->fd, fd, offset_bytes);
	if (!status && flock(fd, LOCK_EX | LOCK_NB))
		status = -EBUSY;
	step();
	if (!status && renameat(directory->fd, own, directory->fd, path))
		status = -errno;
	if (status) {
		unlinkat(directory->fd, own, 0);
		close(fd);
		return status;
	}
	close(put->fd);
	put->fd = fd;
	return 0;
}

static int directory_put_start(void *handle, const char *key, uint64_t offset_bytes,
			       struct object_put *put)
{
	struct directory *directory = handle;
	struct stat info;
	char path[96];
	int status;

	partial_place(key, path);
	step();
	put->fd = openat(directory->fd, path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (put->fd < 0)
		return -errno;
	if (flock(put->fd, LOCK_EX | LOCK_NB)) {
		status = take_over(directory, path, offset_bytes, put);
		if (status) {
			close(put->fd);
			return status;
		}
	}
	/* An upload that starts again at 0 starts over. */
	if (!offset_bytes && ftruncate(put->fd, 0))
		status = -errno;
	else if (fstat(put->fd, &info) || (uint64_t)info.st_size != offset_bytes)
		status = -ESTALE;
	else
		status = 0;
	if (status) {
		close(put->fd);
		return status;
	}
	snprintf(put->key, sizeof(put->key), "%s", key);
	put->offset_bytes = offset_bytes;
	return 0;
}

static int directory_put_write(void *handle, struct object_put *put, const void *data, size_t bytes)
{
	const uint8_t *next = data;

	step();
	while (bytes) {
		ssize_t written = pwrite(put->fd, next, bytes, (off_t)put->offset_bytes);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written ? -errno : -EIO;
		next += written;
		bytes -= (size_t)written;
		put->offset_bytes += (uint64_t)written;
	}
	return 0;
}

static int directory_put_pause(void *handle, struct object_put *put)
{
	step();
	return close(put->fd) ? -errno : 0;
}

static void directory_put_drop(void *handle, struct object_put *put)
{
	struct directory *directory = handle;
	char path[96];

	partial_place(put->key, path);
	if (is_named(directory, path, put->fd))
		unlinkat(directory->fd, path, 0);
	close(put->fd);
}

static int hash_matches(int fd, const uint8_t expected[32])
{
	crypto_hash_sha256_state state;
	uint8_t *buffer = malloc(1 << 18), found[32];
	off_t offset = 0;
	ssize_t got;

	if (!buffer)
		return -ENOMEM;
	crypto_hash_sha256_init(&state);
	while ((got = pread(fd, buffer, 1 << 18, offset)) > 0) {
		crypto_hash_sha256_update(&state, buffer, (unsigned long long)got);
		offset += got;
	}
	free(buffer);
	if (got < 0)
		return -EIO;
	crypto_hash_sha256_final(&state, found);
	return memcmp(found, expected, sizeof(found)) ? -EKEYREJECTED : 0;
}

static int directory_put_commit(void *handle, struct object_put *put, const uint8_t sha256[32])
{
	struct directory *directory = handle;
	char path[OBJECTS_KEY_MAX + 8], from[96], own[40], *slash;
	int status = hash_matches(put->fd, sha256);

	if (status == -EKEYREJECTED) {
		directory_put_drop(handle, put);
		return status;
	}
	place(put->key, path);
	partial_place(put->key, from);
	if (!status)
		status = make_parents(directory->fd, path);
	step();
	if (!status && fsync(put->fd))
		status = -errno;
	step();
	/* By the descriptor: the name may be another's upload by now. There already: the same object. */
	snprintf(own, sizeof(own), "/proc/self/fd/%d", put->fd);
	if (!status && linkat(AT_FDCWD, own, directory->fd, path, AT_SYMLINK_FOLLOW) &&
	    errno != EEXIST)
		status = errno == ENOENT ? -EBUSY : -errno;
	step();
	if (!status && is_named(directory, from, put->fd))
		unlinkat(directory->fd, from, 0);
	if (!status) {
		slash = strrchr(path, '/');
		*slash = 0;
		status = sync_directory(directory->fd, path);
	}
	close(put->fd);
	return status;
}

static int directory_probe(void *handle)
{
	struct directory *directory = handle;
	int fd =
	    openat(directory->fd, "partial/.probe", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	int status = fd < 0 || write(fd, "ok", 2) != 2 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return status;
}

const struct objects_driver objects_directory = {
    .name = "directory",
    .open = directory_open,
    .close = directory_close,
    .get = directory_get,
    .read = directory_read,
    .release = directory_release,
    .partial = directory_partial,
    .put_start = directory_put_start,
    .put_write = directory_put_write,
    .put_pause = directory_put_pause,
    .put_commit = directory_put_commit,
    .put_drop = directory_put_drop,
    .probe = directory_probe,
};
