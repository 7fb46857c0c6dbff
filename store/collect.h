/*
 * collect.h: gives back the space of frames that no version uses, with writers at work.
 *
 * Whoever publishes, fetches or uploads holds a session. A collection marks unused frames dead; who
 * starts afterwards does not see them, and who started before keeps them from being deleted until its
 * session ends or expires. The next collection deletes what is dead, unless a version that was
 * committed meanwhile uses it: that is asked in the same transaction. No keys are needed.
 */
#ifndef STORE_COLLECT_H
#define STORE_COLLECT_H

#include "store/store.h"

struct collect_result {
	uint64_t live_frames;
	uint64_t dead_frames;	 /* waiting for the next collection or for sessions to end */
	uint64_t freed_frames;
	uint64_t freed_bytes;
	uint64_t removed_packs;
	uint64_t removed_strays; /* files that an interrupted writer left */
	uint64_t sessions;	 /* that are open */
};

/**
 * Runs one collection: deletes what the last one marked, marks what is unused now.
 *
 * @now: also delete at once what this one marks, if no session is open.
 *
 * Returns 0 or a negative errno; it can be interrupted at any point and run again.
 */
int collect_run(struct store *store, bool now, struct collect_result *result,
		struct problem *problem);

/** Finishes giving back one pack's leaving frames. @freed_bytes may be NULL. */
int collect_reclaim(struct store *store, uint32_t pack, uint64_t *freed_bytes);

#endif
