/* store_private.h: what the files of store/ share and nobody else needs. */
#ifndef STORE_PRIVATE_H
#define STORE_PRIVATE_H

#include "store/pack.h"
#include "store/pack_files.h"
#include "store/store.h"

struct store {
	struct store_files *files;
	struct catalogue *catalogue;
	struct pack_files packs;
	uint64_t (*now)(void);
};

#define VERSION_PATH_BYTES 96
void store_version_path(const uint8_t id[VERSION_ID_BYTES], char path[VERSION_PATH_BYTES]);

/**
 * Puts a version into the store: its file, its row, what it uses. Inside a transaction that the
 * caller has begun; every pack must be known, and with @arrived every used frame present and not
 * leaving.
 *
 * Returns 0, -EEXIST (it is there already), -ESTALE (a frame is gone) or another errno.
 */
int store_add_version(struct store *store, const uint8_t id[VERSION_ID_BYTES],
		      const struct manifest *manifest, const char *envelope, bool arrived,
		      struct problem *problem);

/** Parses an envelope, asks @trust, parses the manifest and computes the id. */
int store_check_envelope(const char *text, size_t bytes, const struct version_trust *trust,
			 struct manifest *manifest, uint8_t id[VERSION_ID_BYTES],
			 struct problem *problem);

/** Reads the table of a pack file and compares it with the row. Returns 0, -EBADMSG or an errno. */
int store_read_table(struct store *store, const struct pack_row *row, struct pack_table *table);

#endif
