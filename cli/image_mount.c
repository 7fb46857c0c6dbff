/*
 * `bulkhead image mount`: a version in a store as read-only files, by FUSE: the whole disk, each partition, and the files
 * in each that is ext2, ext3 or ext4.
 *
 * The kernel sees plain files here, never a guest's file system: what lies in a partition may have been written to break
 * whoever parses it. Who parses it is a process that can do nothing but ask for blocks (image_files.h).
 */
#define FUSE_USE_VERSION 31
#include "image.h"
#include "image_files.h"
#include "image_store.h"
#include "partition.h"

#include "store/image.h"

#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAD_BYTES (1u << 20) /* where partition tables lie */
#define DISK_NAME  "disk.raw"

/* A partition's files: where its bytes lie, and its reader. */
struct tree {
	const struct view *view;
	struct partition part;
	struct image_files *files; /* NULL: no file system that can be shown */
};

struct view {
	struct image *image;
	uint64_t disk_bytes, created;
	struct partition_table table;
	struct tree trees[PARTITIONS_MAX];
};

static struct view *view_of(void)
{
	return fuse_get_context()->private_data;
}

/* The part of the disk that a path shows. */
static int find_part(const struct view *view, const char *path, struct partition *part)
{
	char name[32];

	*part = (struct partition){0, view->disk_bytes};
	if (!strcmp(path, "/" DISK_NAME))
		return 0;
	for (unsigned int i = 0; i < view->table.count; i++) {
		snprintf(name, sizeof(name), "/partition-%u.raw", i + 1);
		*part = view->table.partitions[i];
		if (!strcmp(path, name))
			return 0;
	}
	return -ENOENT;
}

/* "/files-N/a/b" as the files of partition N and "/a/b". NULL: it is no such path. */
static struct image_files *find_files(const struct view *view, const char *path, const char **inside)
{
	unsigned int number, length;

	if (sscanf(path, "/files-%u%n", &number, &length) != 1 || number < 1 || number > view->table.count ||
	    (path[length] && path[length] != '/'))
		return NULL;
	*inside = path[length] ? path + length : "/";
	return view->trees[number - 1].files;
}

static int view_getattr(const char *path, struct stat *status, struct fuse_file_info *file)
{
	const struct view *view = view_of();
	struct partition part;
	struct image_files *files;
	const char *inside;
	int error;

	(void)file;
	files = find_files(view, path, &inside);
	if (files) {
		error = image_files_stat(files, inside, status);
		status->st_uid = getuid();
		status->st_gid = getgid();
		return error;
	}
	memset(status, 0, sizeof(*status));
	status->st_uid = getuid();
	status->st_gid = getgid();
	status->st_mtime = status->st_ctime = (time_t)view->created;
	if (!strcmp(path, "/")) {
		status->st_mode = S_IFDIR | 0500;
		status->st_nlink = 2;
		return 0;
	}
	if (find_part(view, path, &part))
		return -ENOENT;
	status->st_mode = S_IFREG | 0400;
	status->st_nlink = 1;
	status->st_size = (off_t)part.size_bytes;
	return 0;
}

struct filling {
	void *buffer;
	fuse_fill_dir_t fill;
};

static int fill_name(void *context, const char *name)
{
	const struct filling *filling = context;

	return filling->fill(filling->buffer, name, NULL, 0, 0);
}

static int view_readlink(const char *path, char *target, size_t target_bytes)
{
	const char *inside;
	struct image_files *files = find_files(view_of(), path, &inside);

	size_t used = 0;
	int error;

	if (!files)
		return -EINVAL;
	error = image_files_link(files, inside, target, target_bytes);
	if (error || target[0] != '/')
		return error;
	/* An absolute link means the guest's root, never this machine's: as many steps up as there are folders. */
	for (const char *c = inside + 1; *c; c++)
		used += *c == '/' ? 3 : 0;
	if (used + strlen(target) >= target_bytes)
		return -ENAMETOOLONG;
	memmove(target + used, target + 1, strlen(target));
	for (size_t i = 0; i < used; i += 3)
		memcpy(target + i, "../", 3);
	if (!target[0])
		memcpy(target, ".", 2);
	return 0;
}

static int view_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *file,
			enum fuse_readdir_flags flags)
{
	const struct view *view = view_of();
	struct filling filling = {buffer, fill};
	struct image_files *files;
	const char *inside;
	char name[32];

	(void)offset;
	(void)file;
	(void)flags;
	fill(buffer, ".", NULL, 0, 0);
	fill(buffer, "..", NULL, 0, 0);
	files = find_files(view, path, &inside);
	if (files)
		return image_files_list(files, inside, fill_name, &filling);
	if (strcmp(path, "/"))
		return -ENOTDIR;
	fill(buffer, DISK_NAME, NULL, 0, 0);
	for (unsigned int i = 0; i < view->table.count; i++) {
		snprintf(name, sizeof(name), "partition-%u.raw", i + 1);
		fill(buffer, name, NULL, 0, 0);
		if (!view->trees[i].files)
			continue;
		snprintf(name, sizeof(name), "files-%u", i + 1);
		fill(buffer, name, NULL, 0, 0);
	}
	return 0;
}

static int view_open(const char *path, struct fuse_file_info *file)
{
	struct partition part;
	const char *inside;

	if ((file->flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	file->keep_cache = 1;
	if (find_files(view_of(), path, &inside))
		return 0;
	return find_part(view_of(), path, &part);
}

/* Reads any bytes of the disk: a whole block at a time where they are whole. */
static int read_disk(const struct view *view, char *buffer, uint64_t bytes, uint64_t offset)
{
	uint8_t block[BLOCK_BYTES];

	while (bytes) {
		uint64_t within = offset % BLOCK_BYTES, now = BLOCK_BYTES - within;
		int error;

		if (!within && bytes >= BLOCK_BYTES) {
			now = bytes / BLOCK_BYTES * BLOCK_BYTES;
			error = image_read(view->image, offset / BLOCK_BYTES, (uint32_t)(now / BLOCK_BYTES), buffer,
					   NULL);
		} else {
			now = now < bytes ? now : bytes;
			error = image_read(view->image, offset / BLOCK_BYTES, 1, block, NULL);
			memcpy(buffer, block + within, now);
		}
		if (error)
			return error;
		buffer += now;
		offset += now;
		bytes -= now;
	}
	return 0;
}

static int view_read(const char *path, char *buffer, size_t bytes, off_t offset, struct fuse_file_info *file)
{
	const struct view *view = view_of();
	struct image_files *files;
	struct partition part;
	const char *inside;
	int error;

	(void)file;
	files = find_files(view, path, &inside);
	if (files)
		return offset < 0 ? -EINVAL : image_files_read(files, inside, (uint64_t)offset, bytes, buffer);
	error = find_part(view, path, &part);
	if (error || offset < 0)
		return error ? error : -EINVAL;
	if ((uint64_t)offset >= part.size_bytes)
		return 0;
	if (bytes > part.size_bytes - (uint64_t)offset)
		bytes = (size_t)(part.size_bytes - (uint64_t)offset);
	error = read_disk(view, buffer, bytes, part.start + (uint64_t)offset);
	if (!error)
		return (int)bytes;
	fprintf(stderr, "bulkhead: %s at byte %lld: %s\n", path + 1, (long long)offset,
		error == -ENODATA   ? "not fetched yet"
		: error == -EBADMSG ? "damaged in the store; repair it (bulkhead store check --repair)"
				    : strerror(-error));
	return -EIO;
}

/* A disk with a table that makes no sense is shown as a whole only. */
static int read_partitions(struct view *view)
{
	uint64_t bytes = view->disk_bytes < HEAD_BYTES ? view->disk_bytes : HEAD_BYTES;
	int fd = memfd_create("partitions", MFD_CLOEXEC), error = fd < 0 ? -errno : 0;
	char *head = malloc(HEAD_BYTES);
	struct disk_source source;
	struct disk_why why;

	if (!error && !head)
		error = -ENOMEM;
	if (!error && ftruncate(fd, (off_t)view->disk_bytes))
		error = -errno;
	if (!error)
		error = read_disk(view, head, bytes, 0);
	if (!error && pwrite(fd, head, bytes, 0) != (ssize_t)bytes)
		error = -EIO;
	if (!error)
		error = disk_source_open(&source, fd, &why);
	if (!error && partition_read(&source, &view->table, &why)) {
		fprintf(stderr, "bulkhead: the disk %s; only the whole disk is shown\n", why.text);
		view->table.count = 0;
	}
	free(head);
	if (fd >= 0)
		close(fd);
	return error;
}

static int read_part(void *context, uint64_t offset, uint32_t size, void *bytes)
{
	const struct tree *tree = context;

	return read_disk(tree->view, bytes, size, tree->part.start + offset);
}

/* Finds the partitions whose files can be shown. */
static int open_trees(struct view *view, const char *program)
{
	char name[32];
	int error = 0;

	for (unsigned int i = 0; i < view->table.count && !error; i++) {
		struct tree *tree = &view->trees[i];
		struct image_bytes bytes = {read_part, tree, view->table.partitions[i].size_bytes};

		*tree = (struct tree){view, view->table.partitions[i], NULL};
		snprintf(name, sizeof(name), "files-%u", i + 1);
		if (image_files_fit(&bytes))
			error = image_files_open(program, name, &bytes, &tree->files);
	}
	return error;
}

/* Serves until the folder is unmounted or the command is interrupted. */
static int serve(const struct cli_context *context, struct view *view, const char *folder)
{
	static const struct fuse_operations operations = {
		.getattr = view_getattr,
		.readdir = view_readdir,
		.open = view_open,
		.read = view_read,
		.readlink = view_readlink,
	};
	char *words[] = {"bulkhead", "-o", "ro,nosuid,nodev,noexec,fsname=bulkhead,subtype=image", NULL};
	struct fuse_args arguments = FUSE_ARGS_INIT(3, words);
	struct fuse *fuse = fuse_new(&arguments, &operations, sizeof(operations), view);
	int status = CLI_OK;

	if (!fuse)
		return cli_fail(context, "FUSE does not start");
	if (fuse_mount(fuse, folder)) {
		fuse_destroy(fuse);
		return cli_fail(context, "%s: cannot be mounted on; give an empty folder of yours, and see that fuse3 is "
					 "installed", folder);
	}
	fprintf(stderr, "%s shows the version until `fusermount3 -u %s` or Ctrl-C\n", folder, folder);
	/* One thread: an image is used by one at a time. */
	if (fuse_set_signal_handlers(fuse_get_session(fuse)) || fuse_loop(fuse) < 0)
		status = cli_fail(context, "%s: serving it failed", folder);
	fuse_remove_signal_handlers(fuse_get_session(fuse));
	fuse_unmount(fuse);
	fuse_destroy(fuse);
	return status;
}

int image_mount_run(const struct cli_context *context)
{
	struct problem problem = {""};
	struct image_store opened;
	struct version_row row;
	const char *reader = cli_value(context, "reader");
	static struct view view;
	int status = image_store_open(context, false, &opened), error;

	if (status != CLI_OK)
		return status;
	error = store_find_version(opened.store, cli_argument(context, 0), &row, &problem);
	if (!error)
		error = image_open(opened.store, &opened.domain, row.id, &view.image, &problem);
	if (!error) {
		view.disk_bytes = image_manifest(view.image)->disk_bytes;
		view.created = row.created;
		error = read_partitions(&view);
		if (!error)
			error = open_trees(&view, reader ? reader : FILE_VIEW_PROGRAM);
		if (error)
			problem_errno(&problem, error, "cannot read the beginning of the disk");
	}
	status = error ? cli_fail(context, "%s", problem.line) : serve(context, &view, cli_argument(context, 1));
	for (unsigned int i = 0; i < view.table.count; i++)
		image_files_close(view.trees[i].files);
	image_close(view.image);
	image_store_close(&opened);
	return status;
}
