/*
 * fetch.h: brings a version here from somewhere else, only the frames that are missing, resumable.
 *
 * No key is needed. The signed manifest names the tables, tables name the frames; what does not match
 * its name is not stored. Whatever has arrived stays if this stops, and is not fetched again.
 */
#ifndef STORE_FETCH_H
#define STORE_FETCH_H

#include "store/expand.h"
#include "store/store.h"

/** Where packs come from: files, HTTP ranges, a neighbour. Used by several threads at once. */
struct fetch_source {
	/** Reads exactly @bytes of the pack with that salt. Returns 0 or a negative errno. */
	int (*read)(void *context, const uint8_t salt[SALT_BYTES], uint64_t offset, size_t bytes,
		    void *buffer);
	void *context;
};

/** A source over the packs of another store on this machine. */
struct fetch_source fetch_source_store(struct store *other);

struct fetch_options {
	unsigned int threads; /* requests at a time; 0: 2 */
	bool map_only;	      /* only what image_open() and image_locate() need */
	/* These first, in this order (a boot trace); others after them, in the order of packs. */
	const struct frame_address *first;
	size_t first_count;
	uint32_t range_bytes; /* of one request at most; 0: 4 MiB */
	struct progress progress;
};

struct fetch_result {
	uint64_t fetched_bytes; /* everything that was asked of the source, tables included */
	uint64_t frames;
	uint64_t requests;
};

struct fetch;

/**
 * Begins, or continues, fetching a version.
 *
 * @envelope, @bytes: the signed manifest as it came.
 * @trust: who may sign; asked before anything is stored. @source: must outlive the fetch.
 *
 * On success the version is known as arriving: it can be opened (image.h), and a collection keeps
 * what has arrived. Returns 0, what @trust said, -EBADMSG (the source gave a wrong table),
 * -EBUSY (someone is writing one of its packs) or another errno.
 */
int fetch_open(struct store *store, const struct fetch_source *source, const char *envelope,
	       size_t bytes, const struct version_trust *trust, struct fetch **fetch,
	       struct problem *problem);

/** Keeps what has arrived and ends. Returns 0 or the errno of the last checkpoint. */
int fetch_close(struct fetch *fetch);

const uint8_t *fetch_version_id(const struct fetch *fetch);
const struct manifest *fetch_manifest(const struct fetch *fetch);

/** What is still missing. */
void fetch_missing(struct fetch *fetch, uint64_t *bytes, uint64_t *frames);

/**
 * Fetches. With everything here the version has arrived, which is on the disk when this returns 0.
 *
 * Returns 0, -EBADMSG (the source gave wrong bytes; they were dropped), -ECANCELED, what the source
 * said, or another errno; whatever arrived before is kept.
 */
int fetch_run(struct fetch *fetch, const struct fetch_options *options, struct problem *problem);

/** How far one frame is. */
enum fetch_state {
	FETCH_ABSENT,
	FETCH_FRESH,   /* here; no checkpoint has made it visible to others yet */
	FETCH_DURABLE, /* here, and seen by whoever opens the store */
};

/** Says it; a frame that the version does not have is absent. Threads may call this at any time. */
enum fetch_state fetch_frame_state(struct fetch *fetch, const struct frame_address *address);

/** Fetches one frame now, for someone who waits for it. Threads may call this during fetch_run(). */
int fetch_frame(struct fetch *fetch, const struct frame_address *address);

/** Makes what has arrived durable and visible to others. Returns 0 or an errno. */
int fetch_checkpoint(struct fetch *fetch);

/** Totals since fetch_open(). */
void fetch_totals(struct fetch *fetch, struct fetch_result *result);

#endif
