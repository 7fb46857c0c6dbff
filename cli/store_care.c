/*
 * `bulkhead store check`, `store rebuild` and `store collect`: what keeps a store healthy.
 */
#include "image.h"
#include "image_store.h"
#include "output.h"
#include "settings.h"

#include "store/collect.h"
#include "store/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define FAULTS_MAX 65536u

struct faults {
	struct fault *all;
	size_t count;
};

static int note_fault(void *context, const struct fault *fault)
{
	struct faults *faults = context;

	if (faults->count < FAULTS_MAX)
		faults->all[faults->count++] = *fault;
	return 0;
}

static int show_progress(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct output_progress *progress = context;

	progress->total_bytes = total_bytes;
	output_progress_update(progress, done_bytes);
	return 0;
}

/* Reads everything in the store; the faults found are in @faults, which has room. */
static int check(const struct cli_context *context, struct store *store, struct faults *faults,
		 struct check_result *result)
{
	struct output_progress progress;
	struct progress watch = {.report = show_progress, .context = &progress};
	struct problem problem = {""};
	int error;

	faults->count = 0;
	output_progress_start(&progress, "Checking", 0);
	error = repair_check(store, note_fault, faults, &watch, result, &problem);
	output_progress_end(&progress);
	return error ? cli_fail(context, "%s", problem.line) : CLI_OK;
}

/* Gets what is damaged from another store; says what could not be had. */
static int mend(const struct cli_context *context, struct store *store, const struct faults *faults, const char *folder)
{
	struct problem problem = {""};
	struct fetch_source source;
	struct store *other;

	if (store_open(folder, false, &other, &problem))
		return cli_fail(context, "%s", problem.line);
	source = fetch_source_store(other);
	for (size_t i = 0; i < faults->count; i++) {
		problem.line[0] = '\0';
		if (repair_fault(store, &faults->all[i], &source, &problem))
			fprintf(stderr, "bulkhead: %s\n", problem.line);
	}
	store_close(other);
	return CLI_OK;
}

static void print_check(const struct cli_context *context, const struct faults *faults,
			const struct check_result *result)
{
	json_t *lines = json_array();
	char line[160], size[16];

	for (size_t i = 0; i < faults->count; i++) {
		repair_describe(&faults->all[i], line, sizeof(line));
		json_array_append_new(lines, json_string(line));
		if (!cli_switch(context, "json"))
			printf("%s\n", line);
	}
	if (cli_switch(context, "json")) {
		json_t *report = json_pack("{s:I, s:I, s:I, s:I, s:I, s:O}", "packs", (json_int_t)result->packs,
					   "frames", (json_int_t)result->frames, "bytes", (json_int_t)result->bytes,
					   "versions", (json_int_t)result->versions, "faults",
					   (json_int_t)result->faults, "lines", lines);

		output_json(report);
		json_decref(report);
	} else {
		printf("%" PRIu64 " packs, %" PRIu64 " frames, %s, %" PRIu64 " versions: %" PRIu64 " faults\n",
		       result->packs, result->frames, output_bytes(result->bytes, size), result->versions,
		       result->faults);
	}
	json_decref(lines);
}

int store_check_run(const struct cli_context *context)
{
	const char *other = cli_value(context, "repair");
	struct faults faults = {.all = calloc(FAULTS_MAX, sizeof(*faults.all))};
	struct check_result result = {0};
	struct problem problem = {""};
	struct store *store;
	int status;

	if (!faults.all)
		return cli_fail(context, "not enough memory");
	if (store_open(cli_value(context, "store"), false, &store, &problem)) {
		free(faults.all);
		return cli_fail(context, "%s", problem.line);
	}
	status = check(context, store, &faults, &result);
	if (status == CLI_OK && result.faults && other) {
		status = mend(context, store, &faults, other);
		if (status == CLI_OK)
			status = check(context, store, &faults, &result);
	}
	if (status == CLI_OK) {
		print_check(context, &faults, &result);
		if (result.faults)
			status = cli_fail(context, other ? "what is named above is still damaged; repair from another store"
							 : "what is named above is damaged; --repair STORE gets it "
							   "again from a store that has it");
	}
	store_close(store);
	free(faults.all);
	return status;
}

/* Whose signature makes a version one of this store's. */
struct signers {
	struct public_key keys[DSSE_SIGNATURES_MAX];
	size_t count;
};

static int is_signed(void *context, const struct dsse_envelope *envelope)
{
	const struct signers *signers = context;

	return dsse_verify(envelope, DSSE_TYPE_MANIFEST, signers->keys, signers->count, 1);
}

static int read_signers(const struct cli_context *context, struct signers *signers)
{
	const char *file;

	while ((file = cli_value_at(context, "key", signers->count))) {
		char name[SIGNING_KEY_NAME_MAX], *text;
		size_t text_bytes;
		int error;

		if (signers->count == DSSE_SIGNATURES_MAX)
			return cli_usage(context, "at most %d keys", DSSE_SIGNATURES_MAX);
		error = settings_read(file, SIGNING_KEY_FILE_MAX, &text, &text_bytes);
		if (error)
			return cli_fail(context, "%s: %s", file, strerror(-error));
		error = signing_key_read_public(text, text_bytes, &signers->keys[signers->count++], name);
		sodium_memzero(text, text_bytes);
		free(text);
		if (error)
			return cli_fail(context, "%s: not a key file; name the one that versions were signed with", file);
	}
	if (!signers->count == !cli_switch(context, "any-signer"))
		return cli_usage(context, "name the keys that versions must be signed with (--key FILE), or say --any-signer");
	return CLI_OK;
}

int store_rebuild_run(const struct cli_context *context)
{
	const char *folder = cli_value(context, "store");
	struct signers signers = {.count = 0};
	const struct version_trust trust = {is_signed, &signers};
	struct check_result result = {0};
	struct problem problem = {""};
	struct image_store opened;
	uint64_t blocks = 0;
	int status = sodium_init() < 0 ? cli_fail(context, "no random numbers") : read_signers(context, &signers);

	if (status != CLI_OK)
		return status;
	if (repair_rebuild(folder, signers.count ? &trust : NULL, &result, &problem))
		return cli_fail(context, "%s", problem.line[0] ? problem.line : "the catalogue could not be rebuilt");
	printf("%" PRIu64 " packs and %" PRIu64 " versions found", result.packs, result.versions);
	if (result.faults)
		printf("; %" PRIu64 " left out: damaged, or not signed by these keys", result.faults);
	putchar('\n');
	if (!cli_value(context, "domain-key"))
		return CLI_OK;
	status = image_store_open(context, false, &opened);
	if (status != CLI_OK)
		return status;
	if (repair_index(opened.store, &opened.domain, &blocks, &problem))
		status = cli_fail(context, "%s", problem.line);
	else
		printf("%" PRIu64 " blocks indexed\n", blocks);
	image_store_close(&opened);
	return status;
}

int store_collect_run(const struct cli_context *context)
{
	struct collect_result result;
	struct problem problem = {""};
	struct store *store;
	char freed[16];
	int error;

	if (store_open(cli_value(context, "store"), false, &store, &problem))
		return cli_fail(context, "%s", problem.line);
	error = collect_run(store, cli_switch(context, "now"), &result, &problem);
	store_close(store);
	if (error)
		return cli_fail(context, "%s", problem.line);
	printf("%s given back; %" PRIu64 " frames are used, %" PRIu64 " wait for the next collection\n",
	       output_bytes(result.freed_bytes, freed), result.live_frames, result.dead_frames);
	return CLI_OK;
}
