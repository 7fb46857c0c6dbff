/*
 * `bulkhead store check`, `store rebuild` and `store collect`: what keeps a store healthy.
 */
#include "image.h"
#include "image_store.h"
#include "output.h"

#include "store/collect.h"
#include "store/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int store_rebuild_run(const struct cli_context *context)
{
	const char *folder = cli_value(context, "store");
	struct check_result result = {0};
	struct problem problem = {""};
	struct image_store opened;
	uint64_t blocks = 0;
	int status = CLI_OK;

	if (repair_rebuild(folder, NULL, &result, &problem))
		return cli_fail(context, "%s", problem.line[0] ? problem.line : "the catalogue could not be rebuilt");
	printf("%" PRIu64 " packs and %" PRIu64 " versions found\n", result.packs, result.versions);
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
