/*
 * `bulkhead store publish`, `store list`, and what commands with a store share.
 */
#include "image_store.h"
#include "image.h"
#include "officer.h"
#include "output.h"

#include "convert.h"

#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

static int make_key(const struct cli_context *context, const char *path)
{
	struct domain domain;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), error = 0;

	if (fd < 0)
		return cli_fail(context, "%s: %s", path, strerror(errno));
	if (domain_create(&domain) || write(fd, domain.key, sizeof(domain.key)) != sizeof(domain.key) || fsync(fd))
		error = -EIO;
	domain_forget(&domain);
	close(fd);
	if (!error)
		return CLI_OK;
	unlink(path);
	return cli_fail(context, "%s: the key cannot be written", path);
}

static int read_key(const struct cli_context *context, const char *path, struct domain *domain)
{
	uint8_t key[DOMAIN_KEY_BYTES + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC), error;
	ssize_t length;

	if (fd < 0)
		return cli_fail(context, "%s: %s", path, strerror(errno));
	length = read(fd, key, sizeof(key));
	close(fd);
	error = length == DOMAIN_KEY_BYTES ? domain_open(key, domain) : -EINVAL;
	sodium_memzero(key, sizeof(key));
	return error ? cli_fail(context, "%s: is no key of an image family; such a file has 32 bytes", path) : CLI_OK;
}

int image_store_open(const struct cli_context *context, bool create, struct image_store *opened)
{
	const char *key = cli_value(context, "domain-key");
	struct problem problem = {""};
	int status;

	memset(opened, 0, sizeof(*opened));
	if (create && access(key, F_OK) && errno == ENOENT) {
		status = make_key(context, key);
		if (status != CLI_OK)
			return status;
		fprintf(stderr, "bulkhead: made %s: without it nobody can read this image family; keep it safe\n", key);
	}
	status = read_key(context, key, &opened->domain);
	if (status != CLI_OK)
		return status;
	if (store_open(cli_value(context, "store"), create, &opened->store, &problem)) {
		image_store_close(opened);
		return cli_fail(context, "%s", problem.line);
	}
	return CLI_OK;
}

void image_store_close(struct image_store *opened)
{
	if (opened->store)
		store_close(opened->store);
	domain_forget(&opened->domain);
	opened->store = NULL;
}

static void show_convert(void *context, double percent)
{
	struct output_progress *progress = context;

	output_progress_update(progress, (uint64_t)((double)progress->total_bytes * percent / 100));
}

int image_open_raw(const struct cli_context *context, const char *path, const char *work, int *fd)
{
	struct output_progress progress;
	struct disk_image image;
	struct disk_why why;
	int error;

	if (disk_image_open(path, DISK_FORMATS, NULL, DISK_BYTES_DEFAULT_MAX, &image, &why))
		return cli_fail(context, "%s: %s", path, why.text);
	if (image.facts.format == DISK_RAW) {
		*fd = image.fd;
		return CLI_OK;
	}
	*fd = open(work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	error = *fd < 0 ? disk_refuse(&why, errno, "no temporary file in %s: %s", work, strerror(errno)) : 0;
	if (!error) {
		output_progress_start(&progress, "Reading the image", image.facts.disk_bytes);
		error = disk_image_to_raw(&image, *fd, show_convert, &progress, &why);
		output_progress_end(&progress);
	}
	disk_image_close(&image);
	if (error && *fd >= 0)
		close(*fd);
	return error ? cli_fail(context, "%s: %s", path, why.text) : CLI_OK;
}

static int sign(void *context, struct dsse_envelope *envelope)
{
	return dsse_sign(envelope, context);
}

static int show_publish(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct output_progress *progress = context;

	progress->total_bytes = total_bytes;
	output_progress_update(progress, done_bytes);
	return 0;
}

static void report(const struct cli_context *context, const struct publish_result *result)
{
	char id[2 * VERSION_ID_BYTES + 1], size[16];

	store_hex(result->version, VERSION_ID_BYTES, id);
	if (cli_switch(context, "json")) {
		json_t *report = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "version", id, "new_blocks",
					   (json_int_t)result->new_blocks, "known_blocks",
					   (json_int_t)result->known_blocks, "zero_blocks",
					   (json_int_t)result->zero_blocks, "stored_bytes",
					   (json_int_t)result->stored_bytes, "manifest_bytes",
					   (json_int_t)result->envelope_bytes);

		output_json(report);
		json_decref(report);
		return;
	}
	printf("%s\n", id);
	fprintf(stderr, "%" PRIu64 " blocks new, %" PRIu64 " known, %" PRIu64 " zero; the store grew by %s\n",
		result->new_blocks, result->known_blocks, result->zero_blocks,
		output_bytes(result->stored_bytes, size));
}

/** Publishes an opened raw disk. */
static int publish(const struct cli_context *context, struct image_store *opened, int fd, struct signing_key *key)
{
	struct publish_source source;
	struct publish_result result;
	struct output_progress progress;
	struct problem problem = {""};
	struct version_row base;
	struct publish_options options = {
		.label = cli_argument(context, 1),
		.created = (uint64_t)time(NULL),
		.level = cli_switch(context, "fast") ? PUBLISH_LEVEL_FAST : 0,
		.signer = {.sign = sign, .context = key},
		.progress = {.report = show_publish, .context = &progress},
	};
	int error = publish_source_fd(fd, &source);

	if (error)
		return cli_fail(context, "%s: %s", cli_argument(context, 0), strerror(-error));
	if (cli_value(context, "base")) {
		if (store_find_version(opened->store, cli_value(context, "base"), &base, &problem))
			return cli_fail(context, "%s", problem.line);
		options.base = base.id;
	}
	output_progress_start(&progress, "Publishing", source.bytes);
	error = publish_version(opened->store, &opened->domain, &source, &options, &result, &problem);
	output_progress_end(&progress);
	if (error)
		return cli_fail(context, "%s", problem.line[0] ? problem.line : strerror(-error));
	report(context, &result);
	return CLI_OK;
}

int store_publish_run(const struct cli_context *context)
{
	const char *work = cli_value(context, "work");
	struct image_store opened;
	struct signing_key key;
	int fd, status;

	if (sodium_init() < 0)
		return cli_fail(context, "no random numbers");
	status = officer_key(context, cli_value(context, "key"), &key);
	if (status != CLI_OK)
		return status;
	status = image_store_open(context, true, &opened);
	if (status == CLI_OK) {
		status = image_open_raw(context, cli_argument(context, 0), work ? work : cli_value(context, "store"),
					&fd);
		if (status == CLI_OK) {
			status = publish(context, &opened, fd, &key);
			close(fd);
		}
		image_store_close(&opened);
	}
	signing_key_forget(&key);
	return status;
}

static int add_row(void *context, const struct version_row *row)
{
	char id[2 * VERSION_ID_BYTES + 1];

	store_hex(row->id, VERSION_ID_BYTES, id);
	json_array_append_new(context, json_pack("{s:s, s:s#, s:s, s:I, s:I, s:I, s:b}", "version", id, "short", id, 12,
						 "label", row->label, "created", (json_int_t)row->created, "disk_bytes",
						 (json_int_t)row->disk_bytes, "stored_bytes",
						 (json_int_t)row->stored_bytes, "arrived", row->arrived));
	return 0;
}

int store_list_run(const struct cli_context *context)
{
	static const struct output_column columns[] = {
		{"short", "VERSION", OUTPUT_TEXT},     {"label", "LABEL", OUTPUT_TEXT},
		{"created", "CREATED", OUTPUT_TIME},   {"disk_bytes", "DISK", OUTPUT_BYTES},
		{"stored_bytes", "STORED", OUTPUT_BYTES},
	};
	const char *folder = cli_value(context, "store");
	struct problem problem = {""};
	struct store *store;
	json_t *rows;

	if (store_open(folder, false, &store, &problem))
		return cli_fail(context, "%s", problem.line);
	rows = json_array();
	store_each_version(store, add_row, rows);
	store_close(store);
	output_rows(rows, cli_switch(context, "json"), OUTPUT_COLUMNS(columns), "No versions in this store.");
	return CLI_OK;
}
