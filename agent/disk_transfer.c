/* A user disk at the server: see disk_transfer.h. */
#include "disk_transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_call.h"
#include "agent_sync.h"
#include "pack_source.h"
#include "store/pack.h"
#include "trust/strict_json.h"

#define PART_BYTES	 (4u << 20)
#define PART_LEAST_BYTES (32u << 10)
#define TRIES		 12
#define BUSY_TRIES	 240 /* seconds */
#define ANSWER_MAX	 (1u << 20)

/** A call with a JSON body (taken over) or none; `*reply` gets the answer's JSON, may be NULL. */
static int call(struct agent *agent, const char *method, const char *path, json_t *body,
		json_t **reply, long *status)
{
	static const char *const headers[] = {"Content-Type: application/json", NULL};
	struct agent_http_answer answer;
	char *text = body ? strict_json_write(body) : NULL;
	int result = body && !text
			 ? -ENOMEM
			 : agent_http_call(agent->http, method, path, body ? headers : NULL, text,
					   text ? strlen(text) : 0, ANSWER_MAX, &answer);

	json_decref(body);
	free(text);
	if (reply)
		*reply = NULL;
	if (result != 0)
		return agent_fail(agent, result, "%s", agent_http_error(agent->http));
	if (status)
		*status = answer.status;
	result = agent_http_check(agent->http, &answer);
	if (reply && answer.body_bytes > 0 &&
	    strict_json_parse((const char *)answer.body, answer.body_bytes, ANSWER_MAX, reply) !=
		0 &&
	    result == 0)
		result = agent_fail(agent, -EPROTO, "the server gave an answer that is none");
	else if (result != 0)
		agent_fail(agent, result, "%s", agent_http_error(agent->http));
	agent_http_free(&answer);
	return result;
}

int disk_transfer_register(struct agent *agent, struct agent_disk_row *row)
{
	json_t *reply;
	int64_t epoch;
	int result = call(agent, "POST", "/api/v1/device/disks",
			  json_pack("{s:s}", "disk", row->disk), &reply, NULL);

	if (result == 0 && strict_json_integer(reply, "epoch", 1, INT64_MAX, &epoch) == 0)
		row->epoch = (uint64_t)epoch;
	else if (result == 0)
		result = agent_fail(agent, -EPROTO, "the server gave an answer that is none");
	json_decref(reply);
	return result;
}

/** Sends one part of a pack. `*offset` moves to where the server wants to go on. */
static int send_part(struct agent *agent, const char *path, const char *hash_header,
		     const unsigned char *bytes, size_t size, uint64_t total, uint64_t *offset,
		     bool *complete)
{
	char range[96];
	const char *headers[] = {"Content-Type: application/octet-stream", range, hash_header,
				 NULL};
	struct agent_http_answer answer;
	int result;

	snprintf(range, sizeof(range), "Content-Range: bytes %llu-%llu/%llu",
		 (unsigned long long)*offset, (unsigned long long)(*offset + size - 1),
		 (unsigned long long)total);
	result = agent_http_call(agent->http, "PUT", path, headers, bytes, size, 65536, &answer);
	if (result != 0)
		return agent_fail(agent, result, "%s", agent_http_error(agent->http));
	if (answer.upload_offset >= 0 && (uint64_t)answer.upload_offset <= total &&
	    (answer.status == 204 || answer.status == 409)) {
		*offset = (uint64_t)answer.upload_offset;
	} else {
		result = agent_http_check(agent->http, &answer);
		if (result != 0)
			agent_fail(agent, result, "%s", agent_http_error(agent->http));
		*complete = result == 0;
	}
	agent_http_free(&answer);
	return result;
}

static int hash_file(int file, unsigned char digest[32])
{
	crypto_hash_sha256_state state;
	unsigned char *bytes = malloc(PART_BYTES);
	off_t at = 0;
	ssize_t got = 0;

	crypto_hash_sha256_init(&state);
	while (bytes && (got = pread(file, bytes, PART_BYTES, at)) > 0) {
		crypto_hash_sha256_update(&state, bytes, (unsigned long long)got);
		at += got;
	}
	free(bytes);
	crypto_hash_sha256_final(&state, digest);
	return bytes && got == 0 ? 0 : -EIO;
}

/** Where the server wants to go on with a pack: 0 at first, the pack's size when it has all of it.
 */
static int ask_offset(struct agent *agent, const char *path, uint64_t total, uint64_t *offset,
		      bool *complete)
{
	static const char *const headers[] = {"Range: bytes=0-0", NULL};
	struct agent_http_answer answer;
	int result = agent_http_call(agent->http, "GET", path, headers, NULL, 0, 65536, &answer);

	if (result != 0)
		return agent_fail(agent, result, "%s", agent_http_error(agent->http));
	*offset = 0;
	*complete = answer.status == 200 || answer.status == 206;
	if (answer.status == 404 && answer.upload_offset > 0 &&
	    (uint64_t)answer.upload_offset < total)
		*offset = (uint64_t)answer.upload_offset;
	else if (!*complete && answer.status != 404)
		result = agent_http_check(agent->http, &answer);
	agent_http_free(&answer);
	return result == 0 ? 0 : agent_fail(agent, result, "%s", agent_http_error(agent->http));
}

/** Sends one part; what broke off is asked for anew, with smaller parts: such as the line carries.
 */
static int send_next(struct agent *agent, const char *path, const char *hash_header, int file,
		     uint64_t total, size_t *part, uint64_t *offset, bool *complete)
{
	unsigned char *bytes = malloc(*part);
	ssize_t got = bytes ? pread(file, bytes, *part, (off_t)*offset) : -1;
	int result = got > 0 ? send_part(agent, path, hash_header, bytes, (size_t)got, total,
					 offset, complete)
			     : agent_fail(agent, -EIO, "%s: the pack ends early", path);

	free(bytes);
	if (got <= 0)
		return -EBADMSG;
	if (result == 0)
		*part = *part * 2 < PART_BYTES ? *part * 2 : PART_BYTES;
	else
		*part = *part / 2 > PART_LEAST_BYTES ? *part / 2 : PART_LEAST_BYTES;
	return result;
}

static int send_file(struct agent *agent, const char *path, int file)
{
	char hash_header[96] = "Bulkhead-SHA-256: ";
	unsigned char digest[32];
	struct stat status;
	uint64_t offset = 0, total = 0, furthest = 0;
	size_t part = PART_BYTES;
	bool complete = false;
	int result = fstat(file, &status) != 0 ? -errno : hash_file(file, digest);

	if (result != 0)
		return agent_fail(agent, result, "%s: %s", path, strerror(-result));
	sodium_bin2hex(hash_header + strlen(hash_header), 65, digest, sizeof(digest));
	total = (uint64_t)status.st_size;
	for (int tries = 0, busy = 0; !complete && tries < TRIES;) {
		result = ask_offset(agent, path, total, &offset, &complete);
		while (result == 0 && !complete) {
			result = send_next(agent, path, hash_header, file, total, &part, &offset,
					   &complete);
			if (result == 0 && !complete)
				result = agent_sync_between(agent);
		}
		/* -EEXIST: the server has not yet noticed that the last connection is gone; it does
		 * within minutes. */
		if (result == -EEXIST && busy++ < BUSY_TRIES && !agent->stopping) {
			sleep(1);
			continue;
		}
		if (result != 0 && result != -EIO && result != -EAGAIN)
			return result;
		tries = offset > furthest ? 0 : tries + 1;
		furthest = offset > furthest ? offset : furthest;
		if (result != 0)
			usleep(50000u << (tries < 6 ? tries : 6));
	}
	return complete ? 0 : result ? result : -EIO;
}

/** Sends a pack by its name at the server. */
static int send_pack(struct agent *agent, struct user_disk *disk, const char *guest,
		     const struct agent_disk_row *row, const struct manifest *manifest,
		     const char *name)
{
	char part[AGENT_NAME_MAX + PACK_PATH_BYTES + 32], file_path[AGENT_PATH_MAX], path[320],
	    hex[65], pack[PACK_PATH_BYTES];
	int file, result;

	for (uint32_t i = 0; i < manifest->pack_count; i++) {
		pack_source_name(&manifest->packs[i], hex);
		if (strcmp(hex, name) != 0)
			continue;
		store_pack_path(manifest->packs[i].salt, pack);
		snprintf(part, sizeof(part), "guests/%s/backup/%s", guest, pack);
		agent_path(agent, part, file_path);
		file = open(file_path, O_RDONLY | O_CLOEXEC);
		if (file < 0)
			return agent_fail(agent, -errno, "%s: %s", file_path, strerror(errno));
		snprintf(path, sizeof(path), "/api/v1/device/disks/%s/packs/%s", row->disk, name);
		result = send_file(agent, path, file);
		close(file);
		return result;
	}
	return agent_fail(agent, -EPROTO,
			  "the server asks for a pack that this backup does not use");
}

static json_t *describe(const struct agent_disk_row *row, const char *label, const char *envelope,
			const struct manifest *manifest)
{
	json_t *packs = json_array();
	char hex[65];

	for (uint32_t i = 0; i < manifest->pack_count; i++) {
		pack_source_name(&manifest->packs[i], hex);
		json_array_append_new(packs, json_string(hex));
	}
	return json_pack("{s:I, s:I, s:s, s:o, s:o}", "epoch", (json_int_t)row->epoch, "parent",
			 (json_int_t)row->newest, "label", label, "manifest",
			 strict_json_new_bytes((const uint8_t *)envelope, strlen(envelope)),
			 "packs", packs);
}

static int send_missing(struct agent *agent, struct user_disk *disk,
			const struct agent_disk_row *row, const struct manifest *manifest,
			const json_t *reply)
{
	const json_t *missing = json_object_get(reply, "missing");
	json_t *name;
	size_t i;
	int result = json_array_size(missing) > 0 ? 0 : -EPROTO;

	json_array_foreach((json_t *)missing, i, name)
	{
		if (result == 0)
			result = json_is_string(name) ? send_pack(agent, disk, row->guest, row,
								  manifest, json_string_value(name))
						      : -EPROTO;
	}
	return result;
}

int disk_transfer_send(struct agent *agent, struct user_disk *disk,
		       const struct agent_disk_row *row, const char *version, const char *label,
		       uint64_t *number, bool *side)
{
	struct problem problem = {.line = ""};
	struct manifest manifest = {.pack_count = 0};
	uint8_t id[VERSION_ID_BYTES];
	char path[224], *envelope = NULL;
	int result = store_unhex(version, id, sizeof(id));

	if (result == 0)
		result = store_read_manifest(disk->store, id, &manifest, &problem);
	if (result == 0)
		result = store_version_envelope(disk->store, id, &envelope, &problem);
	if (result != 0)
		agent_fail(agent, result, "%.300s",
			   problem.line[0] ? problem.line : strerror(-result));
	snprintf(path, sizeof(path), "/api/v1/device/disks/%s/backups", row->disk);
	for (int round = 0; result == 0; round++) {
		json_t *reply = NULL;
		int64_t value;
		long status = 0;

		result = call(agent, "POST", path, describe(row, label, envelope, &manifest),
			      &reply, &status);
		if (result == 0) {
			*side = strcmp(json_string_value(json_object_get(reply, "branch")) ?: "",
				       "side") == 0;
			result = strict_json_integer(reply, "number", 1, INT64_MAX, &value);
			*number = (uint64_t)value;
			json_decref(reply);
			break;
		}
		/* 409 names what has not arrived, a hundred at a time. */
		if (status == 409 && round < 10000)
			result = send_missing(agent, disk, row, &manifest, reply);
		json_decref(reply);
	}
	free(envelope);
	manifest_release(&manifest);
	return result;
}

int disk_transfer_newest(struct agent *agent, const char *disk, uint64_t *number, uint64_t *epoch)
{
	json_t *reply, *entry;
	int result = call(agent, "GET", "/api/v1/device/disks", NULL, &reply, NULL);
	size_t i;

	if (result != 0)
		return result;
	result = -ENOENT;
	json_array_foreach(json_object_get(reply, "items"), i, entry)
	{
		if (strcmp(json_string_value(json_object_get(entry, "disk")) ?: "", disk) != 0)
			continue;
		*number = (uint64_t)json_integer_value(json_object_get(entry, "newest"));
		*epoch = (uint64_t)json_integer_value(json_object_get(entry, "epoch"));
		result = *number > 0 ? 0 : -ENODATA;
	}
	json_decref(reply);
	if (result == -ENOENT)
		return agent_fail(agent, result,
				  "%s: this PC's user has no such disk at the server", disk);
	return result == 0 ? 0 : agent_fail(agent, result, "%s: it was never backed up", disk);
}

int disk_transfer_manifest(struct agent *agent, const char *disk, uint64_t number, char **envelope)
{
	struct agent_http_answer answer;
	char path[192];
	int result;

	snprintf(path, sizeof(path), "/api/v1/device/disks/%s/backups/%llu", disk,
		 (unsigned long long)number);
	result = agent_get(agent, path, 4u << 20, &answer);
	if (result == 0)
		*envelope = (char *)answer.body;
	return result;
}

int disk_transfer_become_writer(struct agent *agent, const char *disk, uint64_t *epoch)
{
	json_t *reply;
	char path[160];
	int64_t value;
	int result;

	snprintf(path, sizeof(path), "/api/v1/device/disks/%s/epoch", disk);
	result = call(agent, "POST", path, json_pack("{s:I}", "epoch", (json_int_t)*epoch), &reply,
		      NULL);
	if (result == 0 && strict_json_integer(reply, "epoch", 1, INT64_MAX, &value) == 0)
		*epoch = (uint64_t)value;
	else if (result == 0)
		result = agent_fail(agent, -EPROTO, "the server gave an answer that is none");
	json_decref(reply);
	return result;
}

int disk_transfer_put_copies(struct agent *agent, const char *disk, const char *phrase_copy,
			     const char *company_copy)
{
	json_t *copies = json_array();
	char path[160];

	if (phrase_copy)
		json_array_append_new(
		    copies, json_pack("{s:s, s:s}", "kind", "phrase", "data", phrase_copy));
	if (company_copy)
		json_array_append_new(
		    copies, json_pack("{s:s, s:s}", "kind", "company", "data", company_copy));
	snprintf(path, sizeof(path), "/api/v1/device/keys/%s", disk);
	return call(agent, "PUT", path, json_pack("{s:o}", "copies", copies), NULL, NULL);
}

int disk_transfer_put_released(struct agent *agent, const char *disk, const char *copy)
{
	json_t *reply, *copies;
	char path[160];
	int result;

	/* The server's newest set is the whole set: what is there goes along. */
	snprintf(path, sizeof(path), "/api/v1/device/keys/%s", disk);
	result = call(agent, "GET", path, NULL, &reply, NULL);
	if (result != 0 && result != -ENOENT)
		return result;
	copies = result == 0 ? json_deep_copy(json_object_get(reply, "copies")) : json_array();
	json_decref(reply);
	for (size_t i = json_array_size(copies); i-- > 0;)
		if (strcmp(json_string_value(json_object_get(json_array_get(copies, i), "kind"))
			       ?: "",
			   "released") == 0)
			json_array_remove(copies, i);
	json_array_append_new(copies, json_pack("{s:s, s:s}", "kind", "released", "data", copy));
	return call(agent, "PUT", path, json_pack("{s:o}", "copies", copies), NULL, NULL);
}

int disk_transfer_get_copy(struct agent *agent, const char *disk, const char *kind,
			   struct key_copy *copy)
{
	json_t *reply, *entry;
	char path[160];
	size_t i;
	int result;

	snprintf(path, sizeof(path), "/api/v1/device/keys/%s", disk);
	result = call(agent, "GET", path, NULL, &reply, NULL);
	if (result != 0)
		return result;
	result = -ENOENT;
	json_array_foreach(json_object_get(reply, "copies"), i, entry)
	{
		const char *text = json_string_value(json_object_get(entry, "data"));

		if (text &&
		    strcmp(json_string_value(json_object_get(entry, "kind")) ?: "", kind) == 0 &&
		    sodium_base642bin(copy->bytes, sizeof(copy->bytes), text, strlen(text), NULL,
				      &copy->size_bytes, NULL, sodium_base64_VARIANT_ORIGINAL) == 0)
			result = 0;
	}
	json_decref(reply);
	return result == 0
		   ? 0
		   : agent_fail(agent, result, "%s: the server keeps no copy of its key for a %s",
				disk, kind);
}
