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

#define PACK_SOURCE_CONNECTIONS_MAX 4

struct pack_source {
	struct agent *agent;
	char prefix[224]; /* path before the name: "/packs/" or "/api/v1/device/disks/DISK/packs/" */
	struct manifest manifest;
	uint64_t limit; /* bytes a second of one connection; 0: none. May change at any time */
	bool stop;	/* set by whoever wants transfers to end */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t idle_again;
	struct agent_http *idle[PACK_SOURCE_CONNECTIONS_MAX];
	unsigned int idle_count, open_count, connections;
	char error[AGENT_ERROR_MAX];
	struct fetch_source source;
};

/**
 * Opens a source for the packs of `envelope`'s manifest; signature: not checked here. It has up to
 * `connections` of its own, opened when first needed: so many requests run at a time. Returns 0,
 * -EBADMSG or -ENOMEM.
 */
int pack_source_open(struct agent *agent, const char *prefix, const char *envelope,
		     size_t envelope_bytes, unsigned int connections, struct pack_source *source);

/** Closes it; nobody reads any more. */
void pack_source_close(struct pack_source *source);

/** One line about the last failure; empty if there was none. */
void pack_source_error(struct pack_source *source, char error[AGENT_ERROR_MAX]);

/** The name of a pack at the server: 64 hexadecimal digits. */
void pack_source_name(const struct manifest_pack *pack, char name[65]);

#endif
