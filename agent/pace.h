/**
 * How fast transfers may go: one budget for everything that the agent receives and one for what it
 * sends, however many connections share it. Threads may use it at any time.
 */
#ifndef AGENT_PACE_H
#define AGENT_PACE_H

#include <pthread.h>
#include <stdint.h>

struct pace {
	pthread_mutex_t lock;
	uint64_t bytes_per_second; /* 0: no limit */
	int64_t paid_until_ns;	   /* everything taken so far is paid for at this time */
};

/** No limit to begin with. */
void pace_init(struct pace *pace);
void pace_destroy(struct pace *pace);

/** Another limit from now on; what was taken under the old one is forgiven. */
void pace_set(struct pace *pace, uint64_t bytes_per_second);

uint64_t pace_get(struct pace *pace);

/**
 * Takes bytes that have been moved. Returns the nanoseconds to wait before more may be moved; 0:
 * none. `now_ns` is of a clock that never goes back.
 */
int64_t pace_take(struct pace *pace, uint64_t bytes, int64_t now_ns);

#endif
