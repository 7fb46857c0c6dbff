/* catalogue.c: see catalogue.h. */
#include "trust/catalogue.h"
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int read_release(const json_t *object, struct catalogue_release *release)
{
	static const char *const fields[] = {"release",	       "name",	  "manifest",
					     "manifest_bytes", "created", NULL};
	int64_t number, manifest_bytes;

	if (!strict_json_only_keys(object, fields) ||
	    strict_json_integer(object, "release", 1, INT64_MAX, &number) ||
	    strict_json_string(object, "name", release->name, sizeof(release->name)) ||
	    !strict_json_is_name(release->name) ||
	    strict_json_hex(object, "manifest", release->manifest, sizeof(release->manifest)) ||
	    strict_json_integer(object, "manifest_bytes", 0, INT64_MAX, &manifest_bytes) ||
	    strict_json_integer(object, "created", 0, INT64_MAX, &release->created))
		return -EBADMSG;
	release->release = (uint64_t)number;
	release->manifest_bytes = (uint64_t)manifest_bytes;
	return 0;
}

static int read_releases(const json_t *list, struct catalogue *catalogue)
{
	json_t *entry;
	size_t index;

	if (!json_is_array(list))
		return -EBADMSG;
	if (json_array_size(list) > CATALOGUE_RELEASES_MAX)
		return -EMSGSIZE;
	json_array_foreach(list, index, entry)
	{
		struct catalogue_release *release = &catalogue->releases[index];

		if (read_release(entry, release) ||
		    (index && release->release <= release[-1].release))
			return -EBADMSG;
	}
	catalogue->release_count = json_array_size(list);
	return 0;
}

int catalogue_read(const void *payload, size_t payload_bytes, struct catalogue *catalogue)
{
	static const char *const fields[] = {"type",  "image",	  "version", "expires",
					     "floor", "releases", NULL};
	int64_t version, floor;
	json_t *root;
	int status;

	memset(catalogue, 0, sizeof(*catalogue));
	status = document_open(payload, payload_bytes, "catalogue", fields, &root);
	if (status)
		return status;
	status = -EBADMSG;
	if (strict_json_string(root, "image", catalogue->image, sizeof(catalogue->image)) ||
	    !strict_json_is_name(catalogue->image) ||
	    strict_json_integer(root, "version", 1, INT64_MAX, &version) ||
	    strict_json_integer(root, "expires", 0, INT64_MAX, &catalogue->expires) ||
	    strict_json_integer(root, "floor", 0, INT64_MAX, &floor))
		goto out;
	catalogue->version = (uint64_t)version;
	catalogue->floor = (uint64_t)floor;
	status = read_releases(json_object_get(root, "releases"), catalogue);
	if (status)
		goto out;
	/* A floor above everything would leave no release to run. */
	if (floor && (!catalogue->release_count ||
		      catalogue->floor > catalogue->releases[catalogue->release_count - 1].release))
		status = -EBADMSG;
out:
	json_decref(root);
	return status;
}

int catalogue_write(const struct catalogue *catalogue, char **text)
{
	json_t *list = json_array();
	json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "type", "catalogue", "image",
				 catalogue->image, "version", (json_int_t)catalogue->version,
				 "expires", (json_int_t)catalogue->expires, "floor",
				 (json_int_t)catalogue->floor, "releases", list);
	int status = -ENOMEM;

	if (!root)
		return status;
	for (size_t i = 0; i < catalogue->release_count; i++) {
		const struct catalogue_release *release = &catalogue->releases[i];

		if (json_array_append_new(
			list, json_pack("{s:I, s:s, s:o, s:I, s:I}", "release",
					(json_int_t)release->release, "name", release->name,
					"manifest", strict_json_new_hex(release->manifest, 32),
					"manifest_bytes", (json_int_t)release->manifest_bytes,
					"created", (json_int_t)release->created)))
			goto out;
	}
	*text = strict_json_write(root);
	status = *text ? 0 : -ENOMEM;
out:
	json_decref(root);
	return status;
}

const struct catalogue_release *catalogue_find(const struct catalogue *catalogue, uint64_t release)
{
	for (size_t i = 0; i < catalogue->release_count; i++)
		if (catalogue->releases[i].release == release)
			return &catalogue->releases[i];
	return NULL;
}

uint64_t catalogue_append(struct catalogue *catalogue, const char *name, const uint8_t manifest[32],
			  uint64_t manifest_bytes, int64_t created)
{
	struct catalogue_release *release = &catalogue->releases[catalogue->release_count];
	uint64_t newest = 0;

	if (catalogue->release_count == CATALOGUE_RELEASES_MAX || !strict_json_is_name(name))
		return 0;
	if (catalogue->release_count)
		newest = release[-1].release;
	memset(release, 0, sizeof(*release));
	release->release = newest + 1;
	memcpy(release->name, name, strlen(name));
	memcpy(release->manifest, manifest, sizeof(release->manifest));
	release->manifest_bytes = manifest_bytes;
	release->created = created;
	catalogue->release_count++;
	return release->release;
}
