/* What the files of a version share; see version.h. */
#ifndef BULKHEAD_DISKS_VERSION_PRIVATE_H
#define BULKHEAD_DISKS_VERSION_PRIVATE_H

#include "version.h"

#include <pthread.h>

#define WINDOW_BLOCKS 64u
#define WINDOWS_HELD  32u
#define READERS_IDLE  16u

struct reader;

struct version {
	struct version_options options;
	uint8_t id[VERSION_ID_BYTES];
	uint64_t disk_bytes, blocks;
	struct layer *layer;
	pthread_mutex_t lock; /* of everything below that is not atomic */
	pthread_cond_t released;
	struct reader *idle[READERS_IDLE];
	unsigned int idle_count;
	uint64_t held[WINDOWS_HELD]; /* 1 + the window's first block; 0: free */
	unsigned int urgent;	     /* reads that wait; atomic */
	pthread_mutex_t repair_lock;
	bool repairing;

	/* version_background.c */
	pthread_t thread;
	bool has_thread, done;
	int stop, background_error;

	/* version_trace.c: blocks read so far, and in which order */
	uint64_t *seen;
	struct blockmap_run *runs;
	size_t run_count;
	int64_t record_until; /* by version_seconds() */
};

/** Makes sure that blocks are in the layer. */
int version_bring(struct version *version, uint64_t first, uint64_t count, bool urgent);

/** Takes a read down for the boot trace. */
void version_record_read(struct version *version, uint64_t first, uint64_t count);

/** Seconds of a clock that only goes forward. */
int64_t version_seconds(void);

int version_start_background(struct version *version);
void version_stop_background(struct version *version);

#endif
