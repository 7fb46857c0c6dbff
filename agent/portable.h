/**
 * A guest in one file: encrypted, authenticated, written and read as a stream, so that its owner
 * can carry it to another PC or keep it on a disk of their own. The key comes from a recovery
 * phrase (Argon2id); holes of disks stay holes.
 *
 * After a magic, the cost and a salt the file is a libsodium secretstream of messages of at most 1
 * MiB, each with its length before it: first a JSON description, then pieces of files (8 bytes
 * number, 8 bytes offset, data), and a last empty one marked final, without which nothing counts.
 */
#ifndef AGENT_PORTABLE_H
#define AGENT_PORTABLE_H

#include <jansson.h>
#include <stdint.h>

#include "key_copy.h"

#define PORTABLE_FILES_MAX 16

struct portable_file {
	const char *name; /* within the guest: no slash */
	int file;	  /* open */
};

/** Says how far it is; a return other than 0 stops with -ECANCELED. May be NULL. */
struct portable_progress {
	int (*tick)(void *context, uint64_t done_bytes, uint64_t total_bytes);
	void *context;
};

/**
 * Writes `description` (an object; what the owner's files mean, keys included) and the files to
 * `out`. Returns 0, phrase_read()'s errors, or negative errno.
 */
int portable_write(int out, const char *phrase, enum key_copy_cost cost, json_t *description,
		   const struct portable_file *files, size_t count,
		   const struct portable_progress *progress);

/**
 * Reads a portable file. `create` is called once a file, in order, and returns an open descriptor
 * that is closed here. Everything is checked as it passes, but only the return value 0 says that it
 * was whole: until then the caller keeps what it made aside. Returns 0, -EKEYREJECTED (not this
 * phrase), -EBADMSG (changed, cut short, or no such file), or negative errno.
 */
int portable_read(int in, const char *phrase, json_t **description,
		  int (*create)(void *context, const char *name), void *context,
		  const struct portable_progress *progress);

#endif
