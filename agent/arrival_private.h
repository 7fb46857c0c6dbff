/* What the files of an arrival share; see arrival.h. */
#ifndef AGENT_ARRIVAL_PRIVATE_H
#define AGENT_ARRIVAL_PRIVATE_H

#include "arrival.h"
#include "pack_source.h"

#define FEED_CONNECTIONS 32

/** One disk server's connection. */
struct feed_connection {
	struct arrival *arrival;
	int file; /* -1: the place is free */
	pthread_t thread;
	bool over; /* the thread has ended; atomic */
};

struct arrival {
	struct agent *agent;
	char image[AGENT_NAME_MAX];
	uint64_t release;
	char directory[AGENT_PATH_MAX], feed[AGENT_PATH_MAX];
	struct store *store;
	struct pack_source packs;
	bool source_open, can_wait;
	struct fetch *fetch;
	struct frame_address *first; /* of a boot trace */
	size_t first_count;
	struct problem problem; /* the thread's alone */

	pthread_t thread;
	bool has_thread;
	unsigned int urgent; /* frames that a guest waits for now; atomic */
	uint64_t asked;	     /* such frames so far; atomic */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct arrival_progress progress; /* under lock */

	/* arrival_feed.c */
	int listener, stop_event;
	pthread_t feed_thread;
	bool has_feed_thread;
	int64_t last_checkpoint; /* for what nobody waits for; under lock */
	struct feed_connection connections[FEED_CONNECTIONS];
};

static inline bool arrival_stops(const struct arrival *arrival)
{
	return arrival->agent->stopping || __atomic_load_n(&arrival->packs.stop, __ATOMIC_RELAXED);
}

/** Remembers why it does not go on. */
void arrival_note(struct arrival *arrival, int result);

int arrival_feed_start(struct arrival *arrival);
void arrival_feed_stop(struct arrival *arrival);

#endif
