/* A modelled disk that loses power; see crash_files.h. */
#include "crash_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 16
#define SECTOR	  512u

struct pending {
	uint64_t offset, bytes;
	uint8_t *data; /* NULL: punched */
	struct pending *next;
};

struct node {
	char path[64];
	bool exists;
	uint8_t *now, *durable;
	uint64_t bytes;
	struct pending *first, **last;
};

struct disk {
	struct store_files files;
	unsigned int seed;
	uint64_t count, cut_at;
	bool cut;
	struct node nodes[FILES_MAX];
};

struct handle {
	struct store_file file;
	struct node *node;
};

static struct disk *disk_of(const struct store_files *files)
{
	return (struct disk *)files;
}

static struct node *node_of(struct store_file *file)
{
	return ((struct handle *)file)->node;
}

/** Counts an operation. True once the power is gone. */
static bool step(struct disk *disk)
{
	if (!disk->cut && ++disk->count == disk->cut_at)
		disk->cut = true;
	return disk->cut;
}

static struct node *find(struct disk *disk, const char *path)
{
	for (int i = 0; i < FILES_MAX; i++)
		if (disk->nodes[i].exists && strcmp(disk->nodes[i].path, path) == 0)
			return &disk->nodes[i];
	return NULL;
}

static void clear_node(struct node *node)
{
	while (node->first) {
		struct pending *next = node->first->next;

		free(node->first->data);
		free(node->first);
		node->first = next;
	}
	free(node->now);
	free(node->durable);
	memset(node, 0, sizeof(*node));
}

static int crash_open(struct store_files *files, const char *path, enum store_open how, struct store_file **file)
{
	struct disk *disk = disk_of(files);
	struct node *node = find(disk, path);
	struct handle *handle;

	if (disk->cut)
		return -EIO;
	if (node && how == STORE_OPEN_EXCLUSIVE)
		return -EEXIST;
	if (!node && (how < STORE_OPEN_CREATE || how == STORE_OPEN_BLOCKS))
		return -ENOENT;
	for (int i = 0; !node; i++)
		if (!disk->nodes[i].exists)
			node = &disk->nodes[i];
	if (!node->exists) {
		node->exists = true;
		strcpy(node->path, path);
		node->last = &node->first;
	}
	handle = calloc(1, sizeof(*handle));
	handle->file.files = files;
	handle->node = node;
	*file = &handle->file;
	return 0;
}

static void crash_close(struct store_file *file)
{
	free(file);
}

static ssize_t crash_read(struct store_file *file, void *buffer, size_t bytes, uint64_t offset)
{
	struct node *node = node_of(file);

	if (disk_of(file->files)->cut)
		return -EIO;
	if (offset >= node->bytes)
		return 0;
	if (bytes > node->bytes - offset)
		bytes = (size_t)(node->bytes - offset);
	memcpy(buffer, node->now + offset, bytes);
	return (ssize_t)bytes;
}

static void apply(uint8_t *image, const struct pending *pending, uint64_t from, uint64_t bytes)
{
	if (pending->data)
		memcpy(image + pending->offset + from, pending->data + from, bytes);
	else
		memset(image + pending->offset + from, 0, bytes);
}

static int add_pending(struct store_file *file, const void *data, uint64_t bytes, uint64_t offset)
{
	struct node *node = node_of(file);
	struct pending *pending = calloc(1, sizeof(*pending));
	bool cut;

	if (offset > node->bytes || bytes > node->bytes - offset) {
		free(pending);
		return -EINVAL; /* layers set a file's size first */
	}
	cut = disk_of(file->files)->cut;
	if (!cut) {
		/* The write at which the power fails may reach the disk in part. */
		cut = step(disk_of(file->files));
		pending->offset = offset;
		pending->bytes = bytes;
		if (data) {
			pending->data = malloc(bytes);
			memcpy(pending->data, data, bytes);
		}
		apply(node->now, pending, 0, bytes);
		*node->last = pending;
		node->last = &pending->next;
	} else {
		free(pending);
	}
	return cut ? -EIO : 0;
}

static int crash_write(struct store_file *file, const void *data, size_t bytes, uint64_t offset)
{
	return add_pending(file, data, bytes, offset);
}

static int crash_punch(struct store_file *file, uint64_t offset, uint64_t bytes)
{
	return add_pending(file, NULL, bytes, offset);
}

static int crash_sync(struct store_file *file)
{
	struct node *node = node_of(file);

	if (step(disk_of(file->files)))
		return -EIO;
	while (node->first) {
		struct pending *next = node->first->next;

		apply(node->durable, node->first, 0, node->first->bytes);
		free(node->first->data);
		free(node->first);
		node->first = next;
	}
	node->last = &node->first;
	return 0;
}

static int crash_truncate(struct store_file *file, uint64_t bytes)
{
	struct node *node = node_of(file);

	if (disk_of(file->files)->cut)
		return -EIO;
	if (bytes < node->bytes)
		while (node->first) {
			struct pending *next = node->first->next;

			free(node->first->data);
			free(node->first);
			node->first = next;
			node->last = &node->first;
		}
	/* Fresh memory that nobody touches costs nothing; layers set sizes from 0, or to 0, only. */
	if (bytes && node->bytes && bytes != node->bytes)
		return -EINVAL;
	if (bytes != node->bytes) {
		free(node->now);
		free(node->durable);
		node->now = bytes ? calloc(1, bytes) : NULL;
		node->durable = bytes ? calloc(1, bytes) : NULL;
	}
	node->bytes = bytes;
	return 0;
}

static int crash_size(struct store_file *file, uint64_t *bytes)
{
	*bytes = node_of(file)->bytes;
	return disk_of(file->files)->cut ? -EIO : 0;
}

static int crash_lock(struct store_file *file, uint64_t offset, uint64_t bytes, enum store_lock lock)
{
	return 0;
}

static int crash_rename(struct store_files *files, const char *from, const char *to)
{
	struct node *node = find(disk_of(files), from), *old = find(disk_of(files), to);

	if (disk_of(files)->cut || !node)
		return -EIO;
	if (old)
		clear_node(old);
	strcpy(node->path, to);
	return 0;
}

static int crash_unlink(struct store_files *files, const char *path)
{
	struct node *node = find(disk_of(files), path);

	if (disk_of(files)->cut || !node)
		return -ENOENT;
	clear_node(node);
	return 0;
}

static int crash_directory(struct store_files *files, const char *path)
{
	return disk_of(files)->cut ? -EIO : 0;
}

static void crash_release(struct store_files *files)
{
	for (int i = 0; i < FILES_MAX; i++)
		clear_node(&disk_of(files)->nodes[i]);
	free(files);
}

struct store_files *crash_files_new(unsigned int seed, uint64_t cut_at)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	disk->files = (struct store_files){.open = crash_open,
					   .close = crash_close,
					   .read = crash_read,
					   .write = crash_write,
					   .sync = crash_sync,
					   .truncate = crash_truncate,
					   .punch = crash_punch,
					   .size = crash_size,
					   .lock = crash_lock,
					   .rename = crash_rename,
					   .unlink = crash_unlink,
					   .make_directory = crash_directory,
					   .sync_directory = crash_directory,
					   .release = crash_release};
	disk->seed = seed;
	disk->cut_at = cut_at;
	return &disk->files;
}

uint64_t crash_files_count(const struct store_files *files)
{
	return disk_of(files)->count;
}

bool crash_files_is_cut(const struct store_files *files)
{
	return disk_of(files)->cut;
}

void crash_files_restart(struct store_files *files)
{
	struct disk *disk = disk_of(files);

	for (int i = 0; i < FILES_MAX; i++) {
		struct node *node = &disk->nodes[i];
		struct pending *done = NULL;

		while (node->first) {
			struct pending *pending = node->first;
			int fate = rand_r(&disk->seed) % 3;

			for (uint64_t at = 0; fate && at < pending->bytes; at += SECTOR) {
				uint64_t bytes = pending->bytes - at < SECTOR ? pending->bytes - at : SECTOR;

				if (fate == 1 || rand_r(&disk->seed) % 2)
					apply(node->durable, pending, at, bytes);
			}
			node->first = pending->next;
			pending->next = done;
			done = pending;
		}
		node->last = &node->first;
		/* Only where something was pending do the two differ. */
		while (done) {
			struct pending *next = done->next;

			memcpy(node->now + done->offset, node->durable + done->offset, done->bytes);
			free(done->data);
			free(done);
			done = next;
		}
	}
	disk->cut = false;
	disk->cut_at = 0;
}
