/*
 * file.h: the one interface through which the store touches a disk.
 *
 * Everything that is written, the catalogue's database included, goes through a struct store_files,
 * so that a test can put a modelled disk underneath and cut power at every single write. Paths are
 * relative to the store's directory and contain no "..".
 *
 * Promises of an implementation: after sync() of a file its contents and size survive a power cut;
 * after sync_directory() the names in that directory do. Before that anything may have happened to
 * each write and each name: done, not done, or (writes) done in part.
 */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct store_files;

enum store_open {
	STORE_OPEN_READ = 0,      /* must exist */
	STORE_OPEN_WRITE = 1,     /* must exist */
	STORE_OPEN_CREATE = 2,    /* for writing, created if missing */
	STORE_OPEN_EXCLUSIVE = 3, /* for writing, must not exist */
	STORE_OPEN_BLOCKS = 4,    /* for writing, must exist; transfers whole blocks between aligned
				     buffers only (STORE_ALIGNMENT), so that no cache is needed */
};

#define STORE_ALIGNMENT 4096
#define STORE_IO_MAX	8

enum store_io_kind { STORE_IO_READ, STORE_IO_WRITE, STORE_IO_SYNC };

/** One of several transfers: all of @bytes at @offset (a read beyond the end is -ENODATA), or a sync. */
struct store_io {
	enum store_io_kind kind;
	struct store_file *file;
	void *buffer;
	size_t bytes;
	uint64_t offset;
	int error; /* out */
};

enum store_lock {
	STORE_UNLOCKED,
	STORE_LOCK_SHARED,
	STORE_LOCK_EXCLUSIVE,
};

/** An open file; implementations embed it. May be used by several threads at once. */
struct store_file {
	struct store_files *files;
};

/** All functions return 0 or a negative errno unless they say otherwise. */
struct store_files {
	int (*open)(struct store_files *files, const char *path, enum store_open how,
		    struct store_file **file);
	void (*close)(struct store_file *file);
	/** Reads up to @bytes at @offset. Returns the count, less than @bytes only at the end. */
	ssize_t (*read)(struct store_file *file, void *buffer, size_t bytes, uint64_t offset);
	/** Writes all of @bytes or fails. */
	int (*write)(struct store_file *file, const void *data, size_t bytes, uint64_t offset);
	int (*sync)(struct store_file *file);
	/** A hint to start writing a range out. */
	void (*write_behind)(struct store_file *file, uint64_t offset, uint64_t bytes);
	int (*truncate)(struct store_file *file, uint64_t bytes);
	/** Gives a range's space back; it reads as zeros afterwards. */
	int (*punch)(struct store_file *file, uint64_t offset, uint64_t bytes);
	int (*size)(struct store_file *file, uint64_t *bytes);
	/** Tries to lock one range against other openers, without waiting: -EAGAIN. */
	int (*lock)(struct store_file *file, uint64_t offset, uint64_t bytes, enum store_lock lock);
	int (*rename)(struct store_files *files, const char *from, const char *to);
	int (*unlink)(struct store_files *files, const char *path);
	/** An existing directory is no error. */
	int (*make_directory)(struct store_files *files, const char *path);
	int (*sync_directory)(struct store_files *files, const char *path);
	/** Calls @each with every name in @path but "." and ".."; stops when it returns non-zero
	 * and returns that. */
	int (*list)(struct store_files *files, const char *path,
		    int (*each)(void *context, const char *name), void *context);
	/** Carries out up to STORE_IO_MAX transfers in any order, perhaps at once; NULL: one after the
	 * other. Returns 0 or the error of the first that failed. */
	int (*transfer)(struct store_io *ios, size_t count);
	/** Releases the whole. */
	void (*release)(struct store_files *files);
};

/**
 * Opens a directory of the host's file system.
 *
 * @create: make it (mode 0700) if it is missing.
 *
 * Returns 0, -ENOMEM or the errno of open/mkdir. Release with (*files)->release().
 */
int store_files_open(const char *directory, bool create, struct store_files **files);

/** As store_files_open(); with @direct, files opened with STORE_OPEN_BLOCKS go past the page cache where
 * the file system can do that. */
int store_files_open_direct(const char *directory, bool create, bool direct, struct store_files **files);

/** Carries out transfers of files of one struct store_files; see its transfer. */
int store_file_transfer(struct store_io *ios, size_t count);

/** From now on this process makes its transfers by the ordinary calls alone. For a program that is going to forbid itself
 * io_uring, before it opens any files: a transfer that is under way when the filter comes could not be waited for. */
void store_file_refuse_rings(void);

/** Reads exactly @bytes: -ENODATA if the file is shorter. */
int store_file_read_all(struct store_file *file, void *buffer, size_t bytes, uint64_t offset);

/** Reads a whole file of at most @limit bytes; the caller frees @data (NUL-terminated). */
int store_file_load(struct store_files *files, const char *path, size_t limit, char **data,
		    size_t *bytes);

/**
 * Replaces @path by @data, whole or not at all: temporary, sync, rename, sync of the directory.
 *
 * @directory: the folder part of @path ("" for the store's own).
 */
int store_file_replace(struct store_files *files, const char *directory, const char *path,
		       const void *data, size_t bytes);

#endif
