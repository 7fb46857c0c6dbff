/**
 * Where the store fetches packs from: the server, by HTTP ranges. A pack's name there is the
 * SHA-256 of its table, as the signed manifest has it; what arrives is believed only as far as the
 * store's own checks go.
 */
#ifndef AGENT_PACK_SOURCE_H
#define AGENT_PACK_SOURCE_H

#include "agent.h"
#include "store/fetch.h"
#include "store/manifest.h"

struct pack_source {
	struct agent *agent;
	const char
	    *prefix; /* path before the name: "/packs/" or "/api/v1/device/disks/DISK/packs/" */
	struct manifest manifest;
	pthread_mutex_t lock; /* one connection: requests take turns */
	struct fetch_source source;
};

/** Opens a source for the packs of `envelope`'s manifest. Returns 0, -EBADMSG or -ENOMEM.
 * Signature: not checked here. */
int pack_source_open(struct agent *agent, const char *prefix, const char *envelope,
		     size_t envelope_bytes, struct pack_source *source);

void pack_source_close(struct pack_source *source);

/** The name of a pack at the server: 64 hexadecimal digits. */
void pack_source_name(const struct manifest_pack *pack, char name[65]);

#endif
