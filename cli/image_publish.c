/*
 * `bulkhead image publish`: the one step from a disk on an administrator's machine to a version
 * that PCs fetch. The disk is deduplicated against what was published before into a store beside
 * the administrator's settings, its manifest is signed with the images key here, packs that are new
 * go to the server, and the signed catalogue makes it exist. A second try after any failure goes
 * on: packs and manifests never change.
 */
#include "image_publish.h"
#include "image_store.h"
#include "officer.h"
#include "output.h"
#include "release.h"
#include "settings.h"

#include "store/pack.h"
#include "store/publish.h"
#include "trust/descriptor.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct publishing {
	const struct cli_context *context;
	struct remote *remote;
	const char *image, *version;
	char descriptor[DESCRIPTOR_TEXT_MAX]; /* empty: none */
	char store_path[PATH_MAX];
	struct store *store;
	struct domain domain;
	struct output_progress progress;
	struct publish_result result;
};

static int fail_store(const struct publishing *publishing, int error, const struct problem *problem)
{
	return cli_fail(publishing->context, "%s",
			problem->line[0] ? problem->line : strerror(-error));
}

/** The image family's key: made at its first publishing, kept beside the settings, known to the
 * server. */
static int open_domain(struct publishing *publishing)
{
	char name[128], path[PATH_MAX],
	    text[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL)], *kept;
	uint8_t key[32];
	size_t size;
	int status;

	snprintf(name, sizeof(name), "images/%s.key", publishing->image);
	if (settings_path(name, path) != 0)
		return cli_fail(publishing->context, "%s: the path is too long", name);
	status = settings_read(path, 4096, &kept, &size);
	if (status == -ENOENT) {
		randombytes_buf(key, sizeof(key));
		sodium_bin2base64(text, sizeof(text), key, sizeof(key),
				  sodium_base64_VARIANT_ORIGINAL);
		status = settings_write(path, text);
	} else if (status == 0) {
		status = sodium_base642bin(key, sizeof(key), kept, strlen(kept), "\n", &size, NULL,
					   sodium_base64_VARIANT_ORIGINAL) == 0 &&
				 size == sizeof(key)
			     ? 0
			     : -EBADMSG;
		sodium_memzero(kept, strlen(kept));
		free(kept);
	}
	sodium_memzero(text, sizeof(text));
	if (status == 0)
		status = domain_open(key, &publishing->domain);
	if (status != 0)
		return cli_fail(publishing->context, "%s: %s", path, strerror(-status));
	status = release_image(publishing->remote, publishing->image, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
	return status;
}

static int sign(void *context, struct dsse_envelope *envelope)
{
	const struct publishing *publishing = context;

	return officer_sign_more(publishing->context, "key", envelope) == CLI_OK ? 0
										 : -EKEYREJECTED;
}

static int report(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct publishing *publishing = context;

	publishing->progress.total_bytes = total_bytes;
	output_progress_update(&publishing->progress, done_bytes);
	return 0;
}

/** The version published last, as the base of this one; NULL when there is none. */
static const uint8_t *find_base(struct publishing *publishing, struct version_row *row)
{
	return store_find_version(publishing->store, publishing->image, row, NULL) == 0 ? row->id
											: NULL;
}

static int publish(struct publishing *publishing, const char *disk)
{
	struct publish_options options = {.label = publishing->image,
					  .created = (uint64_t)time(NULL),
					  .signer = {sign, publishing},
					  .progress = {report, publishing}};
	struct problem problem = {.line = ""};
	struct publish_source source;
	struct version_row base;
	int file, status = image_open_raw(publishing->context, disk, publishing->store_path, &file);

	if (status != CLI_OK)
		return status;
	status = publish_source_fd(file, &source);
	options.base = find_base(publishing, &base);
	options.description = publishing->descriptor;
	options.description_bytes = strlen(publishing->descriptor);
	output_progress_start(&publishing->progress, "Reading the disk", 0);
	if (status == 0)
		status = publish_version(publishing->store, &publishing->domain, &source, &options,
					 &publishing->result, &problem);
	output_progress_end(&publishing->progress);
	close(file);
	return status == 0 ? CLI_OK : fail_store(publishing, status, &problem);
}

static void sent(void *context, uint64_t done_bytes)
{
	output_progress_update(&((struct publishing *)context)->progress, done_bytes);
}

static int hash_of(const char *path, char hex[65])
{
	unsigned char digest[32], *bytes = malloc(1 << 20);
	crypto_hash_sha256_state state;
	FILE *file = fopen(path, "re");
	size_t size;
	int status = file && bytes ? 0 : -errno;

	crypto_hash_sha256_init(&state);
	while (status == 0 && (size = fread(bytes, 1, 1 << 20, file)) > 0)
		crypto_hash_sha256_update(&state, bytes, size);
	if (file && ferror(file))
		status = -EIO;
	if (file)
		fclose(file);
	free(bytes);
	crypto_hash_sha256_final(&state, digest);
	sodium_bin2hex(hex, 65, digest, sizeof(digest));
	return status;
}

/** Where it is noted that this server has a pack. Remove the folder "sent" to send everything
 * again. */
static void mark_path(const struct publishing *publishing, const char *name,
		      char path[PATH_MAX + 160])
{
	const char *url = remote_url(publishing->remote);
	unsigned char digest[32];
	char server[17];

	crypto_hash_sha256(digest, (const unsigned char *)url, strlen(url));
	sodium_bin2hex(server, sizeof(server), digest, 8);
	snprintf(path, PATH_MAX + 160, "%s/sent/%s/%s", publishing->store_path, server, name);
}

/** Sends a pack unless it was sent. Its name there is the SHA-256 of its table, as the manifest has
 * it. */
static int send_pack(struct publishing *publishing, const struct manifest_pack *pack)
{
	char file[PATH_MAX + PACK_PATH_BYTES], part[PACK_PATH_BYTES], path[128], name[65], hash[65];
	char mark[PATH_MAX + 160];
	int status;

	store_pack_path(pack->salt, part);
	snprintf(file, sizeof(file), "%s/%s", publishing->store_path, part);
	store_hex(pack->table_name, NAME_BYTES, name);
	snprintf(path, sizeof(path), "/api/v1/packs/%s", name);
	mark_path(publishing, name, mark);
	if (access(mark, F_OK) == 0)
		return CLI_OK;
	status = hash_of(file, hash);
	if (status != 0)
		return cli_fail(publishing->context, "%s: %s", file, strerror(-status));
	output_progress_start(&publishing->progress, "Sending",
			      pack_bytes(pack->table_offset, pack->frame_count));
	status = remote_upload(publishing->remote, path, file, hash, sent, publishing);
	output_progress_end(&publishing->progress);
	/* A mark that cannot be made costs one more sending, nothing else. */
	if (status == CLI_OK)
		settings_write(mark, "");
	return status;
}

static int send_packs(struct publishing *publishing)
{
	struct problem problem = {.line = ""};
	struct manifest manifest;
	int status =
	    store_read_manifest(publishing->store, publishing->result.version, &manifest, &problem);

	if (status != 0)
		return fail_store(publishing, status, &problem);
	for (uint32_t i = 0; status == CLI_OK && i < manifest.pack_count; i++)
		status = send_pack(publishing, &manifest.packs[i]);
	manifest_release(&manifest);
	return status;
}

static int release(struct publishing *publishing, uint64_t *number)
{
	struct release_request request = {.image = publishing->image,
					  .name = publishing->version,
					  .key_option = "key",
					  .stage = cli_value(publishing->context, "stage")};
	struct problem problem = {.line = ""};
	char *envelope, path[PATH_MAX + 16];
	int status = store_version_envelope(publishing->store, publishing->result.version,
					    &envelope, &problem);

	if (status != 0)
		return fail_store(publishing, status, &problem);
	snprintf(path, sizeof(path), "%s/manifest.out", publishing->store_path);
	request.manifest_file = path;
	request.manifest_bytes = strlen(envelope);
	crypto_hash_sha256(request.manifest_sha256, (const unsigned char *)envelope,
			   strlen(envelope));
	if (!request.stage)
		request.stage = "deployed";
	status = settings_write(path, envelope);
	free(envelope);
	if (status != 0)
		return cli_fail(publishing->context, "%s: %s", path, strerror(-status));
	status = release_publish(publishing->remote, publishing->context, &request, number);
	unlink(path);
	return status;
}

static int open_store(struct publishing *publishing)
{
	struct problem problem = {.line = ""};
	const char *given = cli_value(publishing->context, "store");
	int status = 0;

	if (given)
		snprintf(publishing->store_path, sizeof(publishing->store_path), "%s", given);
	else
		status = settings_path("store", publishing->store_path);
	if (status == 0)
		status = store_open(publishing->store_path, true, &publishing->store, &problem);
	return status == 0 ? CLI_OK : fail_store(publishing, status, &problem);
}

/** Reads the descriptor that goes into the manifest, whose signature then covers it too. */
static int read_descriptor(struct publishing *publishing)
{
	const char *file = cli_value(publishing->context, "descriptor");
	struct descriptor descriptor;
	char *text;
	size_t size;
	int status;

	if (!file)
		return CLI_OK;
	status = settings_read(file, DESCRIPTOR_TEXT_MAX - 1, &text, &size);
	if (status != 0)
		return cli_fail(publishing->context, "%s: %s", file, strerror(-status));
	status = descriptor_read(text, size, &descriptor);
	if (status == 0)
		memcpy(publishing->descriptor, text, size + 1);
	free(text);
	return status == 0 ? CLI_OK
			   : cli_fail(publishing->context,
				      "%s is no descriptor; bulkhead image describe makes one", file);
}

static int run(const struct cli_context *context)
{
	struct publishing publishing = {.context = context,
					.image = cli_value(context, "name"),
					.version = cli_value(context, "version")};
	char added[16], all[16];
	uint64_t number = 0;
	int status;

	if (!strict_json_is_name(publishing.image) || !strict_json_is_name(publishing.version))
		return cli_usage(
		    context,
		    "a name is 1 to 64 of a-z 0-9 . _ @ -, beginning with a letter or digit");
	status = read_descriptor(&publishing);
	if (status != CLI_OK)
		return status;
	status = remote_open(context, &publishing.remote);
	if (status == CLI_OK)
		status = officer_unlock(context, "key");
	if (status == CLI_OK)
		status = open_domain(&publishing);
	if (status == CLI_OK)
		status = open_store(&publishing);
	if (status == CLI_OK)
		status = publish(&publishing, cli_argument(context, 0));
	if (status == CLI_OK)
		status = send_packs(&publishing);
	if (status == CLI_OK)
		status = release(&publishing, &number);
	if (status == CLI_OK)
		printf("%s %s is release %llu: %s read, %s new.\n", publishing.image,
		       publishing.version, (unsigned long long)number,
		       output_bytes(publishing.result.read_bytes, all),
		       output_bytes(publishing.result.stored_bytes, added));
	if (publishing.store)
		store_close(publishing.store);
	domain_forget(&publishing.domain);
	remote_close(publishing.remote);
	return status;
}

static const struct cli_option options[] = {
    {"name", "IMAGE", "the image this is a version of; made if it does not exist", 'n', true},
    {"version", "VERSION", "what people call it; versions never change", 0, true},
    {"key", "FILE", "key file of the role images; repeat for several", 'k', true},
    {"descriptor", "FILE", "what its guests must measure as (bulkhead image describe); needed to run them protected",
     0, false},
    {"stage", "STAGE", "draft, test, staged or deployed [deployed]", 0, false},
    {"store", "DIR", "where published blocks are kept for the next version [beside your settings]",
     0, false},
    OFFICER_PASSPHRASE,
    {0}};

const struct cli_command image_publish_commands[] = {
    {"image publish", "DISK", "publish a disk as a version of an image",
     "Only blocks that no version before has are kept and sent. PCs to which the image is assigned "
     "fetch it in the "
     "background and switch to it when the guest next starts. DISK may be in any format that "
     "`bulkhead image import` takes.",
     "bulkhead image publish debian.qcow2 --name work --version 1 --key images.key", options, 1, 1,
     run},
    {0},
};
