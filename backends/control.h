/*
 * How a disk that is being served is backed up: whoever may (the agent, by the socket's permissions) freezes it at one
 * moment and reads what changed, while the guest goes on. One connection at a time, one question at a time.
 *
 * Question, 24 bytes: what (4), zero (4), first (8), count (8). Answer, 24 bytes: 0 or a negative errno (4), state (4),
 * first (8), count (8); after a read, count blocks follow. Integers are little-endian.
 *
 *   begin               answers count: blocks of the disk
 *   changed, data       from block first on: the next run that changed since the last acknowledged backup, or that has
 *                       data; -ENOENT if there is none. state: 1 data, 0 zeros
 *   read                1 to 256 blocks, as they were at the beginning
 *   end                 first is 1: the backup was acknowledged; changes are forgotten only then
 *   progress            of a version that arrives: first: blocks here, count: all blocks, state 1: the rest has come
 *
 * A connection that closes ends its backup unacknowledged.
 */
#ifndef BULKHEAD_BACKENDS_CONTROL_H
#define BULKHEAD_BACKENDS_CONTROL_H

#include "version.h"

#define CONTROL_READ_BLOCKS_MAX 256u

enum control_what {
	CONTROL_BEGIN = 1,
	CONTROL_CHANGED,
	CONTROL_DATA,
	CONTROL_READ,
	CONTROL_END,
	CONTROL_PROGRESS,
};

struct control_message {
	uint32_t what; /**< in answers: 0 or a negative errno */
	uint32_t state;
	uint64_t first;
	uint64_t count;
};
_Static_assert(sizeof(struct control_message) == 24, "on the socket");

struct control;

/**
 * Answers at a socket, on a thread of its own, until control_stop().
 * @layer, @version: of the disk; either may be NULL. They outlive the control.
 * Returns 0 or a negative errno.
 */
int control_start(const char *path, struct layer *layer, struct version *version, struct control **control);

/** Ends it, and a backup that runs. NULL is allowed. */
void control_stop(struct control *control);

/** Answers one question; the state of a connection lies in @layer. @blocks: room for a read. For tests. */
void control_answer(struct layer *layer, struct version *version, const struct control_message *question,
		    struct control_message *answer, uint8_t *blocks);

/** Connects. Returns a descriptor to close, or a negative errno. */
int control_connect(const char *path);

/**
 * Asks a question and takes the answer, of which nothing is believed that does not fit the question.
 * @blocks: for CONTROL_READ, room for what is asked. Returns the answer's error, or -EPROTO.
 */
int control_ask(int connection, enum control_what what, uint64_t first, uint64_t count, struct control_message *answer,
		void *blocks);

#endif
