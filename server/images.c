/* images.c: images, their signed catalogues, stages, keys, and who is assigned what. */
#include "server/handlers.h"
#include "trust/catalogue.h"
#include "trust/roles.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int images_list(struct request *request)
{
	const char *after = request_query(request, "after");
	json_t *rows;
	int status = storage_rows(
	    request->storage, QUERY_IMAGE_LIST,
	    STORAGE(SV_TEXT(after ? after : ""), SV_INT(request_limit(request))), &rows);

	return status ? status : reply_page(request, rows, "name");
}

int images_get(struct request *request)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_IMAGE_GET,
				 STORAGE(SV_TEXT(request->parameters[0])), &row);

	return status ? status : reply_json(request, 200, row);
}

int images_add(struct request *request)
{
	const char *name = request_text(request, "name"),
		   *description = request_text(request, "description");
	int status = storage_run(
	    request->storage, QUERY_IMAGE_ADD,
	    STORAGE(SV_TEXT(name), SV_TEXT(description ? description : ""), SV_INT(request->now)));

	request_audit(request, name, "%s", "");
	return status ? status : reply_json(request, 201, json_pack("{s:s}", "name", name));
}

int images_remove(struct request *request)
{
	int status = storage_run(request->storage, QUERY_IMAGE_REMOVE,
				 STORAGE(SV_TEXT(request->parameters[0])));

	if (status == -EEXIST)
		return problem(request, 409, "assigned",
			       "the image is assigned; remove its assignments first");
	if (!status && !request->storage->changed)
		return -ENOENT;
	if (!status)
		status = request_touch(request);
	return status ? status : reply_empty(request, 204);
}

static int reply_envelope(struct request *request, json_t *row)
{
	const char *envelope = json_string_value(json_object_get(row, "envelope"));
	int status = envelope ? reply_text(request, 200, strdup(envelope), NULL) : -ENOENT;

	json_decref(row);
	return status;
}

int images_catalogue_get(struct request *request)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_IMAGE_CATALOGUE_GET,
				 STORAGE(SV_TEXT(request->parameters[0])), &row);

	return status ? status : reply_envelope(request, row);
}

static int add_versions(struct request *request, const struct catalogue *catalogue)
{
	char manifest[65], key[OBJECTS_KEY_MAX];
	struct object object;
	int status = 0;

	for (size_t i = 0; i < catalogue->release_count && !status; i++) {
		const struct catalogue_release *release = &catalogue->releases[i];

		sodium_bin2hex(manifest, sizeof(manifest), release->manifest, 32);
		snprintf(key, sizeof(key), "manifests/%s", manifest);
		if (request->server->objects->get(request->server->objects_handle, key, &object))
			return problem(request, 409, "no-manifest",
				       "release %lu: its manifest %s has not been uploaded",
				       (unsigned long)release->release, manifest);
		request->server->objects->release(request->server->objects_handle, &object);
		status =
		    storage_run(request->storage, QUERY_VERSION_ADD,
				STORAGE(SV_TEXT(catalogue->image), SV_INT(release->release),
					SV_TEXT(release->name), SV_TEXT(manifest),
					SV_INT(release->manifest_bytes), SV_INT(release->created)));
	}
	return status;
}

int images_catalogue_put(struct request *request)
{
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	struct roles *roles = malloc(sizeof(*roles));
	char *text = NULL;
	int status = roles && catalogue ? documents_roles_newest(request->storage, roles) : -ENOMEM;

	if (status == -ENOENT)
		status = problem(request, 409, "no-roles",
				 "publish a roles document first: bulkhead key roles");
	if (!status && roles_verify(roles, ROLE_IMAGES, DSSE_TYPE_CATALOGUE, &request->envelope))
		status = problem(request, 422, "not-signed",
				 "the catalogue is not signed by enough image keys");
	if (!status && (catalogue_read(request->envelope.payload, request->envelope.payload_bytes,
				       catalogue) ||
			strcmp(catalogue->image, request->parameters[0])))
		status = problem(request, 422, "bad-catalogue", "this is no catalogue of %s",
				 request->parameters[0]);
	if (!status)
		status = dsse_write(&request->envelope, &text);
	if (!status)
		status = storage_run(
		    request->storage, QUERY_IMAGE_CATALOGUE_SET,
		    STORAGE(SV_TEXT(catalogue->image), SV_INT(catalogue->version), SV_TEXT(text)));
	if (!status && !request->storage->changed)
		status = problem(
		    request, 409, "old-version",
		    "there is no image %s, or its catalogue has this version or a newer one",
		    catalogue->image);
	if (!status)
		status = add_versions(request, catalogue);
	if (!status)
		status = request_touch(request);
	if (!status) {
		request_audit(request, catalogue->image, "catalogue %lu, floor %lu",
			      (unsigned long)catalogue->version, (unsigned long)catalogue->floor);
		status = reply_json(request, 201,
				    json_pack("{s:I}", "version", (json_int_t)catalogue->version));
	}
	free(text);
	free(roles);
	free(catalogue);
	return status;
}

int images_key_get(struct request *request)
{
	json_t *row;
	int status = storage_row(request->storage, QUERY_IMAGE_KEY_GET,
				 STORAGE(SV_TEXT(request->parameters[0])), &row);

	if (status)
		return status;
	if (!json_object_get(row, "key")) {
		json_decref(row);
		return -ENOENT;
	}
	json_object_set_new(row, "image", json_string(request->parameters[0]));
	return reply_json(request, 200, row);
}

int images_key_put(struct request *request)
{
	uint8_t key[64];
	size_t bytes;
	const char *text = request_text(request, "key");
	int status;

	if (sodium_base642bin(key, sizeof(key), text, strlen(text), NULL, &bytes, NULL,
			      sodium_base64_VARIANT_ORIGINAL) ||
	    bytes < 32)
		return problem(request, 422, "bad-field", "key must be base64 of 32 to 64 bytes");
	status = storage_run(request->storage, QUERY_IMAGE_KEY_SET,
			     STORAGE(SV_TEXT(request->parameters[0]), SV_BLOB(key, bytes)));
	sodium_memzero(key, sizeof(key));
	if (!status && !request->storage->changed)
		return problem(request, 409, "key-set",
			       "there is no such image, or it has another key already");
	return status ? status : reply_empty(request, 204);
}

int images_versions(struct request *request)
{
	json_t *rows;
	int status = storage_rows(request->storage, QUERY_VERSION_LIST,
				  STORAGE(SV_TEXT(request->parameters[0]),
					  SV_INT(request_after_number(request)),
					  SV_INT(request_limit(request))),
				  &rows);

	return status ? status : reply_page(request, rows, "release");
}

int images_version_change(struct request *request)
{
	const char *stage = request_text(request, "stage");
	int status = storage_run(request->storage, QUERY_VERSION_STAGE,
				 STORAGE(SV_TEXT(request->parameters[0]),
					 SV_INT(request_number(request, 1)), SV_TEXT(stage)));

	if (!status && !request->storage->changed)
		return -ENOENT;
	request_audit(request, request->parameters[0], "release %s %s", request->parameters[1],
		      stage);
	if (!status)
		status = request_touch(request);
	return status ? status : reply_empty(request, 204);
}

int images_assignments(struct request *request)
{
	json_t *rows;
	int status = storage_rows(request->storage, QUERY_ASSIGNMENT_LIST,
				  STORAGE(SV_INT(request_after_number(request)),
					  SV_INT(request_limit(request)),
					  SV_TEXT(request_query(request, "image"))),
				  &rows);

	return status ? status : reply_page(request, rows, "id");
}

/* The same again replaces: assigning is idempotent, pinning included. */
int images_assign(struct request *request)
{
	const char *image = request_text(request, "image"), *group = request_text(request, "group"),
		   *user = request_text(request, "user"), *device = request_text(request, "device");
	int64_t release = request_integer(request, "release", 0);
	json_t *row;
	int status;

	if (!!group + !!user + !!device != 1)
		return problem(request, 422, "bad-field",
			       "name exactly one of group, user and device");
	status =
	    storage_run(request->storage, QUERY_ASSIGNMENT_DROP,
			STORAGE(SV_TEXT(image), SV_TEXT(group), SV_TEXT(user), SV_TEXT(device)));
	if (!status && release) {
		status = storage_row(request->storage, QUERY_VERSION_GET,
				     STORAGE(SV_TEXT(image), SV_INT(release)), &row);
		if (!status)
			json_decref(row);
	}
	if (!status)
		status = storage_run(request->storage, QUERY_ASSIGNMENT_ADD,
				     STORAGE(SV_TEXT(image), SV_TEXT(group), SV_TEXT(user),
					     SV_TEXT(device), SV_INT(release)));
	if (status == -EEXIST)
		return problem(request, 422, "unknown-name",
			       "there is no such image, group, user or device");
	if (!status)
		status = request_touch(request);
	if (!status)
		status = storage_row(
		    request->storage, QUERY_ASSIGNMENT_FIND,
		    STORAGE(SV_TEXT(image), SV_TEXT(group), SV_TEXT(user), SV_TEXT(device)), &row);
	request_audit(request, image, "%s %s",
		      group  ? "group"
		      : user ? "user"
			     : "device",
		      group  ? group
		      : user ? user
			     : device);
	return status ? status : reply_json(request, 201, row);
}

int images_unassign(struct request *request)
{
	int status = storage_run(request->storage, QUERY_ASSIGNMENT_REMOVE,
				 STORAGE(SV_INT(request_number(request, 0))));

	if (!status && !request->storage->changed)
		return -ENOENT;
	if (!status)
		status = request_touch(request);
	return status ? status : reply_empty(request, 204);
}

/* The image a device asks for, if it is assigned to it. */
static int assigned(struct request *request, json_t **row)
{
	return storage_row(request->storage, QUERY_DEVICE_HAS_IMAGE,
			   STORAGE(SV_TEXT(request_device(request)), SV_TEXT(request_user(request)),
				   SV_TEXT(request->parameters[0])),
			   row);
}

int images_device_catalogue(struct request *request)
{
	json_t *row;
	int status = assigned(request, &row);

	return status ? status : reply_envelope(request, row);
}

int images_device_key(struct request *request)
{
	json_t *row;
	int status = assigned(request, &row);

	if (status)
		return status;
	status = json_object_get(row, "key")
		     ? reply_json(request, 200,
				  json_pack("{s:s, s:O}", "image", request->parameters[0], "key",
					    json_object_get(row, "key")))
		     : -ENOENT;
	json_decref(row);
	return status;
}
