/* What the agent keeps, opened and closed: see agent.h. */
#include "agent.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "agent_documents.h"
#include "agent_log.h"
#include "durable_file.h"
#include "trust/strict_json.h"

void agent_path(const struct agent *agent, const char *name, char path[AGENT_PATH_MAX])
{
	int length = snprintf(path, AGENT_PATH_MAX, "%s/%s", agent->config.data, name);

	/* A path that does not fit must not name something else. */
	if (length < 0 || length >= AGENT_PATH_MAX)
		snprintf(path, AGENT_PATH_MAX, "/nonexistent/path-too-long");
}

int agent_fail(struct agent *agent, int result, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(agent->error, sizeof(agent->error), format, arguments);
	va_end(arguments);
	return result;
}

uint64_t agent_bandwidth(const struct agent *agent)
{
	uint64_t policy = (uint64_t)agent->effective.values[POLICY_BANDWIDTH_KIB].number * 1024;

	if (policy == 0 || agent->config.bandwidth_bytes == 0)
		return policy + agent->config.bandwidth_bytes;
	return policy < agent->config.bandwidth_bytes ? policy : agent->config.bandwidth_bytes;
}

struct agent_http *agent_http_to_server(struct agent *agent)
{
	struct agent_http *http;
	char ca[AGENT_PATH_MAX], certificate[AGENT_PATH_MAX], key[AGENT_PATH_MAX];

	agent_path(agent, "ca.pem", ca);
	agent_path(agent, "device.crt", certificate);
	agent_path(agent, "device.key", key);
	http = agent_http_new(agent->server, ca, certificate, key);
	if (http)
		agent_http_set_pace(http, &agent->pace);
	return http;
}

struct agent_http *agent_http_to_cache(struct agent *agent)
{
	const char *ca = agent->config.packs_ca;
	struct agent_http *http = agent_http_new(agent->packs_url, *ca ? ca : NULL, NULL, NULL);

	if (http)
		agent_http_set_pace(http, &agent->pace);
	return http;
}

int64_t agent_now(const struct agent *agent)
{
	return memory_now(&agent->memory, (int64_t)time(NULL));
}

void agent_kick(struct agent *agent)
{
	agent->kicked = true;
	pthread_cond_signal(&agent->wake);
}

int agent_remember(struct agent *agent)
{
	char path[AGENT_PATH_MAX], *text;
	int result = memory_write(&agent->memory, &text);

	if (result == 0) {
		agent_path(agent, "memory.json", path);
		result = durable_file_write(path, text, strlen(text), 0600);
		free(text);
	}
	return result == 0 ? 0 : agent_fail(agent, result, "memory.json: %s", strerror(-result));
}

void agent_merge_policy(struct agent *agent)
{
	const char *groups[STATE_GROUPS_MAX];
	struct policy_subject subject = {.device = agent->memory.device, .groups = groups};

	if (agent->state) {
		subject.user = agent->state->user[0] ? agent->state->user : NULL;
		subject.group_count = agent->state->group_count;
		for (size_t i = 0; i < agent->state->group_count; i++)
			groups[i] = agent->state->groups[i];
	}
	policy_merge(agent->policy, &subject, &agent->effective);
}

int agent_read_kept(const struct agent *agent, const char *name, struct dsse_envelope *envelope)
{
	char path[AGENT_PATH_MAX];
	unsigned char *text;
	size_t size;
	int result;

	agent_path(agent, name, path);
	result = durable_file_read(path, AGENT_DOCUMENT_MAX_BYTES, &text, &size);
	if (result != 0)
		return result;
	result = dsse_parse((const char *)text, size, envelope);
	free(text);
	return result;
}

static int open_enrolment(struct agent *agent)
{
	char path[AGENT_PATH_MAX];
	unsigned char *text;
	json_t *root = NULL;
	size_t size;
	int result;

	agent_path(agent, "enrolment.json", path);
	result = durable_file_read(path, 4096, &text, &size);
	if (result == -ENOENT)
		return 0;
	if (result == 0) {
		result = strict_json_parse((const char *)text, size, 4096, &root);
		free(text);
	}
	if (result == 0)
		result = strict_json_string(root, "server", agent->server, sizeof(agent->server));
	json_decref(root);
	if (result != 0)
		return result;
	agent_path(agent, "memory.json", path);
	result = durable_file_read(path, AGENT_DOCUMENT_MAX_BYTES, &text, &size);
	if (result != 0)
		return result;
	result = memory_read((const char *)text, size, &agent->memory);
	free(text);
	agent->enrolled = result == 0;
	return result;
}

static int open_documents(struct agent *agent)
{
	struct dsse_envelope envelope;
	int result = agent_read_kept(agent, "state.json", &envelope);

	if (result == 0) {
		agent->state = calloc(1, sizeof(*agent->state));
		result = agent->state
			     ? state_read(envelope.payload, envelope.payload_bytes, agent->state)
			     : -ENOMEM;
		dsse_release(&envelope);
	}
	if (result != 0 && result != -ENOENT)
		return result;
	result = agent_read_kept(agent, "policy.json", &envelope);
	if (result == 0) {
		result = policy_read(envelope.payload, envelope.payload_bytes, &agent->policy);
		dsse_release(&envelope);
	}
	return result == -ENOENT ? 0 : result;
}

int agent_open(struct agent *agent, char error[AGENT_ERROR_MAX])
{
	char path[AGENT_PATH_MAX], why[256];
	int result = durable_file_make_directory(agent->config.data, 0700);

	pace_init(&agent->pace);
	pthread_mutex_init(&agent->lock, NULL);
	pthread_cond_init(&agent->wake, NULL);
	pthread_cond_init(&agent->worked, NULL);
	agent->listening_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (agent->listening_wake < 0)
		result = -errno;
	if (result == 0)
		result = open_enrolment(agent);
	if (result == 0)
		result = open_documents(agent);
	if (result != 0) {
		snprintf(error, AGENT_ERROR_MAX,
			 "%.200s: %s; restore it from a backup, or install this PC anew",
			 agent->config.data, memory_reason(result));
		return result;
	}
	agent_path(agent, "agent.db", path);
	result = agent_database_open(path, &agent->database, why);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%s", why);
	agent_merge_policy(agent);
	pace_set(&agent->pace, agent_bandwidth(agent));
	agent_documents_recall_cache(agent);
	agent->autostart_due = agent->enrolled;
	return result;
}

void agent_close(struct agent *agent)
{
	if (agent->listening_wake > 0)
		close(agent->listening_wake);
	agent_database_close(agent->database);
	agent_http_close(agent->http);
	free(agent->state);
	policy_free(agent->policy);
	agent_config_release(&agent->config);
	pace_destroy(&agent->pace);
	pthread_cond_destroy(&agent->wake);
	pthread_cond_destroy(&agent->worked);
	pthread_mutex_destroy(&agent->lock);
}
