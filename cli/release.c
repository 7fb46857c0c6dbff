/* release.c: see release.h. */
#include "release.h"
#include "documents.h"
#include "officer.h"
#include "trust/strict_json.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIFE_DAYS 90
#define DAY	  86400

int release_catalogue(struct remote *remote, const char *image, struct catalogue *catalogue)
{
	struct dsse_envelope envelope;
	struct memory *memory;
	char path[256], *text;
	json_t *reply;
	int status = remote_trust(remote, &memory);

	memset(catalogue, 0, sizeof(*catalogue));
	snprintf(catalogue->image, sizeof(catalogue->image), "%s", image);
	snprintf(path, sizeof(path), "/api/v1/images/%s/catalogue", image);
	if (!status)
		status = remote_look(remote, path, &reply);
	if (status || !reply)
		return status;
	text = strict_json_write(reply);
	json_decref(reply);
	status = text ? dsse_parse(text, strlen(text), &envelope) : -1;
	free(text);
	if (!status) {
		/* What the server shows is what we go on from: only if an image key signed it, and
		 * nothing older. */
		status = memory_accept_catalogue(memory, image, &envelope, catalogue);
		dsse_release(&envelope);
	}
	if (status)
		return remote_fail(
		    remote, "the catalogue of %s that the server shows must not be believed: %s",
		    image, memory_reason(status));
	return remote_trust_save(remote);
}

int release_catalogue_put(struct remote *remote, const struct cli_context *context,
			  const char *key_option, int64_t life_days, struct catalogue *catalogue)
{
	char path[256], *payload = NULL, *text = NULL;
	int status;

	catalogue->version++;
	catalogue->expires = (int64_t)time(NULL) + (life_days ? life_days : LIFE_DAYS) * DAY;
	if (catalogue_write(catalogue, &payload))
		return remote_fail(remote, "out of memory");
	status = officer_sign(context, key_option, DSSE_TYPE_CATALOGUE, payload, &text);
	snprintf(path, sizeof(path), "/api/v1/images/%s/catalogue", catalogue->image);
	if (!status)
		status = documents_put(remote, path, text);
	free(text);
	return status;
}

int release_image(struct remote *remote, const char *image, const uint8_t *key, size_t key_bytes)
{
	char path[256];
	json_t *reply, *body;
	int status;

	if (!strict_json_is_name(image))
		return remote_fail(
		    remote,
		    "%s: a name is 1 to 64 of a-z 0-9 . _ @ -, beginning with a letter or digit",
		    image);
	snprintf(path, sizeof(path), "/api/v1/images/%s", image);
	status = remote_look(remote, path, &reply);
	if (!status && !reply) {
		body = json_pack("{s:s}", "name", image);
		status = remote_call(remote, "POST", "/api/v1/images", body, NULL);
		json_decref(body);
	}
	json_decref(reply);
	if (status || !key)
		return status;
	snprintf(path, sizeof(path), "/api/v1/images/%s/key", image);
	body = json_pack("{s:o}", "key", strict_json_new_bytes(key, key_bytes));
	status = remote_call(remote, "PUT", path, body, NULL);
	json_decref(body);
	return status;
}

int release_stage(struct remote *remote, const char *image, uint64_t release, const char *stage)
{
	char path[256];
	json_t *body = json_pack("{s:s}", "stage", stage);
	int status;

	snprintf(path, sizeof(path), "/api/v1/images/%s/versions/%lu", image,
		 (unsigned long)release);
	status = remote_call(remote, "PATCH", path, body, NULL);
	json_decref(body);
	return status;
}

static int upload_manifest(struct remote *remote, const struct release_request *request)
{
	char hash[65], path[128];

	sodium_bin2hex(hash, sizeof(hash), request->manifest_sha256, 32);
	snprintf(path, sizeof(path), "/api/v1/manifests/%s", hash);
	return remote_upload(remote, path, request->manifest_file, hash, NULL, NULL);
}

int release_publish(struct remote *remote, const struct cli_context *context,
		    const struct release_request *request, uint64_t *release)
{
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	const struct catalogue_release *newest;
	int status = catalogue ? release_image(remote, request->image, NULL, 0)
			       : remote_fail(remote, "out of memory");

	if (!status)
		status = upload_manifest(remote, request);
	if (!status)
		status = release_catalogue(remote, request->image, catalogue);
	if (status)
		goto out;
	newest =
	    catalogue->release_count ? &catalogue->releases[catalogue->release_count - 1] : NULL;
	if (newest && !memcmp(newest->manifest, request->manifest_sha256, 32) &&
	    !strcmp(newest->name, request->name)) {
		*release = newest->release;
	} else {
		for (size_t i = 0; i < catalogue->release_count; i++)
			if (!strcmp(catalogue->releases[i].name, request->name)) {
				status = remote_fail(remote,
						     "%s has a version %s already, and versions "
						     "never change; choose "
						     "another --version",
						     request->image, request->name);
				goto out;
			}
		*release = catalogue_append(catalogue, request->name, request->manifest_sha256,
					    request->manifest_bytes, (int64_t)time(NULL));
		if (!*release)
			status = remote_fail(
			    remote, "%s: not a name for a version, or the catalogue is full",
			    request->name);
		if (!status)
			status = release_catalogue_put(remote, context, request->key_option,
						       request->life_days, catalogue);
	}
	if (!status && request->stage)
		status = release_stage(remote, request->image, *release, request->stage);
out:
	free(catalogue);
	return status;
}
