/** Calls to bulkhead-keyd from the agent: one connection a call, so that nothing is left over when
 * either restarts. */
#ifndef AGENT_KEYD_CLIENT_H
#define AGENT_KEYD_CLIENT_H

#include "keyd_wire.h"

/** An answer; `message` points into `bytes`. Overwrite with keyd_client_forget() when it held a
 * key. */
struct keyd_answer {
	unsigned char bytes[KEYD_MESSAGE_MAX_BYTES];
	struct keyd_message message;
	char error[256]; /* one line for a person when the call failed */
};

/**
 * Sends what `call` holds (begun and filled, not ended) to the daemon at `path`, beside it the file descriptor of a
 * `guest` (-1: none), and waits up to a minute for its answer. Returns 0, the daemon's errno negated, or -ECONNREFUSED and the like when
 * it does not answer; `answer->error` is set.
 */
int keyd_client_call(const char *path, struct keyd_writer *call, int guest, struct keyd_answer *answer);

void keyd_client_forget(struct keyd_answer *answer);

#endif
