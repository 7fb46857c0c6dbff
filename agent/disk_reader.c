/* A disk at one moment: see disk_reader.h. */
#include "disk_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_disks.h"
#include "agent_guest.h"
#include "agent_log.h"
#include "control.h"
#include "durable_file.h"
#include "guest_agent.h"

static int layer_folder(const struct disk_reader *reader, char path[AGENT_PATH_MAX])
{
	char state[AGENT_PATH_MAX];

	agent_disks_state(reader->agent, reader->guest, state);
	return snprintf(path, AGENT_PATH_MAX, "%s/%s", state, reader->layer) < AGENT_PATH_MAX
		   ? 0
		   : -ENAMETOOLONG;
}

int disk_reader_set_base(const char *folder, const char *version)
{
	char path[AGENT_PATH_MAX + 8];

	snprintf(path, sizeof(path), "%s/base", folder);
	return durable_file_write(path, version, strlen(version), 0600);
}

static int read_base(struct disk_reader *reader)
{
	char folder[AGENT_PATH_MAX], path[AGENT_PATH_MAX + 8];
	unsigned char *text;
	size_t size;
	int result = layer_folder(reader, folder);

	snprintf(path, sizeof(path), "%s/base", folder);
	if (result == 0)
		result = durable_file_read(path, sizeof(reader->base) - 1, &text, &size);
	if (result == -ENOENT)
		return 0;
	if (result != 0)
		return result;
	memcpy(reader->base, text, size + 1);
	free(text);
	return 0;
}

static int begin(struct disk_reader *reader, const char *control)
{
	struct control_message answer;
	int result;

	reader->connection = control_connect(control);
	if (reader->connection < 0)
		return reader->connection;
	result = control_ask(reader->connection, CONTROL_BEGIN, 0, 0, &answer, NULL);
	reader->blocks = answer.count;
	return result ? result : reader->blocks == 0 ? -EPROTO : 0;
}

/** The guest runs: its server freezes the layer while its file systems stand still. */
static int begin_running(struct disk_reader *reader, const char *directory)
{
	char control[AGENT_PATH_MAX + 16], helper[AGENT_PATH_MAX + 16];
	int frozen, result;

	snprintf(control, sizeof(control), "%s/%s.control", directory, reader->layer);
	snprintf(helper, sizeof(helper), "%s/guest-agent", directory);
	frozen = guest_agent_freeze(helper);
	if (frozen < 0) {
		reader->label = "crash-consistent";
		agent_log(AGENT_INFO, "backup.not_frozen", "s:s, s:s", "guest", reader->guest,
			  "reason", strerror(-frozen));
	}
	result = begin(reader, control);
	if (frozen >= 0 && guest_agent_thaw(frozen) != 0)
		agent_log(AGENT_WARNING, "backup.not_thawed", "s:s", "guest", reader->guest);
	return result;
}

/** The guest rests: this process is the layer's server meanwhile. */
static int begin_resting(struct disk_reader *reader, const unsigned char key[32])
{
	char state[AGENT_PATH_MAX], control[AGENT_PATH_MAX];
	struct problem problem = {.line = ""};
	struct served_options options = {
	    .state = state, .key = key, .layer = reader->layer, .control = control, .stop_fd = -1};
	int result;

	agent_disks_state(reader->agent, reader->guest, state);
	if (snprintf(control, sizeof(control), "%s.guests/%s/resting.control",
		     reader->agent->config.control, reader->guest) >= (int)sizeof(control))
		return -ENAMETOOLONG;
	*strrchr(control, '/') = '\0';
	result = durable_file_make_directory(control, 0700);
	control[strlen(control)] = '/';
	if (result == 0)
		result = served_open(&options, &reader->resting, &problem);
	return result ? result : begin(reader, control);
}

static void stop_resting(struct disk_reader *reader)
{
	struct agent *agent = reader->agent;

	if (reader->resting)
		served_close(reader->resting, NULL);
	reader->resting = NULL;
	pthread_mutex_lock(&agent->lock);
	if (strcmp(agent->resting, reader->guest) == 0)
		agent->resting[0] = '\0';
	pthread_cond_broadcast(&agent->worked);
	pthread_mutex_unlock(&agent->lock);
}

int disk_reader_open(struct agent *agent, const char *guest, const char *layer,
		     const unsigned char key[32], struct disk_reader *reader)
{
	char directory[AGENT_PATH_MAX] = "";
	struct agent_running *running;
	int result;

	memset(reader, 0, sizeof(*reader));
	reader->agent = agent;
	reader->layer = layer;
	reader->connection = -1;
	reader->label = "frozen";
	snprintf(reader->guest, sizeof(reader->guest), "%s", guest);
	pthread_mutex_lock(&agent->lock);
	running = agent_guest_running(agent, guest);
	if (running)
		memcpy(directory, running->directory, sizeof(directory));
	else
		snprintf(agent->resting, sizeof(agent->resting), "%s", guest);
	pthread_mutex_unlock(&agent->lock);
	result = read_base(reader);
	if (result == 0)
		result = directory[0] ? begin_running(reader, directory) : begin_resting(reader, key);
	if (result == 0)
		return 0;
	disk_reader_close(reader, NULL);
	return agent_fail(agent, result, "%s: its disk cannot be read: %s", guest,
			  result == -ENOENT
			      ? "its disk server offers no %{control}; see docs/agent.md"
			      : strerror(-result));
}

int disk_reader_changes(struct disk_reader *reader, struct block_range **ranges, size_t *count)
{
	struct control_message answer;
	size_t room = 64;
	uint64_t from = 0;
	int result;

	*count = 0;
	*ranges = malloc(room * sizeof(**ranges));
	if (!*ranges)
		return -ENOMEM;
	while ((result = control_ask(reader->connection, CONTROL_CHANGED, from, 0, &answer, NULL)) ==
	       0) {
		struct block_range *more;

		/* Runs differ by state; what touches belongs together here. */
		if (*count > 0 &&
		    (*ranges)[*count - 1].first + (*ranges)[*count - 1].count == answer.first) {
			(*ranges)[*count - 1].count += answer.count;
		} else {
			more = *count == room ? reallocarray(*ranges, room *= 2, sizeof(*more))
					      : *ranges;
			if (!more) {
				result = -ENOMEM;
				break;
			}
			*ranges = more;
			more[(*count)++] = (struct block_range){answer.first, answer.count};
		}
		from = answer.first + answer.count;
	}
	if (result == -ENOENT)
		return 0;
	free(*ranges);
	*ranges = NULL;
	return result;
}

static int read_bytes(void *context, void *buffer, size_t bytes, uint64_t offset)
{
	struct disk_reader *reader = context;
	struct control_message answer;
	unsigned char *to = buffer;
	int result = offset % BLOCK_BYTES || bytes % BLOCK_BYTES ? -EINVAL : 0;

	while (result == 0 && bytes > 0) {
		uint64_t count = bytes / BLOCK_BYTES;

		if (count > CONTROL_READ_BLOCKS_MAX)
			count = CONTROL_READ_BLOCKS_MAX;
		result = control_ask(reader->connection, CONTROL_READ, offset / BLOCK_BYTES, count,
				     &answer, to);
		to += count * BLOCK_BYTES;
		offset += count * BLOCK_BYTES;
		bytes -= count * BLOCK_BYTES;
	}
	return result;
}

static uint64_t next_data(void *context, uint64_t offset)
{
	struct disk_reader *reader = context;
	struct control_message answer;
	uint64_t block = offset / BLOCK_BYTES;
	int result;

	if (block < reader->gap_from || block >= reader->gap_to) {
		result = control_ask(reader->connection, CONTROL_DATA, block, 0, &answer, NULL);
		/* An error shows itself at the read of what is named here. */
		if (result != 0 && result != -ENOENT)
			return offset;
		reader->gap_from = block;
		reader->gap_to = result == -ENOENT ? reader->blocks : answer.first;
	}
	return reader->gap_to > block ? reader->gap_to * BLOCK_BYTES : offset;
}

struct publish_source disk_reader_source(struct disk_reader *reader)
{
	return (struct publish_source){
	    reader->blocks * BLOCK_BYTES, read_bytes, next_data, reader};
}

int disk_reader_close(struct disk_reader *reader, const char *version)
{
	struct control_message answer;
	char folder[AGENT_PATH_MAX];
	int result = 0;

	if (version) {
		result = layer_folder(reader, folder);
		if (result == 0)
			result = disk_reader_set_base(folder, version);
		if (result == 0)
			result = control_ask(reader->connection, CONTROL_END, 1, 0, &answer, NULL);
	}
	if (reader->connection >= 0)
		close(reader->connection);
	reader->connection = -1;
	stop_resting(reader);
	return result;
}
