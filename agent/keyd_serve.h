/**
 * Answers the calls of include/bulkhead/keyd.h from a vault. No sockets here: bytes in, bytes out,
 * so that the whole of it is tested and fuzzed on the host.
 */
#ifndef AGENT_KEYD_SERVE_H
#define AGENT_KEYD_SERVE_H

#include <sys/types.h>

#include "keyd_wire.h"
#include "vault.h"

/** Who may call: the kernel's word for the peer (SO_PEERCRED) is compared with these. */
struct keyd_access {
	uid_t agent; /* the agent's user: every call */
	uid_t state; /* may ask for the state only; (uid_t)-1: nobody */
};

/** Who calls. */
struct keyd_peer {
	uid_t user;
	const struct bulkhead_measurement *guest; /* of the guest that came with the call; NULL: none */
};

/**
 * Answers one message from `peer`. The answer in `answer` is always complete; it may hold a key, so
 * the caller overwrites it after sending.
 */
void keyd_serve(struct vault *vault, const struct keyd_access *access, const struct keyd_peer *peer,
		const unsigned char *bytes, size_t size_bytes, struct keyd_writer *answer);

#endif
