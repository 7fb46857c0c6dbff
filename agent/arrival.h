/**
 * A release on its way to this PC. A thread brings every frame, in the order of a boot trace if
 * there is one; a socket (backends/feed.h) answers the disk server of a guest that runs already:
 * what that waits for is fetched first, on connections of its own, while the thread stands aside.
 *
 * Opening is done by the working thread; the rest goes by itself and survives a line that is down
 * for days.
 */
#ifndef AGENT_ARRIVAL_H
#define AGENT_ARRIVAL_H

#include "agent.h"
#include "store/store.h"

struct arrival;

/** What an arrival is of. */
struct arrival_request {
	const char *image;
	uint64_t release;
	const char *directory; /* of the release: "complete" is written here at the end */
	const char *feed;      /* where the disk server asks */
	const char *envelope;  /* the signed manifest */
	bool can_wait;	       /* the guest has another release: policy's hours of transfers hold */
};

/**
 * Begins: opens the store, checks the manifest's signature, fetches what it takes to find any block
 * (tables and map). Returns 0 or negative errno with agent->error; nothing runs yet.
 */
int arrival_open(struct agent *agent, const struct arrival_request *request,
		 struct arrival **arrival);

/** The version's id. */
const uint8_t *arrival_version(const struct arrival *arrival);

/** What is signed of it. */
const struct manifest *arrival_manifest(const struct arrival *arrival);

/** The store it arrives in. */
struct store *arrival_store(struct arrival *arrival);

/** These frames first; takes the array over. Before arrival_start(). */
void arrival_set_order(struct arrival *arrival, struct frame_address *first, size_t count);

bool arrival_started(const struct arrival *arrival);

/** Starts the thread and the socket, and makes it known in agent->arrivals. Returns 0 or negative
 * errno with agent->error; then it is closed. */
int arrival_start(struct arrival *arrival);

/** Ends it; what has arrived stays. It is forgotten in agent->arrivals. */
void arrival_close(struct arrival *arrival);
void arrival_close_all(struct agent *agent);

/** The one of that release, or NULL; `release` 0: any of the image. */
struct arrival *arrival_find(struct agent *agent, const char *image, uint64_t release);

struct arrival_progress {
	uint64_t done_bytes, total_bytes; /* of all the release's frames */
	bool complete;
	bool waits_for_window; /* policy says when it goes on */
	char error[AGENT_ERROR_MAX]; /* what it waits for; empty: nothing */
};

/** Threads may call this at any time between start and close. */
void arrival_progress(struct arrival *arrival, struct arrival_progress *progress);

uint64_t arrival_release(const struct arrival *arrival);
const char *arrival_image(const struct arrival *arrival);

#endif
