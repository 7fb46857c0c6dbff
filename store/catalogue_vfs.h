/*
 * catalogue_vfs.h: SQLite's files over struct store_files, so that the catalogue's writes are cut
 * in tests like all others.
 */
#ifndef STORE_CATALOGUE_VFS_H
#define STORE_CATALOGUE_VFS_H

#include "store/file.h"

struct catalogue_vfs;

/** Registers a file system for SQLite over @files. Returns 0, -ENOMEM or -EIO. */
int catalogue_vfs_new(struct store_files *files, struct catalogue_vfs **vfs);

/** The name to give to sqlite3_open_v2(). */
const char *catalogue_vfs_name(const struct catalogue_vfs *vfs);

/** The first error (negative errno) that a file operation met since the last call, or 0. */
int catalogue_vfs_take_error(struct catalogue_vfs *vfs);

/** Unregisters; no database may be open on it. */
void catalogue_vfs_free(struct catalogue_vfs *vfs);

#endif
