/*
 * pack_files.h: the packs that a store has open. A version of a large disk uses thousands of packs and
 * a process may have about a thousand files, so at most PACK_FILES_MAX are open at a time; the one that
 * was not used for longest is closed when another is needed.
 */
#ifndef STORE_PACK_FILES_H
#define STORE_PACK_FILES_H

#include "store/file.h"
#include "store/format.h"

#include <pthread.h>

#define PACK_FILES_MAX 64

struct pack_file {
	struct store_file *file; /* NULL: the place is free */
	uint8_t salt[SALT_BYTES];
	enum store_open how;
	unsigned int users;
	uint64_t used;
};

struct pack_files {
	struct store_files *files; /* borrowed */
	pthread_mutex_t lock;
	pthread_cond_t given_back;
	uint64_t clock;
	struct pack_file open[PACK_FILES_MAX];
};

void pack_files_init(struct pack_files *packs, struct store_files *files);

/** Closes all; nobody uses one any more. */
void pack_files_release(struct pack_files *packs);

/**
 * Gives the open file of a pack until pack_files_give_back(). Threads may call this at any time, each
 * for one pack at a time; with PACK_FILES_MAX packs in use it waits for one to be given back.
 *
 * @how: STORE_OPEN_READ or STORE_OPEN_WRITE.
 *
 * Returns 0, -ENOENT (the pack is not here) or another errno.
 */
int pack_files_take(struct pack_files *packs, const uint8_t salt[SALT_BYTES], enum store_open how,
		    struct pack_file **taken);

void pack_files_give_back(struct pack_files *packs, struct pack_file *taken);

/** Closes a pack whose file goes away or is replaced, so that its space comes back and nobody reads the
 * old one. One in use is closed when it is given back. */
void pack_files_forget(struct pack_files *packs, const uint8_t salt[SALT_BYTES]);

#endif
