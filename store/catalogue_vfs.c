/*
 * catalogue_vfs.c: see catalogue_vfs.h.
 *
 * Nothing is promised to SQLite beyond what struct store_files promises: no atomic sectors, no safe
 * append. A file created here has its directory synced with its first sync. Locks are SQLite's own
 * byte ranges ("File Locking And Concurrency In SQLite Version 3"), taken as locks of the open file.
 */
#include "store/catalogue_vfs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENDING_BYTE  0x40000000
#define RESERVED_BYTE (PENDING_BYTE + 1)
#define SHARED_FIRST  (PENDING_BYTE + 2)
#define SHARED_BYTES  510

struct catalogue_vfs {
	sqlite3_vfs vfs;
	struct store_files *files;
	sqlite3_vfs *host;
	char name[32];
	int error;
};

struct vfs_file {
	sqlite3_file base;
	struct store_file *file;
	struct catalogue_vfs *owner;
	int lock;
	bool created;
};

/* Remembers the first cause, for SQLite keeps only the kind. */
static int failed(struct catalogue_vfs *vfs, int error, int code)
{
	if (error && !vfs->error)
		vfs->error = error;
	return error == -ENOSPC || error == -EDQUOT ? SQLITE_FULL : code;
}

static int vfs_close(sqlite3_file *base)
{
	struct vfs_file *file = (struct vfs_file *)base;

	file->file->files->close(file->file);
	return SQLITE_OK;
}

static int vfs_read(sqlite3_file *base, void *buffer, int bytes, sqlite3_int64 offset)
{
	struct vfs_file *file = (struct vfs_file *)base;
	ssize_t got =
	    file->file->files->read(file->file, buffer, (size_t)bytes, (uint64_t)offset);

	if (got < 0)
		return failed(file->owner, (int)got, SQLITE_IOERR_READ);
	if (got == bytes)
		return SQLITE_OK;
	memset((char *)buffer + got, 0, (size_t)(bytes - got));
	return SQLITE_IOERR_SHORT_READ;
}

static int vfs_write(sqlite3_file *base, const void *data, int bytes, sqlite3_int64 offset)
{
	struct vfs_file *file = (struct vfs_file *)base;
	int error = file->file->files->write(file->file, data, (size_t)bytes, (uint64_t)offset);

	return error ? failed(file->owner, error, SQLITE_IOERR_WRITE) : SQLITE_OK;
}

static int vfs_truncate(sqlite3_file *base, sqlite3_int64 bytes)
{
	struct vfs_file *file = (struct vfs_file *)base;
	int error = file->file->files->truncate(file->file, (uint64_t)bytes);

	return error ? failed(file->owner, error, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

static int vfs_sync(sqlite3_file *base, int flags)
{
	struct vfs_file *file = (struct vfs_file *)base;
	struct store_files *files = file->file->files;
	int error = files->sync(file->file);

	if (!error && file->created)
		error = files->sync_directory(files, "");
	if (error)
		return failed(file->owner, error, SQLITE_IOERR_FSYNC);
	file->created = false;
	return SQLITE_OK;
}

static int vfs_size(sqlite3_file *base, sqlite3_int64 *bytes)
{
	struct vfs_file *file = (struct vfs_file *)base;
	uint64_t size = 0;
	int error = file->file->files->size(file->file, &size);

	*bytes = (sqlite3_int64)size;
	return error ? failed(file->owner, error, SQLITE_IOERR_FSTAT) : SQLITE_OK;
}

static int range_lock(struct vfs_file *file, uint64_t offset, uint64_t bytes, enum store_lock lock)
{
	int error = file->file->files->lock(file->file, offset, bytes, lock);

	if (!error)
		return SQLITE_OK;
	return error == -EAGAIN ? SQLITE_BUSY : failed(file->owner, error, SQLITE_IOERR_LOCK);
}

static int lock_shared(struct vfs_file *file)
{
	int code = range_lock(file, PENDING_BYTE, 1, STORE_LOCK_SHARED);

	if (code)
		return code;
	code = range_lock(file, SHARED_FIRST, SHARED_BYTES, STORE_LOCK_SHARED);
	range_lock(file, PENDING_BYTE, 1, STORE_UNLOCKED);
	return code;
}

static int vfs_lock(sqlite3_file *base, int level)
{
	struct vfs_file *file = (struct vfs_file *)base;
	int code = SQLITE_OK;

	if (file->lock >= level)
		return SQLITE_OK;
	if (level == SQLITE_LOCK_SHARED) {
		code = lock_shared(file);
	} else if (level == SQLITE_LOCK_RESERVED) {
		code = range_lock(file, RESERVED_BYTE, 1, STORE_LOCK_EXCLUSIVE);
	} else {
		if (file->lock < SQLITE_LOCK_PENDING) {
			code = range_lock(file, PENDING_BYTE, 1, STORE_LOCK_EXCLUSIVE);
			if (code)
				return code;
			file->lock = SQLITE_LOCK_PENDING;
		}
		if (level == SQLITE_LOCK_EXCLUSIVE)
			code = range_lock(file, SHARED_FIRST, SHARED_BYTES, STORE_LOCK_EXCLUSIVE);
	}
	if (!code)
		file->lock = level;
	return code;
}

static int vfs_unlock(sqlite3_file *base, int level)
{
	struct vfs_file *file = (struct vfs_file *)base;
	int code = SQLITE_OK;

	if (file->lock <= level)
		return SQLITE_OK;
	if (file->lock > SQLITE_LOCK_SHARED) {
		if (level == SQLITE_LOCK_SHARED)
			code = range_lock(file, SHARED_FIRST, SHARED_BYTES, STORE_LOCK_SHARED);
		range_lock(file, PENDING_BYTE, 2, STORE_UNLOCKED);
	}
	if (level == SQLITE_LOCK_NONE)
		code = range_lock(file, SHARED_FIRST, SHARED_BYTES, STORE_UNLOCKED);
	file->lock = level;
	return code;
}

static int vfs_check_reserved(sqlite3_file *base, int *held)
{
	struct vfs_file *file = (struct vfs_file *)base;
	int code;

	*held = file->lock >= SQLITE_LOCK_RESERVED;
	if (*held)
		return SQLITE_OK;
	code = range_lock(file, RESERVED_BYTE, 1, STORE_LOCK_EXCLUSIVE);
	if (code == SQLITE_BUSY) {
		*held = 1;
		return SQLITE_OK;
	}
	return code ? code : range_lock(file, RESERVED_BYTE, 1, STORE_UNLOCKED);
}

static int vfs_control(sqlite3_file *base, int operation, void *argument)
{
	return SQLITE_NOTFOUND;
}

static int vfs_sector(sqlite3_file *base)
{
	return 4096;
}

static int vfs_characteristics(sqlite3_file *base)
{
	return 0;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = vfs_close,
    .xRead = vfs_read,
    .xWrite = vfs_write,
    .xTruncate = vfs_truncate,
    .xSync = vfs_sync,
    .xFileSize = vfs_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_unlock,
    .xCheckReservedLock = vfs_check_reserved,
    .xFileControl = vfs_control,
    .xSectorSize = vfs_sector,
    .xDeviceCharacteristics = vfs_characteristics,
};

static struct catalogue_vfs *owner_of(sqlite3_vfs *vfs)
{
	return vfs->pAppData;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
		    int *out_flags)
{
	struct catalogue_vfs *owner = owner_of(vfs);
	struct vfs_file *file = (struct vfs_file *)base;
	struct store_files *files = owner->files;
	int error;

	memset(file, 0, sizeof(*file));
	/* Temporary tables are kept in memory: a file without a name is never asked for. */
	if (!name)
		return SQLITE_CANTOPEN;
	error = files->open(files, name,
			    flags & SQLITE_OPEN_READWRITE ? STORE_OPEN_WRITE : STORE_OPEN_READ,
			    &file->file);
	if (error == -ENOENT && flags & SQLITE_OPEN_CREATE) {
		error = files->open(files, name, STORE_OPEN_CREATE, &file->file);
		file->created = true;
	}
	if (error)
		return failed(owner, error == -ENOENT ? 0 : error, SQLITE_CANTOPEN);
	file->owner = owner;
	file->base.pMethods = &methods;
	if (out_flags)
		*out_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	struct catalogue_vfs *owner = owner_of(vfs);
	int error = owner->files->unlink(owner->files, name);

	if (error == -ENOENT)
		return SQLITE_IOERR_DELETE_NOENT;
	if (!error && sync)
		error = owner->files->sync_directory(owner->files, "");
	return error ? failed(owner, error, SQLITE_IOERR_DELETE) : SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
	struct catalogue_vfs *owner = owner_of(vfs);
	struct store_file *file;
	uint64_t bytes = 0;

	*result = 0;
	if (owner->files->open(owner->files, name, STORE_OPEN_READ, &file))
		return SQLITE_OK;
	/* As SQLite's own: an empty journal does not exist. */
	owner->files->size(file, &bytes);
	*result = flags != SQLITE_ACCESS_EXISTS || bytes > 0;
	owner->files->close(file);
	return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int bytes, char *out)
{
	return snprintf(out, (size_t)bytes, "%s", name) < bytes ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_randomness(sqlite3_vfs *vfs, int bytes, char *out)
{
	struct catalogue_vfs *owner = owner_of(vfs);

	return owner->host->xRandomness(owner->host, bytes, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	struct catalogue_vfs *owner = owner_of(vfs);

	return owner->host->xSleep(owner->host, microseconds);
}

static int vfs_time(sqlite3_vfs *vfs, double *now)
{
	struct catalogue_vfs *owner = owner_of(vfs);

	return owner->host->xCurrentTime(owner->host, now);
}

int catalogue_vfs_new(struct store_files *files, struct catalogue_vfs **vfs)
{
	struct catalogue_vfs *created = calloc(1, sizeof(*created));

	if (!created)
		return -ENOMEM;
	created->files = files;
	created->host = sqlite3_vfs_find(NULL);
	snprintf(created->name, sizeof(created->name), "store-%p", (void *)created);
	created->vfs = (sqlite3_vfs){
	    .iVersion = 1,
	    .szOsFile = sizeof(struct vfs_file),
	    .mxPathname = 64,
	    .zName = created->name,
	    .pAppData = created,
	    .xOpen = vfs_open,
	    .xDelete = vfs_delete,
	    .xAccess = vfs_access,
	    .xFullPathname = vfs_full_path,
	    .xRandomness = vfs_randomness,
	    .xSleep = vfs_sleep,
	    .xCurrentTime = vfs_time,
	};
	if (!created->host || sqlite3_vfs_register(&created->vfs, 0) != SQLITE_OK) {
		free(created);
		return -EIO;
	}
	*vfs = created;
	return 0;
}

const char *catalogue_vfs_name(const struct catalogue_vfs *vfs)
{
	return vfs->name;
}

int catalogue_vfs_take_error(struct catalogue_vfs *vfs)
{
	int error = vfs->error;

	vfs->error = 0;
	return error;
}

void catalogue_vfs_free(struct catalogue_vfs *vfs)
{
	sqlite3_vfs_unregister(&vfs->vfs);
	free(vfs);
}
