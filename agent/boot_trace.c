/* Boot traces on a PC: see boot_trace.h. */
#include "boot_trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_disks.h"
#include "agent_guest.h"
#include "agent_log.h"
#include "durable_file.h"
#include "store/image.h"
#include "version.h"

#define TRACE_MAX_BYTES	 (1u << 20)
#define FRAMES_MAX	 (1u << 16)
#define LOCATE_BLOCKS	 64u
#define RING_THAT_RECORDS "test"

static void call_path(const char *image, uint64_t release, char path[192])
{
	snprintf(path, 192, "/api/v1/device/images/%s/versions/%llu/trace", image,
		 (unsigned long long)release);
}

static uint64_t blocks_of(const struct arrival *arrival)
{
	return manifest_blocks(arrival_manifest(arrival));
}

void boot_trace_fetch(struct agent *agent, const struct arrival *arrival)
{
	char call[192], path[AGENT_PATH_MAX];
	struct agent_http_answer answer;
	struct version_trace trace;
	int result;

	agent_disks_release_path(agent, arrival_image(arrival), arrival_release(arrival), "trace",
				 path);
	if (access(path, F_OK) == 0)
		return;
	call_path(arrival_image(arrival), arrival_release(arrival), call);
	result = agent_http_call(agent->http, "GET", call, NULL, NULL, 0, TRACE_MAX_BYTES, &answer);
	if (result == 0 && answer.status == 200) {
		result = version_trace_read((const char *)answer.body, answer.body_bytes,
					    blocks_of(arrival), &trace);
		if (result == 0) {
			version_trace_release(&trace);
			result = durable_file_write(path, answer.body, answer.body_bytes, 0600);
		}
	}
	agent_http_free(&answer);
	if (result != 0)
		agent_log(AGENT_WARNING, "trace.refused", "s:s, s:I, s:s", "image",
			  arrival_image(arrival), "release", (json_int_t)arrival_release(arrival),
			  "reason", strerror(-result));
}

struct frame_order {
	struct frame_address *frames;
	size_t count;
};

/** Adds a frame unless it is the one added last: a run's blocks mostly share theirs. */
static int add_frame(struct frame_order *order, const struct manifest *manifest, struct block_ref ref)
{
	struct frame_address *last = order->count > 0 ? &order->frames[order->count - 1] : NULL;
	const uint8_t *salt;

	if (ref_is_zero(ref) || ref.pack >= manifest->pack_count)
		return 0;
	salt = manifest->packs[ref.pack].salt;
	if (last && last->number == ref.number && memcmp(last->salt, salt, SALT_BYTES) == 0)
		return 0;
	if (order->count == FRAMES_MAX)
		return -E2BIG;
	order->frames[order->count].number = ref.number;
	memcpy(order->frames[order->count++].salt, salt, SALT_BYTES);
	return 0;
}

static int add_run(struct frame_order *order, struct image *image, const struct blockmap_run *run)
{
	struct block_ref refs[LOCATE_BLOCKS];
	struct image_frame missing;
	int result = 0;

	for (uint64_t at = 0; result == 0 && at < run->count; at += LOCATE_BLOCKS) {
		uint64_t left = run->count - at;
		uint32_t count = left < LOCATE_BLOCKS ? (uint32_t)left : LOCATE_BLOCKS;

		result = image_locate(image, run->first + at, count, refs, &missing);
		for (uint32_t i = 0; result == 0 && i < count; i++)
			result = add_frame(order, image_manifest(image), refs[i]);
	}
	return result;
}

static int make_order(struct arrival *arrival, const unsigned char key[32],
		      const struct version_trace *trace, struct frame_order *order)
{
	struct problem problem = {.line = ""};
	struct domain domain;
	struct image *image;
	int result = domain_open(key, &domain);

	if (result != 0)
		return result;
	order->frames = calloc(FRAMES_MAX, sizeof(*order->frames));
	result = order->frames ? image_open(arrival_store(arrival), &domain,
					    arrival_version(arrival), &image, &problem)
			       : -ENOMEM;
	if (result == 0) {
		for (size_t i = 0; result == 0 && i < trace->count; i++)
			result = add_run(order, image, &trace->runs[i]);
		image_close(image);
	}
	domain_forget(&domain);
	/* What fits is an order, too. */
	return result == -E2BIG ? 0 : result;
}

void boot_trace_follow(struct agent *agent, struct arrival *arrival, const unsigned char key[32])
{
	struct frame_order order = {.count = 0};
	struct version_trace trace;
	char path[AGENT_PATH_MAX];
	unsigned char *text;
	size_t size;
	int result;

	agent_disks_release_path(agent, arrival_image(arrival), arrival_release(arrival), "trace",
				 path);
	if (durable_file_read(path, TRACE_MAX_BYTES, &text, &size) != 0)
		return;
	result = version_trace_read((const char *)text, size, blocks_of(arrival), &trace);
	free(text);
	if (result == 0) {
		result = make_order(arrival, key, &trace, &order);
		version_trace_release(&trace);
	}
	if (result == 0) {
		agent_log(AGENT_INFO, "trace.followed", "s:s, s:I, s:I", "image",
			  arrival_image(arrival), "release", (json_int_t)arrival_release(arrival),
			  "frames", (json_int_t)order.count);
		arrival_set_order(arrival, order.frames, order.count);
		return;
	}
	free(order.frames);
	agent_log(AGENT_WARNING, "trace.refused", "s:s, s:I, s:s", "image", arrival_image(arrival),
		  "release", (json_int_t)arrival_release(arrival), "reason", strerror(-result));
}

void boot_trace_record_path(const struct agent *agent, const char *image, uint64_t release,
			    char path[AGENT_PATH_MAX])
{
	agent_disks_release_path(agent, image, release, "trace", path);
	if (access(path, F_OK) == 0 || !agent->state ||
	    strcmp(agent->state->ring, RING_THAT_RECORDS) != 0)
		path[0] = '\0';
	else
		agent_disks_release_path(agent, image, release, "recorded", path);
}

void boot_trace_send(struct agent *agent, const struct agent_guest_row *guest)
{
	static const char *const headers[] = {"Content-Type: text/plain", NULL};
	char call[192], recorded[AGENT_PATH_MAX], trace[AGENT_PATH_MAX];
	struct agent_http_answer answer;
	unsigned char *text;
	size_t size;
	bool runs;
	int result;

	agent_disks_release_path(agent, guest->name, guest->current, "recorded", recorded);
	agent_disks_release_path(agent, guest->name, guest->current, "trace", trace);
	pthread_mutex_lock(&agent->lock);
	runs = agent_guest_running(agent, guest->name) != NULL;
	pthread_mutex_unlock(&agent->lock);
	if (runs || durable_file_read(recorded, TRACE_MAX_BYTES, &text, &size) != 0)
		return;
	call_path(guest->name, guest->current, call);
	result = agent_http_call(agent->http, "PUT", call, headers, text, size, 4096, &answer);
	if (result == 0)
		result = agent_http_check(agent->http, &answer);
	agent_http_free(&answer);
	free(text);
	if (result != 0)
		agent_log(AGENT_WARNING, "trace.not_sent", "s:s, s:s", "guest", guest->name,
			  "reason", agent_http_error(agent->http));
	/* Whatever the server made of it: once is enough, and this PC has seen how it boots. */
	if (result != -EIO && rename(recorded, trace) == 0)
		agent_log(AGENT_INFO, "trace.recorded", "s:s, s:I, s:I", "guest", guest->name,
			  "release", (json_int_t)guest->current, "bytes", (json_int_t)size);
}
