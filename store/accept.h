/*
 * accept.h: taking packs and versions from others: the server's side of publishing and backing up.
 *
 * No keys are needed. An uploader holds a session; what it was told exists stays until the session
 * ends. A pack is taken whole or not at all, and every frame's name is checked; a version only if
 * everything that it uses is here.
 */
#ifndef STORE_ACCEPT_H
#define STORE_ACCEPT_H

#include "store/store.h"

/** Starts a session that lasts @seconds unless it is renewed. Returns 0 or a negative errno. */
int accept_begin(struct store *store, uint64_t seconds, uint64_t *session);

/** Returns 0 or -ESTALE once it has expired. */
int accept_renew(struct store *store, uint64_t session, uint64_t seconds);

int accept_end(struct store *store, uint64_t session);

/**
 * Tells which packs need not be sent.
 *
 * @salts: @count of them. @have: receives whether each is here whole.
 *
 * Returns 0, -ESTALE or another errno.
 */
int accept_query(struct store *store, uint64_t session, const uint8_t (*salts)[SALT_BYTES],
		 size_t count, bool *have);

struct accept;

/** Starts to take a pack. -EEXIST if it is here, -ESTALE if the session has expired. */
int accept_pack_start(struct store *store, uint64_t session, const uint8_t salt[SALT_BYTES],
		      struct accept **accept);

/** Takes the next bytes, in order. -EFBIG if they are more than a pack can have. */
int accept_pack_write(struct accept *accept, const void *data, size_t bytes);

/**
 * Checks header, table, trailer and every frame, and makes the pack part of the store: when this
 * returns 0 it is on the disk. Frees @accept in any case.
 *
 * @domain_id: which domain it must belong to, or NULL.
 *
 * Returns 0, -EBADMSG (not a whole, undamaged pack of that salt), -EPERM (another domain) or another
 * errno, of which nothing remains in the store.
 */
int accept_pack_finish(struct accept *accept, const uint8_t *domain_id, struct problem *problem);

/** Drops what was taken and frees. */
void accept_pack_cancel(struct accept *accept);

/**
 * Takes a signed version.
 *
 * Returns 0 (on the disk), what @trust said, -EEXIST (was here already; @id is set), -ESTALE (packs
 * or frames are missing), -EBADMSG or another errno.
 */
int accept_version(struct store *store, const char *envelope, size_t bytes,
		   const struct version_trust *trust, uint8_t id[VERSION_ID_BYTES],
		   struct problem *problem);

/** A server has acknowledged all packs of a version: they count as kept even if deleted here. */
int accept_mark_remote(struct store *store, const uint8_t version[VERSION_ID_BYTES]);

#endif
