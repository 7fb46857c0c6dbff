/*
 * Installing a release: the manifest that the signed catalogue names by its hash, then every block
 * that is not here, going on where an earlier try stopped; at last one file that says "complete".
 * The image's key is wrapped by the vault and never lies on the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent_disks.h"
#include "agent_keys.h"
#include "agent_log.h"
#include "durable_file.h"
#include "pack_source.h"
#include "store/expand.h"
#include "trust/strict_json.h"

#define MANIFEST_MAX_BYTES (64u << 20)

struct installation {
	struct agent *agent;
	const char *image;
	const struct catalogue_release *release;
	char directory[AGENT_PATH_MAX]; /* of this release */
	struct store *store;		/* of the image's family */
	char *envelope;
	struct problem problem;
};

static int say_why(struct installation *installation, int result)
{
	return agent_fail(installation->agent, result, "%s: release %llu: %.200s",
			  installation->image, (unsigned long long)installation->release->release,
			  installation->problem.line[0] ? installation->problem.line
							: strerror(-result));
}

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
	    agent_keys_release(agent->config.keyd, name, &blob, false, key, error) == 0)
		return 0;
	snprintf(path, sizeof(path), "/api/v1/device/images/%s/key", installation->image);
	result = agent_http_call(agent->http, "GET", path, NULL, NULL, 0, 4096, &answer);
	if (result == 0)
		result = agent_http_check(agent->http, &answer);
	if (result != 0) {
		agent_http_free(&answer);
		return agent_fail(agent, result, "%s", agent_http_error(agent->http));
	}
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
		result = agent_http_call(agent->http, "GET", call, NULL, NULL, 0,
					 MANIFEST_MAX_BYTES, &answer);
		if (result == 0)
			result = agent_http_check(agent->http, &answer);
		if (result != 0) {
			agent_http_free(&answer);
			return agent_fail(agent, result, "%s", agent_http_error(agent->http));
		}
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

/** The catalogue's signature covers the manifest's bytes; its own must be of the same role all the
 * same. */
static int verify(void *context, const struct dsse_envelope *envelope)
{
	const struct agent *agent = context;

	return roles_verify(&agent->memory.roles, ROLE_IMAGES, DSSE_TYPE_MANIFEST, envelope);
}

static int report(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct agent *agent = context;

	pthread_mutex_lock(&agent->lock);
	agent->progress.done_bytes = done_bytes;
	agent->progress.total_bytes = total_bytes;
	pthread_mutex_unlock(&agent->lock);
	return agent->stopping;
}

/** Fetches what is missing; `id` gets the version. */
static int fetch(struct installation *installation, uint8_t id[VERSION_ID_BYTES])
{
	const struct version_trust trust = {verify, installation->agent};
	const struct fetch_options options = {.threads = 1,
					      .progress = {report, installation->agent}};
	size_t envelope_bytes = strlen(installation->envelope);
	struct pack_source packs;
	struct fetch_result totals;
	struct fetch *fetch;
	int result = pack_source_open(installation->agent, "/packs/", installation->envelope,
				      envelope_bytes, &packs),
	    closed;

	if (result != 0)
		return result;
	result = fetch_open(installation->store, &packs.source, installation->envelope,
			    envelope_bytes, &trust, &fetch, &installation->problem);
	if (result == 0) {
		memcpy(id, fetch_version_id(fetch), VERSION_ID_BYTES);
		result = fetch_run(fetch, &options, &installation->problem);
		fetch_totals(fetch, &totals);
		closed = fetch_close(fetch);
		result = result ? result : closed;
		agent_log(AGENT_INFO, "release.fetched", "s:s, s:I, s:I, s:I", "image",
			  installation->image, "release",
			  (json_int_t)installation->release->release, "fetched_bytes",
			  (json_int_t)totals.fetched_bytes, "requests",
			  (json_int_t)totals.requests);
	}
	pack_source_close(&packs);
	return result;
}

/** Writes the system disk out, for a monitor that is given plain files. */
static int expand(struct installation *installation, const unsigned char key[32],
		  const uint8_t id[VERSION_ID_BYTES])
{
	const struct expand_options options = {.threads = 1,
					       .progress = {report, installation->agent}};
	char path[AGENT_PATH_MAX + 16], arriving[AGENT_PATH_MAX + 24];
	struct expand_result expanded;
	struct domain domain;
	int file, result = domain_open(key, &domain);

	if (result != 0)
		return result;
	snprintf(path, sizeof(path), "%s/disk", installation->directory);
	snprintf(arriving, sizeof(arriving), "%s.new", path);
	file = open(arriving, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	result = file < 0 ? -errno
			  : expand_version(installation->store, &domain, id, file, &options,
					   &expanded, &installation->problem);
	if (file >= 0)
		close(file);
	domain_forget(&domain);
	if (result == 0 && rename(arriving, path) != 0)
		result = -errno;
	if (result != 0)
		unlink(arriving);
	return result;
}

static int open_store(struct installation *installation)
{
	char path[AGENT_PATH_MAX], part[AGENT_NAME_MAX + 64];
	int result;

	snprintf(part, sizeof(part), "images/%s/store", installation->image);
	agent_path(installation->agent, part, path);
	snprintf(part, sizeof(part), "images/%s/%llu", installation->image,
		 (unsigned long long)installation->release->release);
	agent_path(installation->agent, part, installation->directory);
	result = durable_file_make_directory(installation->directory, 0700);
	return result ? result
		      : store_open(path, true, &installation->store, &installation->problem);
}

static int install(struct installation *installation)
{
	char path[AGENT_PATH_MAX + 16], hex[2 * VERSION_ID_BYTES + 1];
	uint8_t id[VERSION_ID_BYTES];
	unsigned char key[32];
	int result = have_manifest(installation);

	if (result != 0)
		return result;
	result = fetch(installation, id);
	if (result != 0)
		return say_why(installation, result);
	/* The key needs a lease: blocks may arrive before one does, a disk may not. */
	result = have_key(installation, key);
	if (result != 0)
		return result;
	result = expand(installation, key, id);
	sodium_memzero(key, sizeof(key));
	store_hex(id, sizeof(id), hex);
	snprintf(path, sizeof(path), "%s/complete", installation->directory);
	if (result == 0)
		result = durable_file_write(path, hex, strlen(hex), 0600);
	return result == 0 ? 0 : say_why(installation, result);
}

int agent_disks_install(struct agent *agent, const char *image,
			const struct catalogue_release *release)
{
	struct installation installation = {.agent = agent, .image = image, .release = release};
	int result;

	pthread_mutex_lock(&agent->lock);
	agent->progress = (struct agent_progress){.release = release->release};
	snprintf(agent->progress.guest, sizeof(agent->progress.guest), "%s", image);
	pthread_mutex_unlock(&agent->lock);
	result = open_store(&installation);
	result = result ? say_why(&installation, result) : install(&installation);
	if (installation.store)
		store_close(installation.store);
	free(installation.envelope);
	pthread_mutex_lock(&agent->lock);
	memset(&agent->progress, 0, sizeof(agent->progress));
	pthread_mutex_unlock(&agent->lock);
	if (result == 0)
		agent_log(AGENT_INFO, "release.installed", "s:s, s:I", "image", image, "release",
			  (json_int_t)release->release);
	return result;
}
