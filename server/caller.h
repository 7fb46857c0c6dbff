/* caller.h: who asks: a device by its certificate, a person by a token. */
#ifndef SERVER_CALLER_H
#define SERVER_CALLER_H

#include "server/http_handshake.h"
#include "server/request.h"

/** What is known of one connection's peer. */
struct peer {
	bool is_checked;
	bool has_certificate;
	uint8_t certificate_hash[32];
	struct handshake handshake;
};

/** Settles whether the caller may make this call. Returns 0 or what problem() returned. */
int caller_admit(struct request *request, struct peer *peer);

/** Notes the address of the peer. */
void caller_address(struct request *request);

#endif
