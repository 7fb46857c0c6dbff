/* fetch_private.h: the state of one fetch, for fetch*.c only. */
#ifndef STORE_FETCH_PRIVATE_H
#define STORE_FETCH_PRIVATE_H

#include "store/fetch.h"
#include "store/store_private.h"

#include <pthread.h>

struct fetch_pack {
	struct pack_table table;
	uint8_t *present; /* here, perhaps not yet on the disk */
	uint8_t *fresh;	  /* of those, the ones that no checkpoint has covered */
	bool dirty;
};

struct fetch {
	struct store *store;
	const struct fetch_source *source;
	struct manifest manifest;
	uint8_t id[VERSION_ID_BYTES];
	uint64_t session;
	struct fetch_pack *packs; /* as in the manifest */
	pthread_mutex_t lock;	  /* bitmaps and totals */
	pthread_mutex_t checkpoint_lock;
	uint64_t fresh_bytes;
	struct fetch_result totals;
};

/** Asks the source and counts. */
int fetch_ask(struct fetch *fetch, const uint8_t salt[SALT_BYTES], uint64_t offset, size_t bytes,
	      void *buffer);

#endif
