/*
 * publish.h: makes a version of a disk: finds what is new, stores it, signs what it is.
 */
#ifndef STORE_PUBLISH_H
#define STORE_PUBLISH_H

#include "store/expand.h"
#include "store/store.h"

/* Levels of zstd: without a base or from a change map, on top of a base, and for who asks for speed. */
#define PUBLISH_LEVEL_FIRST  2
#define PUBLISH_LEVEL_UPDATE 4
#define PUBLISH_LEVEL_FAST   1

/** Where the disk is read from. Several threads call these at the same time. */
struct publish_source {
	uint64_t bytes;
	/** Reads exactly @bytes, which never go beyond the end. Returns 0 or a negative errno. */
	int (*read)(void *context, void *buffer, size_t bytes, uint64_t offset);
	/** May be NULL. The first place from @offset on that may hold something else than zeros. */
	uint64_t (*next_data)(void *context, uint64_t offset);
	void *context;
};

/** A file or block device as a source; @fd stays the caller's. Returns 0 or a negative errno. */
int publish_source_fd(int fd, struct publish_source *source);

struct block_range {
	uint64_t first;
	uint64_t count;
};

/** Who signs: adds signatures to the envelope. Returns 0 or a negative errno. */
struct version_signer {
	int (*sign)(void *context, struct dsse_envelope *envelope);
	void *context;
};

struct publish_options {
	const char *label;
	const void *description; /* of the machine; kept and signed as it is */
	size_t description_bytes;
	uint64_t created; /* seconds since 1970 */
	int level;	  /* of zstd; 0: what suits the version */
	unsigned int threads;
	const uint8_t *base; /* id of the version before it, or NULL */
	/*
	 * An incremental version: only these blocks may differ from @base; nothing else is read,
	 * and the version has no tree root. NULL: everything is read. Ascending, not overlapping.
	 */
	const struct block_range *changes;
	size_t change_count;
	struct version_signer signer;
	struct progress progress;
};

struct publish_result {
	uint8_t version[VERSION_ID_BYTES];
	uint64_t read_bytes;
	uint64_t new_blocks;	 /* stored now */
	uint64_t known_blocks;	 /* found stored */
	uint64_t zero_blocks;
	uint64_t moved_blocks;	 /* stored anew because their old frame was hardly used */
	uint64_t stored_bytes;	 /* added to the store: packs with tables */
	uint64_t map_bytes;	 /* of that: pages of the map */
	uint64_t envelope_bytes; /* the signed manifest */
};

/**
 * Publishes. Everything is on the disk when it returns 0; otherwise the store is as before, except
 * that packs which were finished may stay until a collection.
 *
 * Returns 0, -ECANCELED, -ENOSPC, -EDQUOT, -EINVAL (options), -ESTALE (the source changed while it
 * was read, or the session expired: publish again) or another errno.
 */
int publish_version(struct store *store, const struct domain *domain,
		    const struct publish_source *source, const struct publish_options *options,
		    struct publish_result *result, struct problem *problem);

#endif
