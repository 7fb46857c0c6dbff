/* Bringing a backup's blocks back: see user_disk_fetch.h. */
#include "user_disk_fetch.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_disks.h"
#include "agent_sync.h"
#include "pack_source.h"
#include "store/expand.h"
#include "store/image.h"

#define COPY_BLOCKS 64

static int report(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct agent *agent = context;

	pthread_mutex_lock(&agent->lock);
	agent->progress.done_bytes = done_bytes;
	agent->progress.total_bytes = total_bytes;
	pthread_mutex_unlock(&agent->lock);
	return agent_sync_between(agent) != 0;
}

/** Copies the blocks of a version that are not zero into a layer. */
static int copy_blocks(struct agent *agent, struct image *image, struct layer *layer)
{
	uint64_t blocks = manifest_blocks(image_manifest(image)), at = 0;
	unsigned char *bytes = malloc((size_t)COPY_BLOCKS * BLOCK_BYTES);
	struct block_ref refs[COPY_BLOCKS];
	struct image_frame missing;
	int result = bytes ? 0 : -ENOMEM;

	while (result == 0 && at < blocks) {
		uint32_t count = blocks - at < COPY_BLOCKS ? (uint32_t)(blocks - at) : COPY_BLOCKS;
		uint32_t first = 0, run;

		result = image_locate(image, at, count, refs, &missing);
		for (; result == 0 && first < count; first += run) {
			bool zero = ref_is_zero(refs[first]);

			for (run = 1; first + run < count && ref_is_zero(refs[first + run]) == zero; run++)
				;
			if (zero)
				continue;
			result = image_read(image, at + first, run, bytes, &missing);
			if (result == 0)
				result = layer_write(layer, at + first, run, bytes);
		}
		at += count;
		if (result == 0 && report(agent, at * BLOCK_BYTES, blocks * BLOCK_BYTES))
			result = -ECANCELED;
	}
	if (bytes)
		sodium_memzero(bytes, (size_t)COPY_BLOCKS * BLOCK_BYTES);
	free(bytes);
	return result;
}

/** Nothing has changed since the backup that the layer came from. */
static int settle_layer(struct layer *layer, struct problem *problem)
{
	int result = layer_backup_begin(layer, problem);

	return result ? result : layer_backup_end(layer, true);
}

int user_disk_fill(struct agent *agent, struct user_disk *disk, const uint8_t id[VERSION_ID_BYTES],
		   const struct user_disk_target *target, struct problem *problem)
{
	struct served_options options = {.state = target->folder,
					 .key = target->key,
					 .layer = target->layer,
					 .layer_label = target->label,
					 .stop_fd = -1};
	char path[AGENT_PATH_MAX + 80], version[2 * VERSION_ID_BYTES + 1];
	struct served *served = NULL;
	struct image *image;
	int result = image_open(disk->store, &disk->domain, id, &image, problem), closed;

	if (result != 0)
		return result;
	options.layer_bytes = image_manifest(image)->disk_bytes;
	snprintf(path, sizeof(path), "%s/%s", target->folder, target->layer);
	result = agent_disks_remove_layer(path);
	if (result == 0)
		result = served_open(&options, &served, problem);
	if (result == 0)
		result = copy_blocks(agent, image, served_layer(served));
	if (result == 0)
		result = settle_layer(served_layer(served), problem);
	if (served) {
		closed = served_close(served, problem);
		result = result ? result : closed;
	}
	store_hex(id, VERSION_ID_BYTES, version);
	if (result == 0)
		result = disk_reader_set_base(path, version);
	image_close(image);
	return result;
}

static int run(struct agent *agent, struct user_disk *disk, struct pack_source *packs,
	       const char *envelope, const struct user_disk_target *target, char version[65],
	       struct problem *problem)
{
	const struct version_trust trust = {user_disk_verify, disk};
	const struct fetch_options fetching = {.threads = 1, .progress = {report, agent}};
	const struct expand_options expanding = {.threads = 1, .progress = {report, agent}};
	struct expand_result expanded;
	uint8_t id[VERSION_ID_BYTES];
	struct fetch *fetch;
	int result = fetch_open(disk->store, &packs->source, envelope, strlen(envelope), &trust,
				&fetch, problem),
	    closed;

	if (result == -EKEYREJECTED)
		return problem_set(problem, result,
				   "this backup was not made with this disk's key");
	if (result != 0)
		return result;
	memcpy(id, fetch_version_id(fetch), sizeof(id));
	result = fetch_run(fetch, &fetching, problem);
	closed = fetch_close(fetch);
	if (result == 0)
		result = closed;
	store_hex(id, sizeof(id), version);
	if (result != 0)
		return result;
	return target->file >= 0 ? expand_version(disk->store, &disk->domain, id, target->file,
						  &expanding, &expanded, problem)
				 : user_disk_fill(agent, disk, id, target, problem);
}

int user_disk_fetch(struct agent *agent, struct user_disk *disk, const char *name,
		    const char *envelope, const struct user_disk_target *target, char version[65])
{
	struct problem problem = {.line = ""};
	struct pack_source packs;
	char prefix[224];
	int result;

	snprintf(prefix, sizeof(prefix), "/api/v1/device/disks/%s/packs/", name);
	result = pack_source_open(agent, prefix, envelope, strlen(envelope), 1, false, &packs);
	if (result != 0)
		return agent_fail(agent, result, "%s: the server's backup is none", name);
	result = run(agent, disk, &packs, envelope, target, version, &problem);
	pack_source_close(&packs);
	pthread_mutex_lock(&agent->lock);
	memset(&agent->progress, 0, sizeof(agent->progress));
	pthread_mutex_unlock(&agent->lock);
	return result == 0 || agent->orders_first
		   ? result
		   : agent_fail(agent, result, "%s: %.280s", name,
					problem.line[0] ? problem.line : strerror(-result));
}
