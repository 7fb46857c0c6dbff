/*
 * store_bench.c: the store's library as a command for the benchmark beside this file; not a product.
 *
 *   store_bench publish STORE DISK LABEL [BASE-LABEL] [fast|small]   prints bytes added to the store
 *   store_bench backup STORE DISK LABEL BASE-LABEL CHANGES           CHANGES: lines "first-block count"
 *   store_bench fetch FROM TO LABEL                                  prints bytes asked of the source
 *   store_bench expand STORE LABEL OUT
 *   store_bench collect STORE
 */
#include "store/collect.h"
#include "store/expand.h"
#include "store/fetch.h"
#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct problem problem;
static struct signing_key key;
static struct domain domain;

static int sign(void *context, struct dsse_envelope *envelope)
{
	return dsse_sign(envelope, &key);
}

static void open_store(const char *path, struct store **store)
{
	if (store_open(path, true, store, &problem)) {
		fprintf(stderr, "store_bench: %s\n", problem.line);
		exit(1);
	}
}

static int read_changes(const char *path, struct block_range **ranges, size_t *count)
{
	FILE *file = fopen(path, "r");
	unsigned long long first, blocks;
	size_t room = 0;

	if (!file)
		return -errno;
	while (fscanf(file, "%llu %llu", &first, &blocks) == 2) {
		if (*count == room) {
			room = room ? 2 * room : 1024;
			*ranges = realloc(*ranges, room * sizeof(**ranges));
			if (!*ranges)
				abort();
		}
		(*ranges)[(*count)++] = (struct block_range){first, blocks};
	}
	fclose(file);
	return 0;
}

static int publish(int count, char **words)
{
	struct publish_options options = {.label = words[4], .signer = {.sign = sign}};
	struct block_range *changes = NULL;
	struct publish_result result;
	struct publish_source source;
	struct version_row base;
	struct store *store;
	int fd = open(words[3], O_RDONLY), error;

	open_store(words[2], &store);
	options.created = (uint64_t)time(NULL);
	if (count > 5 && !strcmp(words[count - 1], "fast")) {
		options.level = PUBLISH_LEVEL_FAST;
		count--;
	} else if (count > 5 && !strcmp(words[count - 1], "small")) {
		options.level = PUBLISH_LEVEL_UPDATE;
		count--;
	}
	if (count > 5) {
		error = store_find_version(store, words[5], &base, &problem);
		if (error)
			return error;
		options.base = base.id;
	}
	if (!strcmp(words[1], "backup")) {
		error = read_changes(words[6], &changes, &options.change_count);
		if (error)
			return error;
		options.changes = changes;
	}
	error = fd < 0 ? -errno : publish_source_fd(fd, &source);
	if (!error)
		error = publish_version(store, &domain, &source, &options, &result, &problem);
	if (!error)
		printf("%llu bytes: %llu of map, %llu of manifest; %llu blocks new, %llu moved\n",
		       (unsigned long long)(result.stored_bytes + result.envelope_bytes),
		       (unsigned long long)result.map_bytes, (unsigned long long)result.envelope_bytes,
		       (unsigned long long)result.new_blocks, (unsigned long long)result.moved_blocks);
	free(changes);
	store_close(store);
	return error;
}

static int fetch(char **words)
{
	struct store *from, *to;
	struct fetch_source source;
	struct fetch_result result;
	struct version_row row;
	struct fetch *fetching;
	char *envelope;
	int error;

	open_store(words[2], &from);
	open_store(words[3], &to);
	source = fetch_source_store(from);
	error = store_find_version(from, words[4], &row, &problem);
	if (!error)
		error = store_version_envelope(from, row.id, &envelope, &problem);
	if (!error)
		error = fetch_open(to, &source, envelope, strlen(envelope), NULL, &fetching, &problem);
	if (error)
		return error;
	error = fetch_run(fetching, NULL, &problem);
	fetch_totals(fetching, &result);
	printf("%llu bytes: with the manifest, %llu frames\n",
	       (unsigned long long)(result.fetched_bytes + strlen(envelope)),
	       (unsigned long long)result.frames);
	fetch_close(fetching);
	free(envelope);
	store_close(from);
	store_close(to);
	return error;
}

static int expand(char **words)
{
	int fd = open(words[4], O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct version_row row;
	struct store *store;
	int error;

	open_store(words[2], &store);
	error = fd < 0 ? -errno : store_find_version(store, words[3], &row, &problem);
	if (!error)
		error = expand_version(store, &domain, row.id, fd, NULL, NULL, &problem);
	store_close(store);
	return error;
}

static int collect(char **words)
{
	struct store *store;
	int error;

	open_store(words[2], &store);
	error = collect_run(store, true, NULL, &problem);
	store_close(store);
	return error;
}

int main(int count, char **words)
{
	static const uint8_t fixed[DOMAIN_KEY_BYTES] = {42};
	int error = -EINVAL;

	if (count < 3 || signing_key_start() || signing_key_generate(&key, "bench") ||
	    domain_open(fixed, &domain))
		return 2;
	if (!strcmp(words[1], "publish") && count >= 5)
		error = publish(count, words);
	else if (!strcmp(words[1], "backup") && count == 7)
		error = publish(count, words);
	else if (!strcmp(words[1], "fetch") && count == 5)
		error = fetch(words);
	else if (!strcmp(words[1], "expand") && count == 5)
		error = expand(words);
	else if (!strcmp(words[1], "collect"))
		error = collect(words);
	if (error)
		fprintf(stderr, "store_bench: %s\n", problem.line[0] ? problem.line : strerror(-error));
	return error ? 1 : 0;
}
