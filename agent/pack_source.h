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

/** Who carries one request at a time: to the cache, and to the server. Each is opened when first needed. */
struct pack_line {
	struct agent_http *cache, *server;
};

struct pack_source {
	struct agent *agent;
	char prefix[224]; /* path before the name: "/packs/" or "/api/v1/device/disks/DISK/packs/" */
	struct manifest manifest;
	bool stop; /* set by whoever wants transfers to end */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t idle_again;
	struct pack_line idle[PACK_SOURCE_CONNECTIONS_MAX];
	unsigned int idle_count, busy_count, connections;
	unsigned int cache_rests; /* requests that go to the server before the cache is tried again */
	bool cache_is_bad;	  /* it gave wrong bytes, or there is none: only the server is asked */
	uint64_t from_cache_bytes;
	char error[AGENT_ERROR_MAX];
	struct fetch_source source;
};

/**
 * Opens a source for the packs of `envelope`'s manifest; signature: not checked here. It has up to
 * `connections` of its own, opened when first needed: so many requests run at a time. With
 * `may_use_cache` the cache that the server named (agent->packs_url) is asked first; what it does not
 * give, the server does. Returns 0, -EBADMSG or -ENOMEM.
 */
int pack_source_open(struct agent *agent, const char *prefix, const char *envelope,
		     size_t envelope_bytes, unsigned int connections, bool may_use_cache,
		     struct pack_source *source);

/** What arrived did not match its name: from now on only the server is asked. Returns false if it was
 * the server that gave it. */
bool pack_source_leave_cache(struct pack_source *source);

/** Closes it; nobody reads any more. */
void pack_source_close(struct pack_source *source);

/** One line about the last failure; empty if there was none. */
void pack_source_error(struct pack_source *source, char error[AGENT_ERROR_MAX]);

/** The name of a pack at the server: 64 hexadecimal digits. */
void pack_source_name(const struct manifest_pack *pack, char name[65]);

#endif
