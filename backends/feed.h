/*
 * How a backend that lacks a frame gets it: it asks over a Unix socket whoever may talk to the network (the agent), and
 * that one puts the frame into the store both share. The backend so needs no network, the other no key.
 *
 * Question: 16 bytes salt of the pack, 4 bytes number of the frame, 4 bytes 1 if someone waits for it, else 0.
 * Answer: 4 bytes: 0, or a negative errno (-EAGAIN: not now, ask again). Integers are little-endian. One question at a time on a connection.
 */
#ifndef BULKHEAD_BACKENDS_FEED_H
#define BULKHEAD_BACKENDS_FEED_H

#include "store/manifest.h"

struct feed_question {
	uint8_t salt[SALT_BYTES];
	uint32_t number;
	uint32_t urgent;
};
_Static_assert(sizeof(struct feed_question) == 24, "on the socket");

struct feed;

/** Prepares to ask at @path; connects when first needed. NULL: out of memory or the path is too long. */
struct feed *feed_new(const char *path);
void feed_free(struct feed *feed);

/** Asks and waits for the answer, up to two minutes. Threads may call this at the same time. Returns 0 or an errno. */
int feed_ask(struct feed *feed, const struct frame_address *address, bool urgent);

/**
 * The other side: answers questions on a connection until it is closed.
 * @get  brings a frame into the store; called on this thread. Returns 0 or a negative errno.
 */
void feed_answer(int connection, int (*get)(void *context, const struct frame_address *address, bool urgent),
		 void *context);

#endif
