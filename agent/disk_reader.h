/**
 * A disk of one layer at one moment, read while its guest goes on: a user disk, or the system disk of
 * a guest of one's own. The disk's own server (or, while no
 * guest runs, this process) freezes the layer and says what changed since the last backup; a
 * running guest's file systems stand still only for that moment.
 *
 * Which version the changes are counted from is written beside the layer, in the file "base": it
 * moves with the layer, so that a restored disk never takes another's changes for its own.
 */
#ifndef AGENT_DISK_READER_H
#define AGENT_DISK_READER_H

#include "agent.h"
#include "served.h"
#include "store/publish.h"

struct disk_reader {
	struct agent *agent;
	char guest[AGENT_NAME_MAX];
	const char *layer; /* "user" or "system" */
	struct served *resting; /* opened here; NULL: the guest's server has it */
	int connection;
	uint64_t blocks;
	const char *label; /* "frozen" or "crash-consistent" */
	uint64_t gap_from, gap_to; /* blocks known to have no data: between the runs asked for last */
	char base[65];	   /* version that the changes are counted from; empty: none */
};

/**
 * Freezes a disk of the guest; `layer` is literal. `key` is the disk's. Returns 0 or negative errno with
 * agent->error; end with disk_reader_close().
 */
int disk_reader_open(struct agent *agent, const char *guest, const char *layer,
		     const unsigned char key[32], struct disk_reader *reader);

/** What changed since `base`; the caller frees. Never NULL on success. */
int disk_reader_changes(struct disk_reader *reader, struct block_range **ranges, size_t *count);

/** The frozen disk for publish_version(); one thread at a time. */
struct publish_source disk_reader_source(struct disk_reader *reader);

/**
 * Unfreezes. `version` not NULL: it holds everything, so changes are counted from it from now on
 * (first it becomes the base, then changes are forgotten: a crash in between makes the next backup
 * read too much, never too little). Returns 0 or negative errno.
 */
int disk_reader_close(struct disk_reader *reader, const char *version);

/** Writes down which version a layer in `folder` is counted from. Returns 0 or negative errno. */
int disk_reader_set_base(const char *folder, const char *version);

#endif
