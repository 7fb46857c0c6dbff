/*
 * Boot traces: which parts of a disk a boot reads, in order. Recorded when an image is tested, read when a PC fetches a
 * version. A line of the file is "first count", in blocks.
 */
#include "version_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX       (1u << 20)
#define RECORD_SECONDS 300 /* a boot and a log-in; what is read later belongs to the day's work */

int64_t version_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

void version_record(struct version *version)
{
	uint64_t windows = (version->blocks + WINDOW_BLOCKS - 1) / WINDOW_BLOCKS;
	uint64_t *seen = calloc((windows + 63) / 64, 8);
	uint32_t *order = calloc(windows, sizeof(*order));

	if (!seen || !order || version->seen) {
		free(seen);
		free(order);
		return;
	}
	version->record_until = version_seconds() + RECORD_SECONDS;
	version->order = order;
	__atomic_store_n(&version->seen, seen, __ATOMIC_RELEASE);
}

int version_write_trace(struct version *version, int fd)
{
	FILE *file = fdopen(dup(fd), "w");
	int error = 0;

	if (!file)
		return -errno;
	pthread_mutex_lock(&version->lock);
	for (size_t i = 0, run; i < version->order_count; i += run) {
		uint64_t first = (uint64_t)version->order[i] * WINDOW_BLOCKS, count;

		for (run = 1; i + run < version->order_count && version->order[i + run] == version->order[i] + run; run++)
			;
		count = run * WINDOW_BLOCKS;
		if (count > version->blocks - first)
			count = version->blocks - first;
		fprintf(file, "%" PRIu64 " %" PRIu64 "\n", first, count);
	}
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
