/*
 * expand.h: writes a version out as a raw disk, each frame decoded once, holes left holes.
 */
#ifndef STORE_EXPAND_H
#define STORE_EXPAND_H

#include "store/store.h"

/** Says how far a long piece of work has come; non-zero stops it with -ECANCELED. */
struct progress {
	int (*report)(void *context, uint64_t done_bytes, uint64_t total_bytes);
	void *context;
};

struct expand_options {
	unsigned int threads; /* 0: one for each processor */
	bool keep_old;	      /* the target's old contents matter: write zeros where the disk has them */
	bool no_sync;	      /* leave flushing to the caller */
	struct progress progress;
};

struct expand_result {
	uint64_t written_bytes;
	uint64_t frames;
};

/**
 * Writes a version to @fd, an empty file or (with keep_old) anything large enough.
 *
 * Returns 0 once everything is on the disk, -ENODATA (frames are missing: fetch the version first),
 * -EBADMSG (damaged frames: repair), -ECANCELED or another errno.
 */
int expand_version(struct store *store, const struct domain *domain,
		   const uint8_t version[VERSION_ID_BYTES], int fd,
		   const struct expand_options *options, struct expand_result *result,
		   struct problem *problem);

#endif
