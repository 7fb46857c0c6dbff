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

static int read_pack(void *context, const uint8_t salt[SALT_BYTES], uint64_t offset, size_t bytes,
		     void *buffer)
{
	struct pack_source *source = context;
	char path[320], name[65];
	int result = -ENOENT;

	for (uint32_t i = 0; i < source->manifest.pack_count; i++) {
		if (memcmp(source->manifest.packs[i].salt, salt, SALT_BYTES) != 0)
			continue;
		pack_source_name(&source->manifest.packs[i], name);
		snprintf(path, sizeof(path), "%s%s", source->prefix, name);
		pthread_mutex_lock(&source->lock);
		result =
		    agent_http_fetch_range(source->agent->http, path, offset, buffer, bytes, TRIES);
		if (result != 0)
			agent_fail(source->agent, result, "%s",
				   agent_http_error(source->agent->http));
		pthread_mutex_unlock(&source->lock);
		break;
	}
	return result;
}

int pack_source_open(struct agent *agent, const char *prefix, const char *envelope_text,
		     size_t envelope_bytes, struct pack_source *source)
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
	source->prefix = prefix;
	source->source = (struct fetch_source){read_pack, source};
	pthread_mutex_init(&source->lock, NULL);
	return 0;
}

void pack_source_close(struct pack_source *source)
{
	manifest_release(&source->manifest);
	pthread_mutex_destroy(&source->lock);
}
