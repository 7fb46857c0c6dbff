/*
 * Bringing a release: the manifest that the signed catalogue names by its hash, the map, the key;
 * then a guest can start ("ready"), and the blocks follow (arrival.h) until "complete". The image's
 * key is wrapped by the vault and never lies on the disk.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_call.h"
#include "agent_disks.h"
#include "agent_documents.h"
#include "agent_guest.h"
#include "agent_keys.h"
#include "agent_log.h"
#include "agent_policy.h"
#include "arrival.h"
#include "boot_trace.h"
#include "durable_file.h"
#include "trust/strict_json.h"

#define MANIFEST_MAX_BYTES (64u << 20)

struct installation {
	struct agent *agent;
	const char *image;
	const struct catalogue_release *release;
	char directory[AGENT_PATH_MAX]; /* of this release */
	char *envelope;
};

/** Fetches the image's key once and leaves it to the vault; fails while the vault is locked. */
static int have_key(struct installation *installation, unsigned char key[32])
{
	struct agent *agent = installation->agent;
	struct agent_key_source source = {.key = key};
	struct agent_http_answer answer;
	struct agent_blob blob;
	char name[2 * AGENT_NAME_MAX], path[160], error[256];
	json_t *reply = NULL;
	int result;

	snprintf(name, sizeof(name), "%s/image", installation->image);
	if (agent_database_key_get(agent->database, name, &blob) == 0 &&
	    agent_keys_release(agent->config.keyd, name, &blob, false, NULL, key, error) == 0)
		return 0;
	snprintf(path, sizeof(path), "/api/v1/device/images/%s/key", installation->image);
	result = agent_get(agent, path, 4096, &answer);
	if (result != 0)
		return result;
	if (strict_json_parse((const char *)answer.body, answer.body_bytes, 4096, &reply) != 0 ||
	    strict_json_bytes(reply, "key", key, 32) != 0)
		result = agent_fail(agent, -EPROTO, "%s: the server gave a key that is none",
				    installation->image);
	sodium_memzero(answer.body, answer.body_bytes);
	agent_http_free(&answer);
	json_decref(reply);
	if (result == 0 &&
	    (result = agent_keys_seal(agent->config.keyd, name, &source, NULL, &blob, error)) != 0)
		agent_fail(agent, result, "%s", error);
	if (result == 0 && agent_database_key_put(agent->database, name, &blob) != 0)
		result = agent_fail(agent, -EIO, "%s", agent_database_error(agent->database));
	return result;
}

/** The signed manifest: kept from an earlier try, or fetched; either way its hash is the
 * catalogue's. */
static int have_manifest(struct installation *installation)
{
	const struct catalogue_release *release = installation->release;
	struct agent *agent = installation->agent;
	char path[AGENT_PATH_MAX + 16], call[128], hex[65];
	unsigned char digest[32], *text = NULL;
	struct agent_http_answer answer;
	size_t size = 0;
	int result;

	snprintf(path, sizeof(path), "%s/manifest", installation->directory);
	if (durable_file_read(path, MANIFEST_MAX_BYTES, &text, &size) != 0) {
		sodium_bin2hex(hex, sizeof(hex), release->manifest, sizeof(release->manifest));
		snprintf(call, sizeof(call), "/api/v1/device/manifests/%s", hex);
		result = agent_get(agent, call, MANIFEST_MAX_BYTES, &answer);
		if (result != 0)
			return result;
		text = answer.body;
		size = answer.body_bytes;
	}
	crypto_hash_sha256(digest, text, size);
	if (memcmp(digest, release->manifest, sizeof(digest)) != 0) {
		free(text);
		unlink(path);
		return agent_fail(agent, -EKEYREJECTED,
				  "%s: release %llu: its manifest is not the signed one",
				  installation->image, (unsigned long long)release->release);
	}
	installation->envelope = (char *)text;
	result = durable_file_write(path, text, size, 0600);
	return result == 0 ? 0 : agent_fail(agent, result, "%s: %s", path, strerror(-result));
}

static int make_directories(struct installation *installation, uint64_t release,
			    char feed[AGENT_PATH_MAX])
{
	struct agent *agent = installation->agent;
	char place[AGENT_PATH_MAX];
	int result = agent_disks_feed(agent, installation->image, release, feed);

	agent_disks_release_path(agent, installation->image, release, "", installation->directory);
	installation->directory[strlen(installation->directory) - 1] = '\0';
	if (result == 0)
		result = durable_file_make_directory(installation->directory, 0700);
	if (result == 0) {
		memcpy(place, feed, sizeof(place));
		*strrchr(place, '/') = '\0';
		result = durable_file_make_directory(place, 0700);
	}
	return result == 0 ? 0
			   : agent_fail(agent, result, "%s: %s", installation->directory,
					strerror(-result));
}

/** Whether the guest can do without this release for some hours: it has another one whole. */
static bool can_wait(struct agent *agent, const char *image, uint64_t release)
{
	struct agent_guest_row row;

	return agent_database_guest_get(agent->database, image, &row) == 0 && row.current != 0 &&
	       row.current != release && agent_disks_complete(agent, image, row.current);
}

static int open_arrival(struct installation *installation, uint64_t release, const char *feed,
			struct arrival **arrival)
{
	const struct arrival_request request = {.can_wait = can_wait(installation->agent,
								     installation->image, release),
						.image = installation->image,
						.release = release,
						.directory = installation->directory,
						.feed = feed,
						.envelope = installation->envelope};

	return arrival_open(installation->agent, &request, arrival);
}

/** From here on a guest can start. */
static int make_ready(struct installation *installation, struct arrival *arrival)
{
	char path[AGENT_PATH_MAX + 16], hex[AGENT_VERSION_TEXT];
	unsigned char key[32];
	/* The key needs a lease: blocks may arrive before one does, a start may not. */
	int result = have_key(installation, key);

	if (result == 0 && !arrival_started(arrival))
		boot_trace_follow(installation->agent, arrival, key);
	sodium_memzero(key, sizeof(key));
	if (result != 0)
		return result;
	store_hex(arrival_version(arrival), VERSION_ID_BYTES, hex);
	snprintf(path, sizeof(path), "%s/ready", installation->directory);
	result = durable_file_write(path, hex, strlen(hex), 0600);
	if (result != 0)
		return agent_fail(installation->agent, result, "%s: %s", path, strerror(-result));
	agent_log(AGENT_INFO, "release.ready", "s:s, s:I", "image", installation->image, "release",
		  (json_int_t)arrival_release(arrival));
	return 0;
}

/** Whether there is space for it by quota: the frames that are missing, and what they expand to. */
static int fits(struct installation *installation, struct arrival *arrival)
{
	struct agent *agent = installation->agent;
	struct arrival_progress progress;

	if (agent_policy_quota(agent) == 0)
		return 0;
	arrival_progress(arrival, &progress);
	return agent_policy_fits(agent, installation->image, arrival_release(arrival),
				 agent_disks_used(agent),
				 progress.total_bytes - progress.done_bytes +
				     arrival_manifest(arrival)->data_blocks * BLOCK_BYTES);
}

static int begin(struct installation *installation)
{
	uint64_t release = installation->release->release;
	char feed[AGENT_PATH_MAX];
	struct arrival *arrival;
	int result = make_directories(installation, release, feed), started;

	if (result == 0)
		result = have_manifest(installation);
	if (result == 0)
		agent_documents_cache(installation->agent);
	if (result == 0)
		result = open_arrival(installation, release, feed, &arrival);
	if (result != 0)
		return result;
	result = fits(installation, arrival);
	if (result != 0) {
		arrival_close(arrival);
		return result;
	}
	boot_trace_fetch(installation->agent, arrival);
	if (!agent_disks_ready(installation->agent, installation->image, release, NULL))
		result = make_ready(installation, arrival);
	started = arrival_start(arrival);
	return result ? result : started;
}

/** What keeps an arrival waiting is this round's trouble. */
static int look_at(struct installation *installation, struct arrival *arrival)
{
	struct arrival_progress progress;
	int result = 0;

	if (!agent_disks_ready(installation->agent, installation->image, arrival_release(arrival),
			       NULL)) {
		agent_disks_release_path(installation->agent, installation->image,
					 arrival_release(arrival), "", installation->directory);
		installation->directory[strlen(installation->directory) - 1] = '\0';
		result = make_ready(installation, arrival);
	}
	arrival_progress(arrival, &progress);
	if (result == 0 && progress.error[0])
		result = agent_fail(installation->agent, -EIO, "%.120s: release %llu: %.160s",
				    installation->image,
				    (unsigned long long)arrival_release(arrival), progress.error);
	return result;
}

int agent_disks_install(struct agent *agent, const char *image,
			const struct catalogue_release *release)
{
	struct installation installation = {.agent = agent, .image = image, .release = release};
	struct arrival *arrival = arrival_find(agent, image, release->release);
	int result;

	if (agent_disks_complete(agent, image, release->release) &&
	    agent_disks_ready(agent, image, release->release, NULL))
		return 0;
	result = arrival ? look_at(&installation, arrival) : begin(&installation);
	free(installation.envelope);
	return result;
}

int agent_disks_resume(struct agent *agent, const char *image, uint64_t release)
{
	struct installation installation = {.agent = agent, .image = image};
	char path[AGENT_PATH_MAX], feed[AGENT_PATH_MAX];
	struct arrival *arrival;
	size_t size;
	int result;

	if (!agent_disks_ready(agent, image, release, NULL) ||
	    agent_disks_complete(agent, image, release) || arrival_find(agent, image, release))
		return 0;
	result = make_directories(&installation, release, feed);
	agent_disks_release_path(agent, image, release, "manifest", path);
	if (result == 0) {
		result = durable_file_read(path, MANIFEST_MAX_BYTES,
					   (unsigned char **)&installation.envelope, &size);
		if (result != 0)
			agent_fail(agent, result, "%s: %s", path, strerror(-result));
	}
	if (result == 0)
		result = open_arrival(&installation, release, feed, &arrival);
	free(installation.envelope);
	return result ? result : arrival_start(arrival);
}

/** Whether anybody needs the arrival: the state wants the release, or a guest runs on it. */
static bool is_needed(struct agent *agent, const struct arrival *arrival)
{
	const char *image = arrival_image(arrival);
	uint64_t release = arrival_release(arrival);
	bool complete = agent_disks_complete(agent, image, release);
	const struct agent_running *running;
	struct agent_guest_row row;
	bool needed;

	pthread_mutex_lock(&agent->lock);
	running = agent_guest_running(agent, image);
	needed = running && running->release == release;
	pthread_mutex_unlock(&agent->lock);
	if (needed || agent_database_guest_get(agent->database, image, &row) != 0)
		return needed;
	return !complete && row.assigned && (row.wanted == release || row.current == release);
}

void agent_disks_settle(struct agent *agent)
{
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (agent->arrivals[i] && !is_needed(agent, agent->arrivals[i]))
			arrival_close(agent->arrivals[i]);
}
