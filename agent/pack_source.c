/*
 * Where the store fetches packs from: see pack_source.h. A cache saves the company's line and is
 * trusted with nothing: what it gives is checked like what the server gives, and whatever it does
 * wrong costs a request.
 */
#include "pack_source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent_log.h"

#define TRIES	    8
#define CACHE_TRIES 2
#define CACHE_RESTS 64 /* requests; a cache that is down costs a try in so many */

void pack_source_name(const struct manifest_pack *pack, char name[65])
{
	store_hex(pack->table_name, NAME_BYTES, name);
}

static int tick(void *context)
{
	const struct pack_source *source = context;

	return source->agent->stopping || __atomic_load_n(&source->stop, __ATOMIC_RELAXED);
}

/** A line for one request: an idle one, a new one, or the next that becomes idle. */
static struct pack_line take(struct pack_source *source, bool *use_cache)
{
	struct pack_line line = {NULL, NULL};

	pthread_mutex_lock(&source->lock);
	while (source->busy_count == source->connections)
		pthread_cond_wait(&source->idle_again, &source->lock);
	source->busy_count++;
	if (source->idle_count > 0)
		line = source->idle[--source->idle_count];
	*use_cache = !source->cache_is_bad && source->cache_rests == 0;
	if (source->cache_rests > 0)
		source->cache_rests--;
	pthread_mutex_unlock(&source->lock);
	return line;
}

static void give_back(struct pack_source *source, const struct pack_line *line, int result)
{
	pthread_mutex_lock(&source->lock);
	if (result != 0 && line->server)
		snprintf(source->error, sizeof(source->error), "%s", agent_http_error(line->server));
	source->idle[source->idle_count++] = *line;
	source->busy_count--;
	pthread_cond_signal(&source->idle_again);
	pthread_mutex_unlock(&source->lock);
}

/** The cache failed: it rests, and is tried again after a while. */
static void rest_cache(struct pack_source *source, const char *why)
{
	bool told;

	pthread_mutex_lock(&source->lock);
	told = source->cache_rests > 0;
	source->cache_rests = CACHE_RESTS;
	pthread_mutex_unlock(&source->lock);
	if (!told)
		agent_log(AGENT_WARNING, "cache.failed", "s:s, s:s", "reason", why, "detail",
			  "packs come from the server meanwhile");
}

static int from_cache(struct pack_source *source, struct pack_line *line, const char *path,
		      uint64_t offset, void *buffer, size_t bytes)
{
	int result;

	if (!line->cache) {
		line->cache = agent_http_to_cache(source->agent);
		if (!line->cache)
			return -ENOMEM;
		agent_http_set_tick(line->cache, tick, source);
	}
	result = agent_http_fetch_range(line->cache, path, offset, buffer, bytes, CACHE_TRIES);
	if (result == 0)
		__atomic_add_fetch(&source->from_cache_bytes, bytes, __ATOMIC_RELAXED);
	else if (result != -ECANCELED)
		rest_cache(source, agent_http_error(line->cache));
	return result;
}

static int from_server(struct pack_source *source, struct pack_line *line, const char *path,
		       uint64_t offset, void *buffer, size_t bytes)
{
	if (!line->server) {
		line->server = agent_http_to_server(source->agent);
		if (!line->server)
			return -ENOMEM;
		agent_http_set_tick(line->server, tick, source);
	}
	return agent_http_fetch_range(line->server, path, offset, buffer, bytes, TRIES);
}

static int read_pack(void *context, const uint8_t salt[SALT_BYTES], uint64_t offset, size_t bytes,
		     void *buffer)
{
	struct pack_source *source = context;
	struct pack_line line;
	char path[320], name[65];
	int result = -ENOENT;
	bool use_cache;

	for (uint32_t i = 0; i < source->manifest.pack_count; i++) {
		if (memcmp(source->manifest.packs[i].salt, salt, SALT_BYTES) != 0)
			continue;
		pack_source_name(&source->manifest.packs[i], name);
		snprintf(path, sizeof(path), "%s%s", source->prefix, name);
		line = take(source, &use_cache);
		result = use_cache ? from_cache(source, &line, path, offset, buffer, bytes) : -EAGAIN;
		if (result != 0 && result != -ECANCELED)
			result = from_server(source, &line, path, offset, buffer, bytes);
		give_back(source, &line, result);
		break;
	}
	return result;
}

bool pack_source_leave_cache(struct pack_source *source)
{
	bool left;

	pthread_mutex_lock(&source->lock);
	left = !source->cache_is_bad && source->from_cache_bytes > 0;
	source->cache_is_bad |= left;
	pthread_mutex_unlock(&source->lock);
	if (left)
		agent_log(AGENT_WARNING, "cache.refused", "s:s, s:s", "cache", source->agent->packs_url,
			  "reason", "it gave bytes that are not the signed ones; the server is asked");
	return left;
}

int pack_source_open(struct agent *agent, const char *prefix, const char *envelope_text,
		     size_t envelope_bytes, unsigned int connections, bool may_use_cache,
		     struct pack_source *source)
{
	struct dsse_envelope envelope;
	int result = dsse_parse(envelope_text, envelope_bytes, &envelope);

	memset(source, 0, sizeof(*source));
	if (result != 0)
		return result;
	result = manifest_read(envelope.payload, envelope.payload_bytes, &source->manifest);
	dsse_release(&envelope);
	if (result != 0)
		return result;
	source->agent = agent;
	snprintf(source->prefix, sizeof(source->prefix), "%s", prefix);
	source->source = (struct fetch_source){read_pack, source};
	source->cache_is_bad = !may_use_cache || !agent->packs_url[0];
	source->connections = connections < PACK_SOURCE_CONNECTIONS_MAX
				  ? connections
				  : PACK_SOURCE_CONNECTIONS_MAX;
	pthread_mutex_init(&source->lock, NULL);
	pthread_cond_init(&source->idle_again, NULL);
	return 0;
}

void pack_source_close(struct pack_source *source)
{
	while (source->idle_count > 0) {
		struct pack_line *line = &source->idle[--source->idle_count];

		agent_http_close(line->cache);
		agent_http_close(line->server);
	}
	manifest_release(&source->manifest);
	pthread_cond_destroy(&source->idle_again);
	pthread_mutex_destroy(&source->lock);
}

void pack_source_error(struct pack_source *source, char error[AGENT_ERROR_MAX])
{
	pthread_mutex_lock(&source->lock);
	memcpy(error, source->error, AGENT_ERROR_MAX);
	pthread_mutex_unlock(&source->lock);
}
