/*
 * Boot traces: which blocks of a disk a boot reads, in order. Recorded when an image is tested, read when a PC fetches a
 * version. A line of the file is "first count", in blocks. Exactly the blocks that were read: their neighbours may lie
 * in other frames, which would have to be fetched for nothing.
 */
#include "version_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX	 (1u << 20)
#define RECORD_SECONDS	 300 /* a boot and a log-in; what is read later belongs to the day's work */
#define RECORD_RUNS_MAX	 47000u /* lines of at most 22 bytes: less than the MiB that a server takes */

int64_t version_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

void version_record(struct version *version)
{
	uint64_t *seen = calloc((version->blocks + 63) / 64, 8);
	struct blockmap_run *runs = calloc(RECORD_RUNS_MAX, sizeof(*runs));

	if (!seen || !runs || version->seen) {
		free(seen);
		free(runs);
		return;
	}
	version->record_until = version_seconds() + RECORD_SECONDS;
	version->runs = runs;
	__atomic_store_n(&version->seen, seen, __ATOMIC_RELEASE);
}

void version_record_read(struct version *version, uint64_t first, uint64_t count)
{
	if (version_seconds() > version->record_until)
		return;
	pthread_mutex_lock(&version->lock);
	for (uint64_t block = first; block < first + count; block++) {
		struct blockmap_run *last = version->run_count ? &version->runs[version->run_count - 1] : NULL;

		if (version->seen[block / 64] >> (block % 64) & 1)
			continue;
		if (last && last->first + last->count == block && last->count < UINT32_MAX)
			last->count++;
		else if (version->run_count < RECORD_RUNS_MAX)
			version->runs[version->run_count++] = (struct blockmap_run){.first = block, .count = 1};
		else
			break;
		version->seen[block / 64] |= 1ull << (block % 64);
	}
	pthread_mutex_unlock(&version->lock);
}

int version_write_trace(struct version *version, int fd)
{
	FILE *file = fdopen(dup(fd), "w");
	int error = 0;

	if (!file)
		return -errno;
	pthread_mutex_lock(&version->lock);
	for (size_t i = 0; i < version->run_count; i++)
		fprintf(file, "%" PRIu64 " %" PRIu32 "\n", version->runs[i].first, version->runs[i].count);
	pthread_mutex_unlock(&version->lock);
	if (fflush(file) || fsync(fd))
		error = -errno;
	fclose(file);
	return error;
}

/** One decimal number and the character behind it. */
static bool take_number(const char **text, const char *end, char behind, uint64_t *value)
{
	const char *start = *text;

	*value = 0;
	while (*text < end && **text >= '0' && **text <= '9' && *text - start < 19)
		*value = *value * 10 + (uint64_t)(*(*text)++ - '0');
	if (*text == start || *text == end || **text != behind)
		return false;
	++*text;
	return true;
}

int version_trace_read(const char *text, size_t bytes, uint64_t blocks, struct version_trace *trace)
{
	const char *end = text + bytes;
	size_t room = 0;

	memset(trace, 0, sizeof(*trace));
	while (text < end) {
		uint64_t first, count;

		if (!take_number(&text, end, ' ', &first) || !take_number(&text, end, '\n', &count) || count == 0 ||
		    count > UINT32_MAX || first >= blocks || count > blocks - first || trace->count == RUNS_MAX) {
			version_trace_release(trace);
			return -EBADMSG;
		}
		if (trace->count == room) {
			struct blockmap_run *more = reallocarray(trace->runs, room = 2 * room + 64, sizeof(*more));

			if (!more) {
				version_trace_release(trace);
				return -ENOMEM;
			}
			trace->runs = more;
		}
		trace->runs[trace->count++] = (struct blockmap_run){.first = first, .count = (uint32_t)count};
	}
	return 0;
}

void version_trace_release(struct version_trace *trace)
{
	free(trace->runs);
	memset(trace, 0, sizeof(*trace));
}
