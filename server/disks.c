/*
 * disks.c: users' disks: backups that can only be appended, one writer at a time, sealed copies of
 * their keys. The server cannot read any of it. A PC that lost the writer's place (lost, then
 * found) writes to a side branch.
 */
#include "server/handlers.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST_MAX (1u << 20)
#define FORGOTTEN_EPOCHS_MAX  1000
#define FORGOTTEN_BACKUPS_MAX 1000000
#define MISSING_MAX  100

static const char *text_of(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static int64_t number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

/* The disk that the call names, if the caller may touch it: a device only its own user's. */
static int open_disk(struct request *request, json_t **disk)
{
	const char *user;
	int status = storage_row(request->storage, QUERY_DISK_GET,
				 STORAGE(SV_TEXT(request->parameters[0])), disk);

	if (status || request->caller != CALLER_DEVICE)
		return status;
	user = request_user(request);
	if (user && !strcmp(user, text_of(*disk, "user")))
		return 0;
	json_decref(*disk);
	/* As if it did not exist: nobody learns others' disks by asking. */
	return -ENOENT;
}

int disks_list(struct request *request)
{
	const char *after = request_query(request, "after");
	json_t *rows;
	int status =
	    storage_rows(request->storage, QUERY_DISK_LIST,
			 STORAGE(SV_TEXT(after ? after : ""), SV_INT(request_limit(request)),
				 SV_TEXT(request_query(request, "user"))),
			 &rows);

	return status ? status : reply_page(request, rows, "disk");
}

int disks_for_device(struct request *request)
{
	const char *user = request_user(request);
	json_t *rows;
	int status =
	    storage_rows(request->storage, QUERY_DISK_LIST,
			 STORAGE(SV_TEXT(""), SV_INT(500), SV_TEXT(user ? user : "")), &rows);

	return status ? status : reply_json(request, 200, json_pack("{s:o}", "items", rows));
}

int disks_create(struct request *request)
{
	const char *name = request_text(request, "disk"), *user = request_user(request);
	json_t *disk;
	int status;

	if (!user)
		return problem(request, 409, "no-user",
			       "nobody is assigned to this device; bulkhead device set --user");
	request_audit(request, name, "%s", "");
	status = storage_row(request->storage, QUERY_DISK_GET, STORAGE(SV_TEXT(name)), &disk);
	if (!status) {
		bool same = !strcmp(text_of(disk, "user"), user) &&
			    !strcmp(text_of(disk, "writer"), request_device(request));
		int64_t epoch = number_of(disk, "epoch");

		json_decref(disk);
		return same ? reply_json(
				  request, 201,
				  json_pack("{s:s, s:I}", "disk", name, "epoch", (json_int_t)epoch))
			    : problem(request, 409, "disk-exists",
				      "a disk of this name exists already");
	}
	if (status != -ENOENT)
		return status;
	status =
	    storage_run(request->storage, QUERY_DISK_ADD,
			STORAGE(SV_TEXT(name), SV_TEXT(user), SV_TEXT(request_device(request))));
	return status ? status
		      : reply_json(request, 201, json_pack("{s:s, s:i}", "disk", name, "epoch", 1));
}

int disks_epoch(struct request *request)
{
	int64_t epoch = request_integer(request, "epoch", 0);
	json_t *disk;
	int status = open_disk(request, &disk);

	if (status)
		return status;
	json_decref(disk);
	status = storage_run(request->storage, QUERY_DISK_EPOCH,
			     STORAGE(SV_TEXT(request->parameters[0]), SV_INT(epoch),
				     SV_TEXT(request_device(request))));
	if (!status && !request->storage->changed)
		status = problem(request, 409, "old-epoch",
				 "another PC became the writer meanwhile; look again");
	return status
		   ? status
		   : reply_json(request, 201, json_pack("{s:I}", "epoch", (json_int_t)epoch + 1));
}

int disks_backups(struct request *request)
{
	json_t *disk, *rows;
	int status = open_disk(request, &disk);

	if (status)
		return status;
	json_decref(disk);
	status = storage_rows(request->storage, QUERY_BACKUP_LIST,
			      STORAGE(SV_TEXT(request->parameters[0]),
				      SV_INT(request_after_number(request)),
				      SV_INT(request_limit(request))),
			      &rows);
	return status ? status : reply_page(request, rows, "number");
}

int disks_backup_get(struct request *request)
{
	char *manifest = malloc(MANIFEST_MAX);
	size_t manifest_bytes;
	const char *text;
	json_t *disk, *row;
	int status = manifest ? open_disk(request, &disk) : -ENOMEM;

	if (!status) {
		json_decref(disk);
		status = storage_row(
		    request->storage, QUERY_BACKUP_GET,
		    STORAGE(SV_TEXT(request->parameters[0]), SV_INT(request_number(request, 1))),
		    &row);
	}
	if (status) {
		free(manifest);
		return status;
	}
	text = text_of(row, "manifest");
	if (sodium_base642bin((uint8_t *)manifest, MANIFEST_MAX, text, strlen(text), NULL,
			      &manifest_bytes, NULL, sodium_base64_VARIANT_ORIGINAL)) {
		free(manifest);
		status = -EIO;
	} else {
		status = reply_text(request, 200, manifest, "application/octet-stream");
		request->reply.text_bytes = manifest_bytes;
	}
	json_decref(row);
	return status;
}

int disks_keys(struct request *request)
{
	json_t *disk, *rows, *row;
	int64_t version = 0;
	size_t index;
	int status = open_disk(request, &disk);

	if (status)
		return status;
	json_decref(disk);
	status = storage_rows(request->storage, QUERY_KEYS_GET,
			      STORAGE(SV_TEXT(request->parameters[0])), &rows);
	if (status)
		return status;
	json_array_foreach(rows, index, row)
	{
		version = number_of(row, "version");
		json_object_del(row, "version");
	}
	if (!version) {
		json_decref(rows);
		return -ENOENT;
	}
	return reply_json(request, 200,
			  json_pack("{s:I, s:o}", "version", (json_int_t)version, "copies", rows));
}

int disks_keys_put(struct request *request)
{
	const json_t *copies = json_object_get(request->body, "copies");
	json_t *disk, *row, *copy;
	int64_t version;
	size_t index;
	int status = open_disk(request, &disk);

	if (status)
		return status;
	json_decref(disk);
	status = storage_row(request->storage, QUERY_KEYS_VERSION,
			     STORAGE(SV_TEXT(request->parameters[0])), &row);
	if (status)
		return status;
	version = number_of(row, "version") + 1;
	json_decref(row);
	if (!json_array_size(copies))
		return problem(request, 422, "bad-field", "there must be at least one copy");
	json_array_foreach(copies, index, copy)
	{
		const char *kind = text_of(copy, "kind"), *data = text_of(copy, "data");

		if (json_object_size(copy) != 2 || !kind || !data || !strict_json_is_name(kind) ||
		    json_string_length(json_object_get(copy, "data")) > 8192)
			return problem(
			    request, 422, "bad-field",
			    "a copy is {\"kind\": name, \"data\": base64 of at most 6 KiB}");
		status = storage_run(request->storage, QUERY_KEYS_ADD,
				     STORAGE(SV_TEXT(request->parameters[0]), SV_INT(version),
					     SV_TEXT(kind), SV_TEXT(data), SV_INT(request->now)));
		if (status)
			return status;
	}
	request_audit(request, request->parameters[0], "version %ld", (long)version);
	return reply_json(request, 201, json_pack("{s:I}", "version", (json_int_t)version));
}

/* Every pack that a backup names must have arrived whole. */
static int check_packs(struct request *request, const json_t *packs)
{
	json_t *missing = json_array(), *pack;
	char key[OBJECTS_KEY_MAX];
	struct object object;
	uint8_t name[32];
	size_t index;
	int status = 0;

	json_array_foreach(packs, index, pack)
	{
		const char *text = json_string_value(pack);

		if (strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64 ||
		    sodium_hex2bin(name, 32, text, 64, NULL, NULL, NULL)) {
			json_decref(missing);
			return problem(request, 422, "bad-field",
				       "packs are named by 64 hexadecimal digits");
		}
		snprintf(key, sizeof(key), "disks/%s/%s", request->parameters[0], text);
		if (!request->server->objects->get(request->server->objects_handle, key, &object))
			request->server->objects->release(request->server->objects_handle, &object);
		else if (json_array_size(missing) < MISSING_MAX)
			json_array_append(missing, pack);
	}
	if (json_array_size(missing)) {
		status = problem(request, 409, "packs-missing",
				 "upload the packs that the field \"missing\" names");
		json_object_set(request->reply.json, "missing", missing);
	}
	json_decref(missing);
	return status;
}

/*
 * Whether a backup belongs on the main branch: it comes from the disk's writer and builds on the
 * newest. A device that knows of a later epoch or of later backups than the database has was there
 * when they were made: the database is an older copy, and that device goes on being the writer
 * (any device of the user may become it anyway, by the call that raises the epoch).
 */
static bool is_on_main(struct request *request, const json_t *disk, int64_t epoch, int64_t parent)
{
	int64_t epochs_ahead = epoch - number_of(disk, "epoch"),
		backups_ahead = parent - number_of(disk, "last");

	/* No copy is so old that more than this is missing. */
	if (epochs_ahead > FORGOTTEN_EPOCHS_MAX || backups_ahead > FORGOTTEN_BACKUPS_MAX)
		return false;
	if (epochs_ahead > 0)
		return true;
	return epochs_ahead == 0 && (parent == number_of(disk, "newest") || backups_ahead > 0) &&
	       !strcmp(text_of(disk, "writer"), request_device(request));
}

static int store_backup(struct request *request, const json_t *disk, const uint8_t *manifest,
			size_t manifest_bytes)
{
	int64_t epoch = request_integer(request, "epoch", 0),
		parent = request_integer(request, "parent", 0),
		last = number_of(disk, "last");
	bool is_main = is_on_main(request, disk, epoch, parent);
	int64_t number = (is_main && parent > last ? parent : last) + 1;
	char *packs = strict_json_write(json_object_get(request->body, "packs"));
	json_t *same;
	int status = packs ? 0 : -ENOMEM;

	/* The same backup again: its answer was lost. */
	if (!status)
		status = storage_row(request->storage, QUERY_BACKUP_SAME,
				     STORAGE(SV_TEXT(request->parameters[0]),
					     SV_TEXT(request_device(request)), SV_INT(epoch),
					     SV_INT(parent), SV_BLOB(manifest, manifest_bytes)),
				     &same);
	if (!status) {
		free(packs);
		return reply_json(request, 201, same);
	}
	if (status == -ENOENT)
		status = storage_run(request->storage, QUERY_BACKUP_ADD,
				     STORAGE(SV_TEXT(request->parameters[0]), SV_INT(number),
					     SV_INT(epoch), SV_TEXT(is_main ? "main" : "side"),
					     SV_TEXT(request_text(request, "label")),
					     SV_TEXT(request_device(request)), SV_INT(request->now),
					     SV_INT(parent), SV_BLOB(manifest, manifest_bytes),
					     SV_TEXT(packs)));
	free(packs);
	if (!status && is_main)
		status = storage_run(request->storage, QUERY_DISK_ADOPT,
				     STORAGE(SV_TEXT(request->parameters[0]), SV_INT(epoch),
					     SV_TEXT(request_device(request))));
	if (!status)
		status = storage_run(
		    request->storage, QUERY_DISK_ADVANCE,
		    STORAGE(SV_TEXT(request->parameters[0]), SV_INT(number), SV_INT(is_main)));
	request_audit(request, request->parameters[0], "%ld on %s", (long)number,
		      is_main ? "main" : "side");
	return status ? status
		      : reply_json(request, 201,
				   json_pack("{s:I, s:s}", "number", (json_int_t)number, "branch",
					     is_main ? "main" : "side"));
}

int disks_backup_add(struct request *request)
{
	const char *text = request_text(request, "manifest");
	uint8_t *manifest = malloc(MANIFEST_MAX);
	size_t manifest_bytes;
	json_t *disk = NULL;
	int status = manifest ? open_disk(request, &disk) : -ENOMEM;

	if (!status && (sodium_base642bin(manifest, MANIFEST_MAX, text, strlen(text), NULL,
					  &manifest_bytes, NULL, sodium_base64_VARIANT_ORIGINAL) ||
			!manifest_bytes))
		status = problem(request, 422, "bad-field",
				 "manifest must be base64 of 1 byte to 1 MiB");
	if (!status)
		status = check_packs(request, json_object_get(request->body, "packs"));
	if (!status)
		status = store_backup(request, disk, manifest, manifest_bytes);
	json_decref(disk);
	free(manifest);
	return status;
}
