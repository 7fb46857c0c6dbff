/*
 * catalogue.h: what a store knows about its packs, versions, index runs and sessions (SQLite).
 *
 * Nothing in it is the only copy of anything that matters: it can be rebuilt from packs and signed
 * manifests. Its transactions are the points at which the store's state changes.
 */
#ifndef STORE_CATALOGUE_H
#define STORE_CATALOGUE_H

#include "store/file.h"
#include "store/format.h"
#include "store/problem.h"

#include <stdbool.h>
#include <stdint.h>

struct catalogue;

enum pack_state {
	PACK_WRITING = 0, /* a session is filling "<salt>.part" */
	PACK_SETTLED = 1,
	PACK_LEAVING = 2, /* committed to go: the file is next */
};

/**
 * One pack. The bitmaps have frame_count bits and are owned: pack_row_release().
 *
 * A frame is absent, present, present and dead (a collection found it unused; who starts now does not
 * see it), or leaving (dead for good; its space is being given back).
 */
struct pack_row {
	uint32_t id; /* never used again */
	uint8_t salt[SALT_BYTES];
	uint8_t domain[DOMAIN_ID_BYTES];
	uint8_t table_name[NAME_BYTES];
	uint32_t table_offset;
	uint32_t frame_count;
	enum pack_state state;
	bool remote; /* a server has acknowledged the whole pack */
	uint8_t *present;
	uint8_t *dead;
	uint8_t *leaving;
	uint64_t dead_epoch; /* of the collection that last set a bit of dead */
	uint64_t session;    /* while writing */
};

struct version_row {
	uint8_t id[VERSION_ID_BYTES];
	uint8_t domain[DOMAIN_ID_BYTES];
	char label[MANIFEST_LABEL_MAX + 1];
	uint64_t created;
	uint64_t disk_bytes;
	uint64_t stored_bytes;
	bool arrived; /* every frame it needs is here */
};

struct run_row {
	uint64_t id;
	uint64_t entries;
};

/** Opens, or creates, "catalogue.db". */
int catalogue_open(struct store_files *files, struct catalogue **catalogue,
		   struct problem *problem);
void catalogue_close(struct catalogue *catalogue);

/**
 * A write transaction; it excludes all other writers, threads and processes. Functions below may be
 * called in one or (then each stands alone) outside. Returns 0, -EBUSY (another process held the
 * catalogue for 30 seconds), -ENOSPC or another negative errno.
 */
int catalogue_begin(struct catalogue *catalogue);
int catalogue_commit(struct catalogue *catalogue);
void catalogue_rollback(struct catalogue *catalogue);

/** Makes the three bitmaps, empty, for row->frame_count. Returns 0 or -ENOMEM. */
int pack_row_make(struct pack_row *row);
void pack_row_release(struct pack_row *row);

/** Adds a pack and sets row->id. -EEXIST if the salt is known. */
int catalogue_add_pack(struct catalogue *catalogue, struct pack_row *row);
/** -ENOENT if there is none. */
int catalogue_find_pack(struct catalogue *catalogue, const uint8_t salt[SALT_BYTES],
			struct pack_row *row);
int catalogue_get_pack(struct catalogue *catalogue, uint32_t id, struct pack_row *row);
int catalogue_update_pack(struct catalogue *catalogue, const struct pack_row *row);
int catalogue_remove_pack(struct catalogue *catalogue, uint32_t id);
/** The lowest id above @after: -ENOENT at the end. @domain: only that one's, or NULL. */
int catalogue_next_pack(struct catalogue *catalogue, const uint8_t *domain, uint32_t after,
			struct pack_row *row);

int catalogue_add_version(struct catalogue *catalogue, const struct version_row *row);
int catalogue_get_version(struct catalogue *catalogue, const uint8_t id[VERSION_ID_BYTES],
			  struct version_row *row);
int catalogue_set_arrived(struct catalogue *catalogue, const uint8_t id[VERSION_ID_BYTES]);
/** Every version that uses this pack lacks frames again. */
int catalogue_clear_arrived(struct catalogue *catalogue, uint32_t pack);
/** Forgets a version and what it uses. */
int catalogue_remove_version(struct catalogue *catalogue, const uint8_t id[VERSION_ID_BYTES]);
/** Calls @each for every version, oldest first; stops when it returns non-zero. */
int catalogue_each_version(struct catalogue *catalogue,
			   int (*each)(void *context, const struct version_row *row),
			   void *context);

/** Records that a version uses these frames of a pack. */
int catalogue_add_use(struct catalogue *catalogue, const uint8_t version[VERSION_ID_BYTES],
		      uint32_t pack, const uint8_t *used, uint32_t frame_count);
/** Ors into @live (frame_count bits) what any version uses of a pack. */
int catalogue_live(struct catalogue *catalogue, uint32_t pack, uint8_t *live,
		   uint32_t frame_count);

int catalogue_add_run(struct catalogue *catalogue, const uint8_t domain[DOMAIN_ID_BYTES],
		      struct run_row *row);
int catalogue_remove_run(struct catalogue *catalogue, uint64_t id);
/** Newest first; -ENOENT at the end. @before: an id, or UINT64_MAX for the newest. */
int catalogue_next_run(struct catalogue *catalogue, const uint8_t *domain, uint64_t before,
		       struct run_row *row);

/** Starts a session that sees what is alive now. */
int catalogue_add_session(struct catalogue *catalogue, uint64_t expires, uint64_t *id);
/** -ENOENT once it has ended or expired and was removed. */
int catalogue_renew_session(struct catalogue *catalogue, uint64_t id, uint64_t expires);
/** 1, 0 or a negative errno. */
int catalogue_has_session(struct catalogue *catalogue, uint64_t id);
int catalogue_has_run(struct catalogue *catalogue, uint64_t id);
int catalogue_remove_session(struct catalogue *catalogue, uint64_t id);
int catalogue_expire_sessions(struct catalogue *catalogue, uint64_t now);
/** The lowest epoch of a session; UINT64_MAX if there is none. */
int catalogue_oldest_session(struct catalogue *catalogue, uint64_t *epoch);
/** Raises and returns the number of collections. */
int catalogue_raise_epoch(struct catalogue *catalogue, uint64_t *epoch);

#endif
