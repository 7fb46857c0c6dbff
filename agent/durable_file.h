/**
 * Small files that are either the old or the new content, whatever happens: written beside,
 * flushed, renamed, and the directory flushed too.
 */
#ifndef AGENT_DURABLE_FILE_H
#define AGENT_DURABLE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/** Replaces `path` by `bytes` with `mode`. Returns 0 or negative errno; on failure the old content
 * stays. */
int durable_file_write(const char *path, const void *bytes, size_t size_bytes, mode_t mode);

/**
 * Reads a whole regular file of at most `max_bytes`. `*bytes` is the caller's to free and ends with
 * a zero that does not count. Returns 0, -ENOENT, -EFBIG or another negative errno.
 */
int durable_file_read(const char *path, size_t max_bytes, unsigned char **bytes,
		      size_t *size_bytes);

/** Flushes the directory that holds `path`, after a rename or unlink. Returns 0 or negative errno.
 */
int durable_file_sync_directory(const char *path);

/** Creates `path` and its parents with `mode` where missing. Returns 0 or negative errno. */
int durable_file_make_directory(const char *path, mode_t mode);

#endif
