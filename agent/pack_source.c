/* Where the store fetches packs from: see pack_source.h. */
#include "pack_source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRIES 8

void pack_source_name(const struct manifest_pack *pack, char name[65])
{
	store_hex(pack->table_name, NAME_BYTES, name);
}

static int tick(void *context)
{
	const struct pack_source *source = context;

	return source->agent->stopping || __atomic_load_n(&source->stop, __ATOMIC_RELAXED);
}

/** A connection for one request: an idle one, a new one, or the next that becomes idle. */
static struct agent_http *take(struct pack_source *source)
{
	struct agent_http *http = NULL;

	pthread_mutex_lock(&source->lock);
	while (source->idle_count == 0 && source->open_count == source->connections)
		pthread_cond_wait(&source->idle_again, &source->lock);
	if (source->idle_count > 0) {
		http = source->idle[--source->idle_count];
	} else {
		http = agent_http_to_server(source->agent);
		if (http) {
			agent_http_set_tick(http, tick, source);
			source->open_count++;
		}
	}
	pthread_mutex_unlock(&source->lock);
	return http;
}

static void give_back(struct pack_source *source, struct agent_http *http, int result)
{
	pthread_mutex_lock(&source->lock);
	if (result != 0)
		snprintf(source->error, sizeof(source->error), "%s", agent_http_error(http));
	source->idle[source->idle_count++] = http;
	pthread_cond_signal(&source->idle_again);
	pthread_mutex_unlock(&source->lock);
}

static int read_pack(void *context, const uint8_t salt[SALT_BYTES], uint64_t offset, size_t bytes,
		     void *buffer)
{
	struct pack_source *source = context;
	struct agent_http *http;
	char path[320], name[65];
	int result = -ENOENT;

	for (uint32_t i = 0; i < source->manifest.pack_count; i++) {
		if (memcmp(source->manifest.packs[i].salt, salt, SALT_BYTES) != 0)
			continue;
		pack_source_name(&source->manifest.packs[i], name);
		snprintf(path, sizeof(path), "%s%s", source->prefix, name);
		http = take(source);
		if (!http)
			return -ENOMEM;
		agent_http_set_limit(http, __atomic_load_n(&source->limit, __ATOMIC_RELAXED));
		result = agent_http_fetch_range(http, path, offset, buffer, bytes, TRIES);
		give_back(source, http, result);
		break;
	}
	return result;
}

int pack_source_open(struct agent *agent, const char *prefix, const char *envelope_text,
		     size_t envelope_bytes, unsigned int connections, struct pack_source *source)
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
	source->connections = connections < PACK_SOURCE_CONNECTIONS_MAX
				  ? connections
				  : PACK_SOURCE_CONNECTIONS_MAX;
	pthread_mutex_init(&source->lock, NULL);
	pthread_cond_init(&source->idle_again, NULL);
	return 0;
}

void pack_source_close(struct pack_source *source)
{
	while (source->idle_count > 0)
		agent_http_close(source->idle[--source->idle_count]);
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
