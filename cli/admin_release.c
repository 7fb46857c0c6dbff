/* admin_release.c: `bulkhead assign`, `image list`, `image stage`, `image floor`: who runs which
 * version. */
#include "admin.h"
#include "officer.h"
#include "release.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct output_column image_columns[] = {{"name", "NAME", OUTPUT_TEXT},
						     {"catalogue", "CATALOGUE", OUTPUT_NUMBER},
						     {"created", "CREATED", OUTPUT_TIME},
						     {"description", "DESCRIPTION", OUTPUT_TEXT}};
static const struct output_column version_columns[] = {{"release", "RELEASE", OUTPUT_NUMBER},
						       {"name", "VERSION", OUTPUT_TEXT},
						       {"stage", "STAGE", OUTPUT_TEXT},
						       {"created", "CREATED", OUTPUT_TIME}};
static const struct output_column assignment_columns[] = {
    {"id", "ID", OUTPUT_NUMBER},       {"image", "IMAGE", OUTPUT_TEXT},
    {"group", "GROUP", OUTPUT_TEXT},   {"user", "USER", OUTPUT_TEXT},
    {"device", "DEVICE", OUTPUT_TEXT}, {"release", "RELEASE", OUTPUT_NUMBER},
    {"taken", "TAKEN", OUTPUT_TEXT}};

static int image_list_run(const struct cli_context *context)
{
	return admin_list(context, "/api/v1/images", OUTPUT_COLUMNS(image_columns),
			  "No images yet; bulkhead image publish DISK.");
}

static int version_list_run(const struct cli_context *context)
{
	char path[256];

	if (!admin_name(context, cli_argument(context, 0)))
		return CLI_USAGE;
	snprintf(path, sizeof(path), "/api/v1/images/%s/versions", cli_argument(context, 0));
	return admin_list(context, path, OUTPUT_COLUMNS(version_columns),
			  "No versions yet; bulkhead image publish DISK.");
}

/* A version by what people call it, or by its release number. */
static int find_release(struct remote *remote, const char *image, const char *wanted,
			uint64_t *release)
{
	char path[256], number[32];
	json_t *items, *item;
	size_t index;
	int status;

	snprintf(path, sizeof(path), "/api/v1/images/%s/versions", image);
	status = remote_list(remote, path, &items);
	if (status)
		return status;
	*release = 0;
	json_array_foreach(items, index, item)
	{
		json_int_t found = json_integer_value(json_object_get(item, "release"));

		snprintf(number, sizeof(number), "%lld", found);
		if (!strcmp(json_string_value(json_object_get(item, "name")), wanted))
			*release = (uint64_t)found;
		else if (!*release && !strcmp(number, wanted))
			*release = (uint64_t)found;
	}
	json_decref(items);
	return *release ? CLI_OK
			: remote_fail(remote, "%s has no version %s; bulkhead image versions %s",
				      image, wanted, image);
}

static int set_stage(const struct cli_context *context, const char *stage)
{
	const char *image = cli_argument(context, 0), *version = cli_argument(context, 1);
	struct remote *remote;
	uint64_t release;
	int status;

	if (!admin_name(context, image))
		return CLI_USAGE;
	status = remote_open(context, &remote);
	if (status)
		return status;
	status = find_release(remote, image, version, &release);
	if (!status)
		status = release_stage(remote, image, release, stage);
	remote_close(remote);
	if (!status)
		printf("%s %s is %s\n", image, version, stage);
	return status;
}

static int stage_run(const struct cli_context *context)
{
	return set_stage(context, cli_argument(context, 2));
}

static int withdraw_run(const struct cli_context *context)
{
	return set_stage(context, "withdrawn");
}

static int floor_run(const struct cli_context *context)
{
	const char *image = cli_argument(context, 0);
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	struct remote *remote = NULL;
	uint64_t release;
	int status = catalogue ? CLI_OK : cli_fail(context, "out of memory");

	if (!status && !admin_name(context, image))
		status = CLI_USAGE;
	if (!status)
		status = remote_open(context, &remote);
	if (!status)
		status = find_release(remote, image, cli_argument(context, 1), &release);
	if (!status)
		status = release_catalogue(remote, image, catalogue);
	if (!status && release < catalogue->floor)
		status =
		    cli_fail(context, "the floor is at release %lu already and is never lowered",
			     (unsigned long)catalogue->floor);
	if (!status) {
		catalogue->floor = release;
		status = release_catalogue_put(remote, context, "key", 0, catalogue);
	}
	if (!status)
		printf("no PC that hears of it starts a version of %s below %s again\n", image,
		       cli_argument(context, 1));
	remote_close(remote);
	free(catalogue);
	return status;
}

static int renew_run(const struct cli_context *context)
{
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	struct remote *remote = NULL;
	int status = catalogue ? remote_open(context, &remote) : cli_fail(context, "out of memory");

	if (!status)
		status = release_catalogue(remote, cli_argument(context, 0), catalogue);
	if (!status && !catalogue->version)
		status = cli_fail(context,
				  "%s: no such image, or nothing published; bulkhead image list",
				  cli_argument(context, 0));
	if (!status)
		status = release_catalogue_put(remote, context, "key", 0, catalogue);
	if (!status)
		printf("the catalogue of %s is fresh for 90 days\n", cli_argument(context, 0));
	remote_close(remote);
	free(catalogue);
	return status;
}

#define TRACE_MAX_BYTES (1u << 20)

static int trace_run(const struct cli_context *context)
{
	const char *image = cli_argument(context, 0), *file = cli_argument(context, 2);
	char path[192], *text;
	struct remote *remote;
	uint64_t release;
	int status = settings_read(file, TRACE_MAX_BYTES, &text, NULL);

	if (status)
		return cli_fail(context, "%s: %s", file, strerror(-status));
	status = remote_open(context, &remote);
	if (status) {
		free(text);
		return status;
	}
	status = find_release(remote, image, cli_argument(context, 1), &release);
	snprintf(path, sizeof(path), "/api/v1/images/%s/versions/%llu/trace", image,
		 (unsigned long long)release);
	if (!status)
		status = remote_send(remote, "PUT", path, text, "text/plain", NULL);
	remote_close(remote);
	free(text);
	if (!status)
		printf("PCs fetch %s %s in the order of %s from now on\n", image,
		       cli_argument(context, 1), file);
	return status;
}

static int offer(const struct cli_context *context, bool offered)
{
	const char *image = cli_argument(context, 0), *group = cli_value(context, "group");
	char path[128];
	json_t *body;

	if (!admin_name(context, image))
		return CLI_USAGE;
	snprintf(path, sizeof(path), "/api/v1/images/%s/offer", image);
	body = json_pack("{s:b}", "offered", offered);
	if (group)
		json_object_set_new(body, "group", json_string(group));
	return admin_call(context, "POST", path, body,
			  offered ? "offered; users may take it where policy says own_images"
				  : "no longer offered; who has it keeps it");
}

static int offer_run(const struct cli_context *context)
{
	return offer(context, true);
}

static int withhold_run(const struct cli_context *context)
{
	return offer(context, false);
}

static int assign_run(const struct cli_context *context)
{
	static const char *const kinds[] = {"group", "user", "device"};
	const char *image = cli_argument(context, 0), *kind = NULL;
	char device[65];
	struct remote *remote;
	json_t *body;
	uint64_t release = 0;
	int status, given = 0;

	for (size_t i = 0; i < 3; i++)
		if (cli_value(context, kinds[i])) {
			kind = kinds[i];
			given++;
		}
	if (given != 1)
		return cli_usage(context, "name one of --group, --user and --device");
	if (!admin_name(context, image))
		return CLI_USAGE;
	status = remote_open(context, &remote);
	if (status)
		return status;
	if (cli_value(context, "version"))
		status = find_release(remote, image, cli_value(context, "version"), &release);
	if (!status && !strcmp(kind, "device"))
		status = admin_device(remote, cli_value(context, "device"), device, NULL);
	if (!status) {
		body = json_pack("{s:s, s:s}", "image", image, kind,
				 !strcmp(kind, "device") ? device : cli_value(context, kind));
		if (release)
			json_object_set_new(body, "release", json_integer((json_int_t)release));
		status = remote_call(remote, "POST", "/api/v1/assignments", body, NULL);
		json_decref(body);
	}
	remote_close(remote);
	if (!status)
		printf("%s is assigned to %s %s%s%s\n", image, kind, cli_value(context, kind),
		       release ? ", pinned to version " : "",
		       release ? cli_value(context, "version") : "");
	return status;
}

static int assignments_run(const struct cli_context *context)
{
	return admin_list(context, "/api/v1/assignments", OUTPUT_COLUMNS(assignment_columns),
			  "Nothing is assigned yet; bulkhead assign IMAGE --group GROUP.");
}

static bool same_target(const json_t *item, const char *key, const char *wanted)
{
	const char *found = json_string_value(json_object_get(item, key));

	return wanted ? found && !strcmp(found, wanted) : !found;
}

static int unassign_run(const struct cli_context *context)
{
	struct remote *remote;
	json_t *items, *item;
	char path[64], device[65];
	const char *device_id = NULL;
	json_int_t id = 0;
	size_t index;
	int status = remote_open(context, &remote);

	if (status)
		return status;
	if (cli_value(context, "device")) {
		status = admin_device(remote, cli_value(context, "device"), device, NULL);
		device_id = device;
	}
	if (!status)
		status = remote_list(remote, "/api/v1/assignments", &items);
	if (!status) {
		json_array_foreach(
		    items, index,
		    item) if (same_target(item, "image", cli_argument(context, 0)) &&
			      same_target(item, "group", cli_value(context, "group")) &&
			      same_target(item, "user", cli_value(context, "user")) &&
			      same_target(item, "device", device_id)) id =
		    json_integer_value(json_object_get(item, "id"));
		json_decref(items);
		if (!id)
			status =
			    cli_fail(context, "there is no such assignment; bulkhead assignments");
	}
	if (!status) {
		snprintf(path, sizeof(path), "/api/v1/assignments/%lld", id);
		status = remote_call(remote, "DELETE", path, NULL, NULL);
	}
	remote_close(remote);
	if (!status)
		printf("%s is no longer assigned there\n", cli_argument(context, 0));
	return status;
}

static const struct cli_option json_options[] = {ADMIN_JSON, {0}};
static const struct cli_option key_options[] = {
    {"key", "FILE", "key file of the role images; repeat for several", 'k', true},
    OFFICER_PASSPHRASE,
    {0},
};
static const struct cli_option offer_options[] = {
    {"group", "GROUP", "users in GROUP [everybody]", 'g', false},
    {0},
};
static const struct cli_option assign_options[] = {
    {"group", "GROUP", "everybody in GROUP", 'g', false},
    {"user", "USER", "one user, on every device of theirs", 'u', false},
    {"device", "DEVICE", "one device", 'd', false},
    {"version", "VERSION", "stay at VERSION [the newest that the device's ring may have]", 0,
     false},
    {0},
};

const struct cli_command admin_release_commands[] = {
    {"image list", "", "list images", NULL, NULL, json_options, 0, 0, image_list_run},
    {"image versions", "IMAGE", "list an image's versions", NULL, NULL, json_options, 1, 1,
     version_list_run},
    {"image stage", "IMAGE VERSION STAGE", "let more devices have a version",
     "STAGE is draft (nobody), test (devices of ring test), staged (rings test and staged), "
     "deployed (all) or "
     "withdrawn (nobody any more).",
     "bulkhead image stage work 2 deployed", NULL, 3, 3, stage_run},
    {"image withdraw", "IMAGE VERSION", "take a version back; devices return to the one before",
     NULL, NULL, NULL, 2, 2, withdraw_run},
    {"image offer", "IMAGE", "let users take an image by themselves",
     "It appears in `bulkhead guest catalogue` on their PCs. The policy field own_images has to "
     "allow it, too.",
     "bulkhead image offer cad --group engineering", offer_options, 1, 1, offer_run},
    {"image withhold", "IMAGE", "stop offering an image", NULL, NULL, offer_options, 1, 1,
     withhold_run},
    {"image trace", "IMAGE VERSION FILE", "give a version the boot trace in FILE",
     "PCs fetch what a boot trace names first. A PC of ring test records one by itself when it "
     "first starts a version; this command replaces it by one that `bulkhead-blk --record FILE` "
     "or the nbdkit plugin (record=FILE) wrote.",
     "bulkhead image trace work 2 boot.trace", NULL, 3, 3, trace_run},
    {"image floor", "IMAGE VERSION", "forbid every version below, for good",
     "Signed with the images key: PCs refuse to start an older version even if the server asks for "
     "it.",
     "bulkhead image floor work 2 --key images.key", key_options, 2, 2, floor_run},
    {"image renew", "IMAGE", "sign an image's catalogue anew before it expires", NULL, NULL,
     key_options, 1, 1, renew_run},
    {"assign", "IMAGE", "assign an image to a group, a user or a device", NULL,
     "bulkhead assign work --group sales", assign_options, 1, 1, assign_run},
    {"unassign", "IMAGE", "take an assignment back", NULL, NULL, assign_options, 1, 1,
     unassign_run},
    {"assignments", "", "list what is assigned to whom", NULL, NULL, json_options, 0, 0,
     assignments_run},
    {0},
};
