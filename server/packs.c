/*
 * packs.c: packs and manifests: immutable objects. Whoever knows a pack's name may have it (it is
 * ciphertext, and a cache may stand between); packs of backups go only to devices of the disk's
 * user and to operators.
 */
#include "server/handlers.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* Which kind of object a path means, by how it begins. */
static const struct place {
	const char *prefix;
	bool of_disk; /* parameters: disk, pack; else: name */
	const char *kind;
} places[] = {
    {"/packs/", false, "packs"},
    {"/api/v1/packs/", false, "packs"},
    {"/api/v1/manifests/", false, "manifests"},
    {"/api/v1/device/manifests/", false, "manifests"},
    {"/api/v1/device/disks/", true, "disks"},
    {"/api/v1/disks/", true, "disks"},
};

static bool is_object_name(const char *name)
{
	return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

/* A device reaches only disks of its own user. */
static int check_disk(struct request *request)
{
	struct storage *borrowed = request->storage ? NULL : server_storage(request->server);
	const char *user = request_user(request);
	json_t *disk;
	int status = storage_row(borrowed ? borrowed : request->storage, QUERY_DISK_GET,
				 STORAGE(SV_TEXT(request->parameters[0])), &disk);

	if (!status) {
		if (request->caller == CALLER_DEVICE &&
		    (!user || strcmp(user, json_string_value(json_object_get(disk, "user")))))
			status = -ENOENT;
		json_decref(disk);
	}
	if (borrowed)
		server_storage_return(request->server, borrowed);
	return status;
}

int packs_key(struct request *request, char key[OBJECTS_KEY_MAX])
{
	const char *path = request->route->path;
	int status;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const char *name = request->parameters[places[i].of_disk];

		if (strncmp(path, places[i].prefix, strlen(places[i].prefix)))
			continue;
		if (!is_object_name(name))
			return problem(request, 404, "not-found",
				       "objects are named by 64 hexadecimal digits");
		if (places[i].of_disk) {
			status = check_disk(request);
			if (status)
				return problem_from(request, status);
			snprintf(key, OBJECTS_KEY_MAX, "disks/%s/%s", request->parameters[0], name);
		} else {
			snprintf(key, OBJECTS_KEY_MAX, "%s/%s", places[i].kind, name);
		}
		return 0;
	}
	return -EINVAL;
}

int packs_get(struct request *request)
{
	const struct objects_driver *objects = request->server->objects;
	struct reply *reply = &request->reply;
	char key[OBJECTS_KEY_MAX];
	uint64_t partial;
	int status = packs_key(request, key);

	if (status)
		return status;
	status = objects->get(request->server->objects_handle, key, &reply->object);
	if (status == -ENOENT && request->caller == CALLER_DEVICE) {
		partial = objects->partial(request->server->objects_handle, key);
		status = problem(request, 404, "not-found", "this object has not arrived");
		if (partial)
			reply_header(request, "Bulkhead-Upload-Offset", "%lu",
				     (unsigned long)partial);
		return status;
	}
	if (status)
		return status;
	reply->status = 200;
	reply->has_object = true;
	reply->type = "application/octet-stream";
	reply->is_immutable = true;
	snprintf(reply->etag, sizeof(reply->etag), "\"%s\"", strrchr(key, '/') + 1);
	return 0;
}

/* The hash that a finished upload must have: from the header, or a manifest's own name. */
static int expected_hash(struct request *request, uint8_t hash[32])
{
	const char *text = request_header(request, "Bulkhead-SHA-256");

	if (!text && !strncmp(request->put.key, "manifests/", 10))
		text = request->parameters[0];
	if (!text || !is_object_name(text) || sodium_hex2bin(hash, 32, text, 64, NULL, NULL, NULL))
		return problem(request, 400, "no-hash",
			       "pass the object's SHA-256 in the header Bulkhead-SHA-256");
	return 0;
}

int packs_put(struct request *request)
{
	const struct objects_driver *objects = request->server->objects;
	uint8_t hash[32];
	int status;

	if (request->put.offset_bytes < request->upload_total) {
		request->put_is_open = false;
		status = objects->put_pause(request->server->objects_handle, &request->put);
		reply_header(request, "Bulkhead-Upload-Offset", "%lu",
			     (unsigned long)request->put.offset_bytes);
		return status ? status : reply_empty(request, 204);
	}
	status = expected_hash(request, hash);
	if (status)
		return status;
	request->put_is_open = false;
	status = objects->put_commit(request->server->objects_handle, &request->put, hash);
	if (status == -EKEYREJECTED)
		return problem(request, 422, "wrong-hash",
			       "what arrived has another SHA-256; upload it again");
	return status ? status : reply_empty(request, 201);
}
