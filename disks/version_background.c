/*
 * Brings the rest of a version: first what its boot trace names, in that order, then everything in disk order. Whoever
 * waits for a block goes first. What has arrived is made last every 64 MiB.
 */
#include "version_private.h"

#include <errno.h>
#include <time.h>

#define FLUSH_BLOCKS 16384u

static bool stopped(const struct version *version)
{
	return __atomic_load_n(&version->stop, __ATOMIC_RELAXED);
}

static const struct timespec moment = {.tv_nsec = 1000000}, while_frames_travel = {.tv_nsec = 50000000};

static void let_others_go_first(const struct version *version)
{
	while (__atomic_load_n(&version->urgent, __ATOMIC_RELAXED) && !stopped(version))
		nanosleep(&moment, NULL);
}

static int bring_run(struct version *version, uint64_t first, uint64_t count, uint64_t *since_flush)
{
	int error = 0;

	while (!error && count && !stopped(version)) {
		uint64_t now = WINDOW_BLOCKS - first % WINDOW_BLOCKS;

		if (now > count)
			now = count;
		let_others_go_first(version);
		error = version_bring(version, first, now, false);
		if (error == -EAGAIN) {
			/* No window is held meanwhile, so that who needs this one can ask for it urgently. */
			nanosleep(&while_frames_travel, NULL);
			error = 0;
			continue;
		}
		*since_flush += now;
		if (!error && *since_flush >= FLUSH_BLOCKS) {
			*since_flush = 0;
			error = layer_flush(version->layer);
		}
		first += now;
		count -= now;
	}
	return error;
}

static void *background(void *context)
{
	struct version *version = context;
	const struct version_trace *trace = version->options.trace;
	uint64_t since_flush = 0;
	int error = 0;

	for (size_t i = 0; trace && !error && i < trace->count; i++)
		error = bring_run(version, trace->runs[i].first, trace->runs[i].count, &since_flush);
	if (!error)
		error = bring_run(version, 0, version->blocks, &since_flush);
	if (!error)
		error = layer_flush(version->layer);
	pthread_mutex_lock(&version->lock);
	version->background_error = error;
	version->done = !error && !stopped(version);
	pthread_mutex_unlock(&version->lock);
	return NULL;
}

int version_start_background(struct version *version)
{
	int error = pthread_create(&version->thread, NULL, background, version);

	version->has_thread = !error;
	return -error;
}

void version_stop_background(struct version *version)
{
	if (!version->has_thread)
		return;
	__atomic_store_n(&version->stop, 1, __ATOMIC_RELAXED);
	pthread_join(version->thread, NULL);
	version->has_thread = false;
}

struct version_progress version_progress(struct version *version)
{
	struct version_progress progress = {.blocks = version->blocks};

	for (uint64_t at = 0, same; at < version->blocks; at += same) {
		enum block_state state;

		same = layer_run(version->layer, at, version->blocks - at, &state);
		if (state != BLOCK_ABSENT)
			progress.arrived += same;
	}
	pthread_mutex_lock(&version->lock);
	progress.error = version->background_error;
	progress.done = version->done;
	pthread_mutex_unlock(&version->lock);
	return progress;
}
