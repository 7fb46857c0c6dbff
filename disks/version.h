/*
 * A version as a disk that is served while it arrives. Its blocks come out of frames in the store, are checked there,
 * and go into a sealed layer at their own offsets, so that steady reads cost no frame. What is asked for comes first;
 * a thread of its own brings the rest: in the order of a boot trace, then in disk order.
 */
#ifndef BULKHEAD_DISKS_VERSION_H
#define BULKHEAD_DISKS_VERSION_H

#include "layer.h"

#include "store/image.h"

struct version;

/** Blocks that a boot reads, in its order. */
struct version_trace {
	struct blockmap_run *runs; /**< kind is not used */
	size_t count;
};

struct version_options {
	struct store *store;
	const struct domain *domain;
	const uint8_t *id;	   /**< VERSION_ID_BYTES */
	struct store_files *files; /**< where the sealed layer lives; outlives the version */
	const char *folder;	   /**< its folder; the layer is made if there is none */
	const uint8_t *key;	   /**< LAYER_KEY_BYTES, of that layer alone */
	/**
	 * Brings a frame that is not in the store into it. Called by several threads. May be NULL: then such blocks
	 * cannot be read. Returns 0 or a negative errno; -EAGAIN, if not urgent: not yet, it will be asked for again.
	 */
	int (*fetch)(void *context, const struct image_frame *frame, bool urgent);
	void *context;
	const struct version_trace *trace; /**< borrowed for the version's life; may be NULL */
	bool background;		   /**< bring everything, not only what is asked for */
};

/** How far a version has arrived. */
struct version_progress {
	uint64_t blocks, arrived;
	int error; /**< why the background stopped before the end; 0 if it did not */
	bool done;
};

/** Opens a version. Returns 0 or a negative errno with the problem. */
int version_open(const struct version_options *options, struct version **version, struct problem *problem);

/** Stops the background, makes what has arrived last, closes. */
void version_close(struct version *version);

uint64_t version_disk_bytes(const struct version *version);

/**
 * Reads blocks within the version, fetching what is not here. Threads may call this at the same time.
 * Returns 0, -ENODATA (not here and cannot be fetched), -EBADMSG (damaged in the store: repair), or another errno.
 */
int version_read(struct version *version, uint64_t first, uint64_t count, void *buffer);

struct version_progress version_progress(struct version *version);

/** Records which blocks are read first, in order, for five minutes from now on; for the boot trace. */
void version_record(struct version *version);

/**
 * Writes what was recorded: a line "first count" for every run. Returns 0 or a negative errno.
 * @fd  open for writing.
 */
int version_write_trace(struct version *version, int fd);

/** Reads a trace: at most 2^20 runs, all within @blocks. Returns 0, -EBADMSG or another errno. */
int version_trace_read(const char *text, size_t bytes, uint64_t blocks, struct version_trace *trace);
void version_trace_release(struct version_trace *trace);

#endif
