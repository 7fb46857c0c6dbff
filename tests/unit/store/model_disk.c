/* model_disk.c: see model_disk.h. An inode outlives its names while it is open, as on a real disk. */
#include "model_disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

enum operation_kind {
	OPERATION_CREATE,   /* name -> inode */
	OPERATION_UNLINK,
	OPERATION_RENAME,
	OPERATION_WRITE,
	OPERATION_TRUNCATE,
	OPERATION_SYNC,	     /* of an inode */
	OPERATION_SYNC_NAMES /* of a directory */
};

struct operation {
	enum operation_kind kind;
	int inode;
	char path[128], to[128];
	uint64_t offset, bytes;
	uint8_t *data; /* of a write; NULL: zeros */
};

struct inode {
	uint8_t *data;
	uint64_t bytes, room;
};

struct name {
	char path[128];
	int inode;
};

struct model_disk {
	pthread_mutex_t lock;
	struct inode *inodes;
	int inode_count;
	struct name names[256];
	int name_count;
	struct operation *log;
	size_t log_count, log_room;
	uint64_t limit;
	int limit_error;
};

struct model_files {
	struct store_files files;
	struct model_disk *disk;
};

struct model_file {
	struct store_file file;
	struct model_disk *disk;
	int inode;
};

static void *checked(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static struct name *find(struct name *names, int count, const char *path)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i].path, path))
			return &names[i];
	return NULL;
}

static void set_name(struct name *names, int *count, const char *path, int inode)
{
	struct name *name = find(names, *count, path);

	if (!name) {
		if (*count == 256)
			abort();
		name = &names[(*count)++];
		strncpy(name->path, path, sizeof(name->path) - 1);
	}
	name->inode = inode;
}

static void drop_name(struct name *names, int *count, const char *path)
{
	struct name *name = find(names, *count, path);

	if (name) {
		*name = names[--*count];
		memset(&names[*count], 0, sizeof(names[0]));
	}
}

static void resize(struct inode *inode, uint64_t bytes)
{
	if (bytes > inode->room) {
		inode->room = bytes + bytes / 2 + 4096;
		inode->data = checked(realloc(inode->data, inode->room));
	}
	if (bytes > inode->bytes)
		memset(inode->data + inode->bytes, 0, bytes - inode->bytes);
	inode->bytes = bytes;
}

static void put(struct inode *inode, const uint8_t *data, uint64_t offset, uint64_t bytes)
{
	if (offset + bytes > inode->bytes)
		resize(inode, offset + bytes);
	if (data)
		memcpy(inode->data + offset, data, bytes);
	else
		memset(inode->data + offset, 0, bytes);
}

static struct operation *record(struct model_disk *disk, enum operation_kind kind, int inode)
{
	struct operation *operation;

	if (disk->log_count == disk->log_room) {
		disk->log_room = disk->log_room ? 2 * disk->log_room : 256;
		disk->log = checked(realloc(disk->log, disk->log_room * sizeof(*disk->log)));
	}
	operation = &disk->log[disk->log_count++];
	memset(operation, 0, sizeof(*operation));
	operation->kind = kind;
	operation->inode = inode;
	return operation;
}

static struct model_disk *disk_of(struct store_files *files)
{
	return ((struct model_files *)files)->disk;
}

static int model_open(struct store_files *files, const char *path, enum store_open how,
		      struct store_file **opened)
{
	struct model_disk *disk = disk_of(files);
	struct model_file *file;
	struct name *name;
	int inode, error = 0;

	pthread_mutex_lock(&disk->lock);
	name = find(disk->names, disk->name_count, path);
	inode = name ? name->inode : -1;
	if (name && how == STORE_OPEN_EXCLUSIVE)
		error = -EEXIST;
	else if (!name && (how < STORE_OPEN_CREATE || how == STORE_OPEN_BLOCKS))
		error = -ENOENT;
	if (!error && !name) {
		inode = disk->inode_count++;
		disk->inodes =
		    checked(realloc(disk->inodes, (size_t)disk->inode_count * sizeof(*disk->inodes)));
		memset(&disk->inodes[inode], 0, sizeof(disk->inodes[inode]));
		set_name(disk->names, &disk->name_count, path, inode);
		strcpy(record(disk, OPERATION_CREATE, inode)->path, path);
	}
	pthread_mutex_unlock(&disk->lock);
	if (error)
		return error;
	file = checked(calloc(1, sizeof(*file)));
	file->file.files = files;
	file->disk = disk;
	file->inode = inode;
	*opened = &file->file;
	return 0;
}

static void model_close(struct store_file *file)
{
	free(file);
}

static ssize_t model_read(struct store_file *base, void *buffer, size_t bytes, uint64_t offset)
{
	struct model_file *file = (struct model_file *)base;
	struct inode *inode;
	ssize_t got = 0;

	pthread_mutex_lock(&file->disk->lock);
	inode = &file->disk->inodes[file->inode];
	if (offset < inode->bytes) {
		got = (ssize_t)(bytes < inode->bytes - offset ? bytes : inode->bytes - offset);
		memcpy(buffer, inode->data + offset, (size_t)got);
	}
	pthread_mutex_unlock(&file->disk->lock);
	return got;
}

/* A write, or with @data NULL a hole. */
static int change(struct model_file *file, const void *data, uint64_t bytes, uint64_t offset)
{
	struct model_disk *disk = file->disk;
	struct operation *operation;
	uint64_t grown, end = offset + bytes;
	int error = 0;

	pthread_mutex_lock(&disk->lock);
	/* Writing over what is there needs no space. */
	grown = end > disk->inodes[file->inode].bytes ? end - disk->inodes[file->inode].bytes : 0;
	if (data && grown > disk->limit) {
		error = disk->limit_error;
	} else {
		if (data && disk->limit != UINT64_MAX)
			disk->limit -= grown;
		put(&disk->inodes[file->inode], data, offset, bytes);
		operation = record(disk, OPERATION_WRITE, file->inode);
		operation->offset = offset;
		operation->bytes = bytes;
		if (data)
			operation->data = memcpy(checked(malloc(bytes + 1)), data, bytes);
	}
	pthread_mutex_unlock(&disk->lock);
	return error;
}

static int model_write(struct store_file *base, const void *data, size_t bytes, uint64_t offset)
{
	return change((struct model_file *)base, data, bytes, offset);
}

static int model_punch(struct store_file *base, uint64_t offset, uint64_t bytes)
{
	return change((struct model_file *)base, NULL, bytes, offset);
}

static int model_sync(struct store_file *base)
{
	struct model_file *file = (struct model_file *)base;

	pthread_mutex_lock(&file->disk->lock);
	record(file->disk, OPERATION_SYNC, file->inode);
	pthread_mutex_unlock(&file->disk->lock);
	return 0;
}

static void model_write_behind(struct store_file *base, uint64_t offset, uint64_t bytes)
{
}

static int model_truncate(struct store_file *base, uint64_t bytes)
{
	struct model_file *file = (struct model_file *)base;

	pthread_mutex_lock(&file->disk->lock);
	resize(&file->disk->inodes[file->inode], bytes);
	record(file->disk, OPERATION_TRUNCATE, file->inode)->bytes = bytes;
	pthread_mutex_unlock(&file->disk->lock);
	return 0;
}

static int model_size(struct store_file *base, uint64_t *bytes)
{
	struct model_file *file = (struct model_file *)base;

	pthread_mutex_lock(&file->disk->lock);
	*bytes = file->disk->inodes[file->inode].bytes;
	pthread_mutex_unlock(&file->disk->lock);
	return 0;
}

static int model_lock(struct store_file *base, uint64_t offset, uint64_t bytes, enum store_lock lock)
{
	/* One opener at a time in these tests. */
	return 0;
}

static int model_rename(struct store_files *files, const char *from, const char *to)
{
	struct model_disk *disk = disk_of(files);
	struct operation *operation;
	struct name *name;
	int error = 0;

	pthread_mutex_lock(&disk->lock);
	name = find(disk->names, disk->name_count, from);
	if (!name) {
		error = -ENOENT;
	} else {
		int inode = name->inode;

		drop_name(disk->names, &disk->name_count, from);
		set_name(disk->names, &disk->name_count, to, inode);
		operation = record(disk, OPERATION_RENAME, inode);
		strcpy(operation->path, from);
		strcpy(operation->to, to);
	}
	pthread_mutex_unlock(&disk->lock);
	return error;
}

static int model_unlink(struct store_files *files, const char *path)
{
	struct model_disk *disk = disk_of(files);
	int error = 0;

	pthread_mutex_lock(&disk->lock);
	if (!find(disk->names, disk->name_count, path)) {
		error = -ENOENT;
	} else {
		drop_name(disk->names, &disk->name_count, path);
		strcpy(record(disk, OPERATION_UNLINK, -1)->path, path);
	}
	pthread_mutex_unlock(&disk->lock);
	return error;
}

static int model_make_directory(struct store_files *files, const char *path)
{
	return 0;
}

static int model_sync_directory(struct store_files *files, const char *path)
{
	struct model_disk *disk = disk_of(files);

	pthread_mutex_lock(&disk->lock);
	strcpy(record(disk, OPERATION_SYNC_NAMES, -1)->path, path);
	pthread_mutex_unlock(&disk->lock);
	return 0;
}

static bool in_directory(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	if (!length)
		return !strchr(path, '/');
	return !strncmp(path, directory, length) && path[length] == '/';
}

static int model_list(struct store_files *files, const char *path,
		      int (*each)(void *context, const char *name), void *context)
{
	struct model_disk *disk = disk_of(files);
	struct name *names = checked(calloc(256, sizeof(*names)));
	int count, result = 0;

	pthread_mutex_lock(&disk->lock);
	count = disk->name_count;
	for (int i = 0; i < count; i++)
		names[i] = disk->names[i];
	pthread_mutex_unlock(&disk->lock);
	for (int i = 0; i < count && !result; i++)
		if (in_directory(names[i].path, path))
			result = each(context, names[i].path + (*path ? strlen(path) + 1 : 0));
	free(names);
	return result;
}

static void model_release(struct store_files *files)
{
	free(files);
}

struct store_files *model_disk_files(struct model_disk *disk)
{
	struct model_files *files = checked(calloc(1, sizeof(*files)));

	files->disk = disk;
	files->files = (struct store_files){
	    .open = model_open,
	    .close = model_close,
	    .read = model_read,
	    .write = model_write,
	    .sync = model_sync,
	    .write_behind = model_write_behind,
	    .truncate = model_truncate,
	    .punch = model_punch,
	    .size = model_size,
	    .lock = model_lock,
	    .rename = model_rename,
	    .unlink = model_unlink,
	    .make_directory = model_make_directory,
	    .sync_directory = model_sync_directory,
	    .list = model_list,
	    .release = model_release,
	};
	return &files->files;
}

struct model_disk *model_disk_new(void)
{
	struct model_disk *disk = checked(calloc(1, sizeof(*disk)));

	pthread_mutex_init(&disk->lock, NULL);
	disk->limit = UINT64_MAX;
	return disk;
}

void model_disk_free(struct model_disk *disk)
{
	for (int i = 0; i < disk->inode_count; i++)
		free(disk->inodes[i].data);
	for (size_t i = 0; i < disk->log_count; i++)
		free(disk->log[i].data);
	free(disk->inodes);
	free(disk->log);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

size_t model_disk_operations(const struct model_disk *disk)
{
	return disk->log_count;
}

void model_disk_limit(struct model_disk *disk, uint64_t bytes, int error)
{
	disk->limit = bytes;
	disk->limit_error = error;
}

void model_disk_flip(struct model_disk *disk, const char *path, uint64_t offset, int bit)
{
	struct name *name = find(disk->names, disk->name_count, path);

	if (!name || offset >= disk->inodes[name->inode].bytes)
		abort();
	disk->inodes[name->inode].data[offset] ^= (uint8_t)(1u << bit);
}

void model_disk_each(struct model_disk *disk,
		     void (*each)(void *context, const char *path, uint64_t bytes), void *context)
{
	for (int i = 0; i < disk->name_count; i++)
		each(context, disk->names[i].path, disk->inodes[disk->names[i].inode].bytes);
}

static uint32_t roll(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 16;
}

static int folder_of(const char *path)
{
	static const char *const folders[] = {"packs", "index", "versions"};

	for (int i = 0; i < 3; i++)
		if (!strncmp(path, folders[i], strlen(folders[i])))
			return i + 1;
	return 0;
}

/* Which operations a later one before the cut makes durable. */
static bool *find_durable(const struct model_disk *disk, size_t end)
{
	bool *durable = checked(calloc(end + 1, sizeof(*durable)));
	bool *synced = checked(calloc((size_t)disk->inode_count + 1, sizeof(*synced)));
	bool folders[4] = {false};

	for (size_t i = end; i-- > 0;) {
		const struct operation *operation = &disk->log[i];

		if (operation->kind == OPERATION_SYNC)
			synced[operation->inode] = true;
		else if (operation->kind == OPERATION_SYNC_NAMES)
			folders[folder_of(operation->path)] = true;
		else if (operation->kind >= OPERATION_WRITE)
			durable[i] = synced[operation->inode];
		else
			durable[i] = folders[folder_of(operation->path)];
	}
	free(synced);
	return durable;
}

static void apply_names(struct model_disk *disk, const struct operation *operation)
{
	if (operation->kind == OPERATION_CREATE)
		set_name(disk->names, &disk->name_count, operation->path, operation->inode);
	else if (operation->kind == OPERATION_UNLINK)
		drop_name(disk->names, &disk->name_count, operation->path);
	else
		set_name(disk->names, &disk->name_count, operation->to, operation->inode);
	if (operation->kind == OPERATION_RENAME) {
		struct name *from = find(disk->names, disk->name_count, operation->path);

		/* Its old name may have been given to something else by now. */
		if (from && from->inode == operation->inode)
			drop_name(disk->names, &disk->name_count, operation->path);
	}
}

/* A write that power failed in: each sector on its own. */
static void apply_torn(struct inode *inode, const struct operation *operation, uint32_t *state)
{
	for (uint64_t at = 0; at < operation->bytes;) {
		uint64_t bytes = SECTOR - (operation->offset + at) % SECTOR;

		if (bytes > operation->bytes - at)
			bytes = operation->bytes - at;
		if (roll(state) & 1)
			put(inode, operation->data ? operation->data + at : NULL,
			    operation->offset + at, bytes);
		at += bytes;
	}
}

static void apply(struct model_disk *disk, const struct operation *operation, bool durable,
		  uint32_t seed, uint32_t *state)
{
	uint32_t fate = durable || !seed ? 0 : seed == 1 ? 1 : roll(state) % 3;

	if (operation->kind == OPERATION_SYNC || operation->kind == OPERATION_SYNC_NAMES)
		return;
	if (operation->kind < OPERATION_WRITE) {
		if (fate != 1)
			apply_names(disk, operation);
		return;
	}
	if (fate == 1)
		return;
	if (operation->kind == OPERATION_TRUNCATE)
		resize(&disk->inodes[operation->inode], operation->bytes);
	else if (fate == 2)
		apply_torn(&disk->inodes[operation->inode], operation, state);
	else
		put(&disk->inodes[operation->inode], operation->data, operation->offset,
		    operation->bytes);
}

struct model_disk *model_disk_after_cut(const struct model_disk *disk, size_t operations,
					uint32_t seed)
{
	struct model_disk *after = model_disk_new();
	uint32_t state = seed * 2654435761u + (uint32_t)operations;
	bool *durable = find_durable(disk, operations);

	after->inode_count = disk->inode_count;
	after->inodes = checked(calloc((size_t)disk->inode_count + 1, sizeof(*after->inodes)));
	for (size_t i = 0; i < operations; i++)
		apply(after, &disk->log[i], durable[i], seed, &state);
	free(durable);
	return after;
}
