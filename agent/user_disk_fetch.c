/* Bringing a backup's blocks back: see user_disk_fetch.h. */
#include "user_disk_fetch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pack_source.h"
#include "store/expand.h"

static int report(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct agent *agent = context;

	pthread_mutex_lock(&agent->lock);
	agent->progress.done_bytes = done_bytes;
	agent->progress.total_bytes = total_bytes;
	pthread_mutex_unlock(&agent->lock);
	return agent->stopping;
}

static int run(struct agent *agent, struct user_disk *disk, struct pack_source *packs,
	       const char *envelope, int file, char version[65], struct problem *problem)
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
	if (result == 0)
		result = expand_version(disk->store, &disk->domain, id, file, &expanding, &expanded,
					problem);
	return result;
}

int user_disk_fetch(struct agent *agent, struct user_disk *disk, const char *name,
		    const char *envelope, int file, char version[65])
{
	struct problem problem = {.line = ""};
	struct pack_source packs;
	char prefix[224];
	int result;

	snprintf(prefix, sizeof(prefix), "/api/v1/device/disks/%s/packs/", name);
	result = pack_source_open(agent, prefix, envelope, strlen(envelope), &packs);
	if (result != 0)
		return agent_fail(agent, result, "%s: the server's backup is none", name);
	result = run(agent, disk, &packs, envelope, file, version, &problem);
	pack_source_close(&packs);
	pthread_mutex_lock(&agent->lock);
	memset(&agent->progress, 0, sizeof(agent->progress));
	pthread_mutex_unlock(&agent->lock);
	return result == 0 ? 0
			   : agent_fail(agent, result, "%s: %.280s", name,
					problem.line[0] ? problem.line : strerror(-result));
}
