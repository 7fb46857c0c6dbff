/* Fetching signed documents and taking them in: see agent_documents.h. */
#include "agent_documents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent_call.h"
#include "agent_log.h"
#include "durable_file.h"
#include "trust/strict_json.h"

#define LEASE_RENEW_SECONDS 3600 /* while it lasts and nothing of it was used */

static int keep(struct agent *agent, const char *name, const struct agent_http_answer *answer)
{
	char path[AGENT_PATH_MAX];
	int result;

	agent_path(agent, name, path);
	result = durable_file_write(path, answer->body, answer->body_bytes, 0600);
	return result == 0 ? 0 : agent_fail(agent, result, "%s: %s", path, strerror(-result));
}

static int refuse(struct agent *agent, int result, const char *what)
{
	agent_log(AGENT_WARNING, "document.refused", "s:s, s:s", "document", what, "reason",
		  memory_reason(result));
	return agent_fail(agent, result, "the server's %s was refused: %s", what,
			  memory_reason(result));
}

/** Follows the chain of roles documents, one version at a time, up to `version`; 0: as far as it
 * goes. */
static int follow_roles(struct agent *agent, uint64_t version)
{
	char path[64], error[256];

	while (version == 0 || agent->memory.roles.version < version) {
		struct agent_http_answer answer;
		struct dsse_envelope envelope;
		int result;

		snprintf(path, sizeof(path), "/api/v1/roles/%llu",
			 (unsigned long long)agent->memory.roles.version + 1);
		result = agent_get(agent, path, AGENT_DOCUMENT_MAX_BYTES, &answer);
		if (result != 0)
			return result == -ENOENT && version == 0 ? 0 : result;
		result = dsse_parse((const char *)answer.body, answer.body_bytes, &envelope);
		if (result == 0) {
			result = memory_accept_roles(&agent->memory, &envelope);
			dsse_release(&envelope);
		}
		if (result != 0)
			result = refuse(agent, result, "roles document");
		else if ((result = agent_keys_follow(agent->config.keyd, (const char *)answer.body,
						     error)) != 0)
			agent_fail(agent, result, "%s", error);
		if (result == 0)
			result = agent_remember(agent);
		if (result == 0)
			result = keep(agent, "roles.json", &answer);
		agent_http_free(&answer);
		if (result != 0)
			return result;
	}
	return 0;
}

/** Checks a state and everything that follows from it. */
static int take_state(struct agent *agent, const struct agent_http_answer *answer)
{
	struct dsse_envelope envelope;
	struct state *state = malloc(sizeof(*state)), *old;
	char error[256];
	int result =
	    state ? dsse_parse((const char *)answer->body, answer->body_bytes, &envelope) : -ENOMEM;

	if (result != 0) {
		free(state);
		return refuse(agent, result, "state");
	}
	result = memory_accept_state(&agent->memory, &envelope, state);
	/* The server's key may have been replaced by a newer roles document. */
	if (result == -EKEYREJECTED && follow_roles(agent, 0) == 0)
		result = memory_accept_state(&agent->memory, &envelope, state);
	dsse_release(&envelope);
	if (result != 0) {
		free(state);
		return refuse(agent, result, "state");
	}
	result = agent_remember(agent);
	if (result == 0)
		result = keep(agent, "state.json", answer);
	/* The vault hears it too: it locks by itself when this PC is reported lost. */
	if (result == 0 && (result = agent_keys_freshen(agent->config.keyd,
							(const char *)answer->body, error)) != 0)
		agent_fail(agent, result, "%s", error);
	pthread_mutex_lock(&agent->lock);
	old = agent->state;
	agent->state = state;
	agent_merge_policy(agent);
	pthread_mutex_unlock(&agent->lock);
	free(old);
	return result;
}

static void witness_audit(struct agent *agent, const char *head)
{
	int result = *head ? memory_accept_head(&agent->memory, head) : 0;

	if (result == -ESTALE)
		agent_log(AGENT_ERROR, "audit.rewritten", "s:s", "detail",
			  "the server's audit log is shorter than, or differs from, what this PC "
			  "has seen; tell an auditor");
	else if (result != 0)
		agent_log(AGENT_WARNING, "audit.head", "s:s", "detail", memory_reason(result));
}

static int poll_state(struct agent *agent)
{
	char match[128] = "", seen[AUDIT_HEAD_TEXT_MAX], seen_header[AUDIT_HEAD_TEXT_MAX + 32];
	const char *headers[3] = {NULL};
	struct agent_http_answer answer;
	static char etag[96]; /* of the state that is held; the working thread's alone */
	int count = 0, result;

	audit_head_write(&agent->memory.head, seen);
	snprintf(seen_header, sizeof(seen_header), "Bulkhead-Audit-Seen: %s", seen);
	if (agent->memory.head.sequence > 0)
		headers[count++] = seen_header;
	if (*etag && agent->state) {
		snprintf(match, sizeof(match), "If-None-Match: %s", etag);
		headers[count++] = match;
	}
	result = agent_http_call(agent->http, "GET", "/api/v1/device/state", headers, NULL, 0,
				 AGENT_DOCUMENT_MAX_BYTES, &answer);
	if (result != 0)
		return agent_fail(agent, result, "%s", agent_http_error(agent->http));
	witness_audit(agent, answer.audit_head);
	if (answer.status == 304) {
		agent_http_free(&answer);
		return 0;
	}
	result = agent_http_check(agent->http, &answer);
	if (result != 0)
		agent_fail(agent, result, "%s", agent_http_error(agent->http));
	else
		result = take_state(agent, &answer);
	if (result == 0)
		snprintf(etag, sizeof(etag), "%s", answer.etag);
	agent_http_free(&answer);
	return result;
}

static int refresh_policy(struct agent *agent)
{
	struct agent_http_answer answer;
	struct dsse_envelope envelope;
	struct policy *policy = NULL, *old;
	int result;

	if (agent->state->policy == 0 ||
	    (agent->policy && policy_version(agent->policy) >= agent->state->policy))
		return 0;
	result = agent_get(agent, "/api/v1/device/policy", AGENT_DOCUMENT_MAX_BYTES, &answer);
	if (result != 0)
		return result;
	result = dsse_parse((const char *)answer.body, answer.body_bytes, &envelope);
	if (result == 0) {
		result = memory_accept_policy(&agent->memory, &envelope, &policy);
		dsse_release(&envelope);
	}
	if (result != 0)
		result = refuse(agent, result, "policy");
	else if ((result = agent_remember(agent)) == 0)
		result = keep(agent, "policy.json", &answer);
	agent_http_free(&answer);
	if (result != 0) {
		policy_free(policy);
		return result;
	}
	pthread_mutex_lock(&agent->lock);
	old = agent->policy;
	agent->policy = policy;
	agent_merge_policy(agent);
	pthread_mutex_unlock(&agent->lock);
	policy_free(old);
	return 0;
}

int agent_documents_refresh(struct agent *agent)
{
	int result = poll_state(agent);

	if (result == 0 && !agent->state)
		result = agent_fail(agent, -EPROTO, "the server gave no state");
	if (result == 0)
		result = follow_roles(agent, agent->state->roles);
	/* A restricted device may poll and obey; it gets nothing else. */
	if (result == 0 && agent->state->status != STATE_LOST &&
	    agent->state->status != STATE_REVOKED)
		result = refresh_policy(agent);
	return result;
}

static int read_catalogue(const struct agent *agent, const char *name, struct catalogue *catalogue)
{
	struct dsse_envelope envelope;
	int result = agent_read_kept(agent, name, &envelope);

	if (result != 0)
		return result;
	result = catalogue_read(envelope.payload, envelope.payload_bytes, catalogue);
	dsse_release(&envelope);
	return result;
}

int agent_documents_catalogue(struct agent *agent, const char *image, uint64_t version,
			      struct catalogue *catalogue)
{
	char path[160], name[96];
	struct agent_http_answer answer;
	struct dsse_envelope envelope;
	int result;

	snprintf(name, sizeof(name), "catalogue-%s.json", image);
	if (read_catalogue(agent, name, catalogue) == 0 && catalogue->version >= version)
		return 0;
	snprintf(path, sizeof(path), "/api/v1/device/images/%s/catalogue", image);
	result = agent_get(agent, path, AGENT_DOCUMENT_MAX_BYTES, &answer);
	if (result != 0)
		return result;
	result = dsse_parse((const char *)answer.body, answer.body_bytes, &envelope);
	if (result == 0) {
		result = memory_accept_catalogue(&agent->memory, image, &envelope, catalogue);
		dsse_release(&envelope);
	}
	if (result != 0)
		result = refuse(agent, result, "catalogue");
	else if ((result = agent_remember(agent)) == 0)
		result = keep(agent, name, &answer);
	agent_http_free(&answer);
	return result;
}

/** Only an address where packs can lie, and nothing that curl or a person could take for more. */
static bool is_cache_url(const char *url)
{
	size_t length = strlen(url);

	return length < AGENT_URL_MAX && strncmp(url, "https://", 8) == 0 && length > 8 &&
	       url[8] != '/' &&
	       strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/[]") ==
		   length;
}

static void take_cache(struct agent *agent, const char *url)
{
	size_t length = url && is_cache_url(url) ? strlen(url) : 0;

	while (length > 0 && url[length - 1] == '/')
		length--;
	snprintf(agent->packs_url, sizeof(agent->packs_url), "%.*s", (int)length, url ? url : "");
}

void agent_documents_recall_cache(struct agent *agent)
{
	char path[AGENT_PATH_MAX];
	unsigned char *text;
	size_t size;

	agent_path(agent, "packs-url", path);
	if (durable_file_read(path, AGENT_URL_MAX, &text, &size) != 0)
		return;
	take_cache(agent, (const char *)text);
	free(text);
}

void agent_documents_cache(struct agent *agent)
{
	char path[AGENT_PATH_MAX], before[AGENT_URL_MAX];
	struct agent_http_answer answer;
	json_t *reply = NULL;

	/* Without an answer the address that was known is as good as any: packs are checked. */
	if (agent_get(agent, "/api/v1/server", AGENT_DOCUMENT_MAX_BYTES, &answer) != 0)
		return;
	memcpy(before, agent->packs_url, sizeof(before));
	if (strict_json_parse((const char *)answer.body, answer.body_bytes, 65536, &reply) == 0)
		take_cache(agent, json_string_value(json_object_get(reply, "packs_url")));
	json_decref(reply);
	agent_http_free(&answer);
	agent_path(agent, "packs-url", path);
	if (strcmp(before, agent->packs_url) != 0)
		durable_file_write(path, agent->packs_url, strlen(agent->packs_url), 0600);
}

static bool lease_is_due(const struct agent *agent, const json_t *lease)
{
	if (!lease || json_is_true(json_object_get(lease, "renew")))
		return true;
	if (json_integer_value(json_object_get(lease, "starts_used")) > 0)
		return true;
	return agent_now(agent) - agent->last_lease > LEASE_RENEW_SECONDS;
}

/** The serial said is the newest that the vault has taken, also where it has lost that lease (a copy of its file was put
 * back): the server gives a lease again only to who has not got it. */
static int ask_lease(struct agent *agent, const json_t *vault)
{
	const json_t *lease = json_object_get(vault, "lease");
	json_t *body = json_pack(
	    "{s:I, s:I, s:I}", "serial", json_integer_value(json_object_get(vault, "lease_serial")),
	    "powered_seconds", json_integer_value(json_object_get(lease, "powered_seconds_used")),
	    "starts", json_integer_value(json_object_get(lease, "starts_used")));
	struct agent_http_answer answer;
	char error[256];
	int result =
	    agent_send_json(agent, "POST", "/api/v1/device/lease", body, 65536, &answer);

	if (result != 0)
		return result;
	result = agent_keys_freshen(agent->config.keyd, (const char *)answer.body, error);
	agent_http_free(&answer);
	if (result != 0)
		return agent_fail(agent, result, "%s", error);
	agent->last_lease = agent_now(agent);
	return 0;
}

int agent_documents_lease(struct agent *agent)
{
	json_t *vault;
	char error[256];
	int result = agent_keys_state(agent->config.keyd, &vault, error);

	if (result != 0)
		return agent_fail(agent, result, "%s", error);
	if (agent->state && agent->state->status == STATE_ACTIVE &&
	    lease_is_due(agent, json_object_get(vault, "lease")))
		result = ask_lease(agent, vault);
	json_decref(vault);
	return result;
}
