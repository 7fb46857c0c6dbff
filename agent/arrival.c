/* A release on its way to this PC: see arrival.h. The socket is in arrival_feed.c. */
#include "arrival.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent_log.h"
#include "agent_policy.h"
#include "arrival_private.h"
#include "durable_file.h"

#define CONNECTIONS	 4
#define RANGE_BYTES	 (1u << 20) /* short, so that who waits for a frame is not kept behind one */
#define PAUSE_MOST	 60	    /* seconds between tries on a line that is down */
#define MOMENT_MICROSECONDS 2000
#define WINDOW_CHECK_MICROSECONDS 500000

/** The catalogue's signature covers the manifest's bytes; its own must be of the same role all the
 * same. */
static int verify(void *context, const struct dsse_envelope *envelope)
{
	const struct agent *agent = context;

	return roles_verify(&agent->memory.roles, ROLE_IMAGES, DSSE_TYPE_MANIFEST, envelope);
}

static int fail(struct arrival *arrival, int result)
{
	char why[AGENT_ERROR_MAX] = "";

	if (arrival->source_open)
		pack_source_error(&arrival->packs, why);
	return agent_fail(arrival->agent, result, "%s: release %llu: %.200s", arrival->image,
			  (unsigned long long)arrival->release,
			  why[0]			  ? why
			  : arrival->problem.line[0] ? arrival->problem.line
						     : strerror(-result));
}

static int open_parts(struct arrival *arrival, const char *envelope)
{
	const struct version_trust trust = {verify, arrival->agent};
	const struct fetch_options map = {.threads = 1, .map_only = true};
	char path[AGENT_PATH_MAX], part[AGENT_NAME_MAX + 32];
	int result;

	snprintf(part, sizeof(part), "images/%s/store", arrival->image);
	agent_path(arrival->agent, part, path);
	result = store_open(path, true, &arrival->store, &arrival->problem);
	if (result == 0)
		result = pack_source_open(arrival->agent, "/packs/", envelope, strlen(envelope),
					  CONNECTIONS, true, &arrival->packs);
	arrival->source_open = result == 0;
	if (result != 0)
		return result;
	do {
		result = fetch_open(arrival->store, &arrival->packs.source, envelope, strlen(envelope),
				    &trust, &arrival->fetch, &arrival->problem);
	} while (result == -EBADMSG && pack_source_leave_cache(&arrival->packs));
	if (result != 0)
		return result;
	do {
		result = fetch_run(arrival->fetch, &map, &arrival->problem);
	} while (result == -EBADMSG && pack_source_leave_cache(&arrival->packs));
	return result;
}

static void release_parts(struct arrival *arrival)
{
	if (arrival->fetch)
		fetch_close(arrival->fetch);
	if (arrival->source_open)
		pack_source_close(&arrival->packs);
	if (arrival->store)
		store_close(arrival->store);
	pthread_cond_destroy(&arrival->wake);
	pthread_mutex_destroy(&arrival->lock);
	free(arrival->first);
	free(arrival);
}

int arrival_open(struct agent *agent, const struct arrival_request *request,
		 struct arrival **opened)
{
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	int result;

	if (!arrival)
		return agent_fail(agent, -ENOMEM, "%s: memory ran out", request->image);
	arrival->agent = agent;
	arrival->release = request->release;
	arrival->can_wait = request->can_wait;
	arrival->listener = arrival->stop_event = -1;
	for (int i = 0; i < FEED_CONNECTIONS; i++)
		arrival->connections[i].file = -1;
	snprintf(arrival->image, sizeof(arrival->image), "%s", request->image);
	snprintf(arrival->directory, sizeof(arrival->directory), "%s", request->directory);
	snprintf(arrival->feed, sizeof(arrival->feed), "%s", request->feed);
	pthread_mutex_init(&arrival->lock, NULL);
	pthread_cond_init(&arrival->wake, NULL);
	result = open_parts(arrival, request->envelope);
	if (result != 0) {
		fail(arrival, result);
		release_parts(arrival);
		return result;
	}
	*opened = arrival;
	return 0;
}

const uint8_t *arrival_version(const struct arrival *arrival)
{
	return fetch_version_id(arrival->fetch);
}

const struct manifest *arrival_manifest(const struct arrival *arrival)
{
	return fetch_manifest(arrival->fetch);
}

struct store *arrival_store(struct arrival *arrival)
{
	return arrival->store;
}

void arrival_set_order(struct arrival *arrival, struct frame_address *first, size_t count)
{
	free(arrival->first);
	arrival->first = first;
	arrival->first_count = count;
}

static bool in_window(struct arrival *arrival)
{
	struct agent *agent = arrival->agent;
	char window[16];

	/* The text belongs to the policy, which may be replaced at any time. */
	pthread_mutex_lock(&agent->lock);
	snprintf(window, sizeof(window), "%.15s", agent->effective.values[POLICY_TRANSFER_WINDOW].text);
	pthread_mutex_unlock(&agent->lock);
	return agent_policy_in_window(window, time(NULL));
}

/** Waits for the hours in which policy has what nobody waits for arrive. */
static void wait_for_window(struct arrival *arrival)
{
	bool waits = arrival->can_wait && !in_window(arrival);

	while (waits && !arrival_stops(arrival)) {
		pthread_mutex_lock(&arrival->lock);
		arrival->progress.waits_for_window = true;
		pthread_mutex_unlock(&arrival->lock);
		usleep(WINDOW_CHECK_MICROSECONDS);
		waits = !in_window(arrival);
	}
	pthread_mutex_lock(&arrival->lock);
	arrival->progress.waits_for_window = false;
	pthread_mutex_unlock(&arrival->lock);
}

/** Something came: nothing is waited for. Stands aside while a guest waits for frames. */
static int report(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct arrival *arrival = context;

	pthread_mutex_lock(&arrival->lock);
	arrival->progress.error[0] = '\0';
	pthread_mutex_unlock(&arrival->lock);
	while (__atomic_load_n(&arrival->urgent, __ATOMIC_RELAXED) > 0 && !arrival_stops(arrival))
		usleep(MOMENT_MICROSECONDS);
	wait_for_window(arrival);
	return arrival_stops(arrival);
}

static int finish(struct arrival *arrival)
{
	char path[AGENT_PATH_MAX + 16], hex[2 * VERSION_ID_BYTES + 1];
	struct fetch_result totals;
	int result;

	snprintf(path, sizeof(path), "%s/complete", arrival->directory);
	store_hex(arrival_version(arrival), VERSION_ID_BYTES, hex);
	result = durable_file_write(path, hex, strlen(hex), 0600);
	if (result != 0)
		return result;
	fetch_totals(arrival->fetch, &totals);
	agent_log(AGENT_INFO, "release.fetched", "s:s, s:I, s:I, s:I, s:I, s:I", "image", arrival->image,
		  "release", (json_int_t)arrival->release, "fetched_bytes",
		  (json_int_t)totals.fetched_bytes, "from_cache_bytes",
		  (json_int_t)__atomic_load_n(&arrival->packs.from_cache_bytes, __ATOMIC_RELAXED), "requests", (json_int_t)totals.requests,
		  "asked_for", (json_int_t)__atomic_load_n(&arrival->asked, __ATOMIC_RELAXED));
	return 0;
}

void arrival_note(struct arrival *arrival, int result)
{
	char why[AGENT_ERROR_MAX] = "";

	pack_source_error(&arrival->packs, why);
	pthread_mutex_lock(&arrival->lock);
	snprintf(arrival->progress.error, sizeof(arrival->progress.error), "%.300s",
		 why[0]				 ? why
		 : arrival->problem.line[0] ? arrival->problem.line
					    : strerror(-result));
	pthread_mutex_unlock(&arrival->lock);
}

/** Waits before the next try; false when it is to end. */
static bool pause_seconds(struct arrival *arrival, unsigned int seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&arrival->lock);
	if (!arrival_stops(arrival))
		pthread_cond_timedwait(&arrival->wake, &arrival->lock, &until);
	pthread_mutex_unlock(&arrival->lock);
	return !arrival_stops(arrival);
}

static void *bring_all(void *context)
{
	struct arrival *arrival = context;
	const struct fetch_options options = {.threads = 1,
					      .first = arrival->first,
					      .first_count = arrival->first_count,
					      .range_bytes = RANGE_BYTES,
					      .progress = {report, arrival}};
	unsigned int pause = 1;
	int result;

	for (;;) {
		arrival->problem.line[0] = '\0';
		wait_for_window(arrival);
		result = fetch_run(arrival->fetch, &options, &arrival->problem);
		if (result == 0)
			result = finish(arrival);
		if (result == 0 || arrival_stops(arrival))
			break;
		if (result == -EBADMSG && pack_source_leave_cache(&arrival->packs))
			continue;
		arrival_note(arrival, result);
		if (!pause_seconds(arrival, pause))
			break;
		pause = 2 * pause < PAUSE_MOST ? 2 * pause : PAUSE_MOST;
	}
	pthread_mutex_lock(&arrival->lock);
	arrival->progress.complete = result == 0;
	arrival->progress.error[0] = '\0';
	pthread_mutex_unlock(&arrival->lock);
	if (result == 0) {
		pthread_mutex_lock(&arrival->agent->lock);
		agent_kick(arrival->agent);
		pthread_mutex_unlock(&arrival->agent->lock);
	}
	return NULL;
}

bool arrival_started(const struct arrival *arrival)
{
	return arrival->has_thread;
}

int arrival_start(struct arrival *arrival)
{
	struct agent *agent = arrival->agent;
	int place = -1, result = arrival_feed_start(arrival);

	if (result == 0) {
		result = -pthread_create(&arrival->thread, NULL, bring_all, arrival);
		arrival->has_thread = result == 0;
	}
	pthread_mutex_lock(&agent->lock);
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (!agent->arrivals[i])
			place = i;
	if (result == 0 && place < 0)
		result = -EMFILE;
	if (result == 0)
		agent->arrivals[place] = arrival;
	pthread_mutex_unlock(&agent->lock);
	if (result != 0) {
		fail(arrival, result);
		arrival_close(arrival);
	}
	return result;
}

void arrival_close(struct arrival *arrival)
{
	struct agent *agent = arrival->agent;

	pthread_mutex_lock(&agent->lock);
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (agent->arrivals[i] == arrival)
			agent->arrivals[i] = NULL;
	pthread_mutex_unlock(&agent->lock);
	__atomic_store_n(&arrival->packs.stop, true, __ATOMIC_RELAXED);
	pthread_mutex_lock(&arrival->lock);
	pthread_cond_broadcast(&arrival->wake);
	pthread_mutex_unlock(&arrival->lock);
	arrival_feed_stop(arrival);
	if (arrival->has_thread)
		pthread_join(arrival->thread, NULL);
	release_parts(arrival);
}

void arrival_close_all(struct agent *agent)
{
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (agent->arrivals[i])
			arrival_close(agent->arrivals[i]);
}

struct arrival *arrival_find(struct agent *agent, const char *image, uint64_t release)
{
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (agent->arrivals[i] && strcmp(agent->arrivals[i]->image, image) == 0 &&
		    (release == 0 || agent->arrivals[i]->release == release))
			return agent->arrivals[i];
	return NULL;
}

void arrival_progress(struct arrival *arrival, struct arrival_progress *progress)
{
	uint64_t missing, frames;

	pthread_mutex_lock(&arrival->lock);
	*progress = arrival->progress;
	pthread_mutex_unlock(&arrival->lock);
	fetch_missing(arrival->fetch, &missing, &frames);
	progress->total_bytes = fetch_manifest(arrival->fetch)->stored_bytes;
	progress->done_bytes =
	    missing < progress->total_bytes ? progress->total_bytes - missing : 0;
}

uint64_t arrival_release(const struct arrival *arrival)
{
	return arrival->release;
}

const char *arrival_image(const struct arrival *arrival)
{
	return arrival->image;
}
