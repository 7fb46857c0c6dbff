/*
 * Enrolment. The token says where the server is and what to believe: the hash of its CA and of the
 * roles document, both from the administrator's own memory. A server that lies about either is
 * noticed before it learns the secret. The file enrolment.json is written last: until then nothing
 * counts, and the same token may be used again.
 */
#include "agent_enrol.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_call.h"
#include "agent_device_key.h"
#include "agent_keys.h"
#include "agent_log.h"
#include "agent_pin.h"
#include "durable_file.h"
#include "tpm_rules.h"
#include "trust/strict_json.h"
#include "trust/token.h"

#define OWNER "company"

/** Puts the pinned CA at ca.pem. */
static int pin_server(struct agent *agent, const struct token *token)
{
	char path[AGENT_PATH_MAX], *pem;
	int result = agent_pin_find(token->server, token->ca, &pem);

	if (result == -EKEYREJECTED)
		return agent_fail(
		    agent, result,
		    "%.200s is not the server this token was made for; ask for a new token",
		    token->server);
	if (result != 0)
		return agent_fail(agent, result, "%.200s does not answer; check the network",
				  token->server);
	agent_path(agent, "ca.pem", path);
	result = durable_file_write(path, pem, strlen(pem), 0644);
	free(pem);
	return result == 0 ? 0 : agent_fail(agent, result, "%s: %s", path, strerror(-result));
}

/**
 * What the TPM gives for later: attestation key, base index of the vault, its epoch (big endian). A
 * wipe's receipt is checked against exactly this.
 */
static json_t *describe_tpm(struct agent *agent)
{
	unsigned char bytes[TPM_PUBLIC_KEY_BYTES + 4 + 8];
	json_t *vault = NULL, *text = NULL;
	int64_t base, epoch;
	char error[256];

	if (agent_keys_state(agent->config.keyd, &vault, error) == 0 &&
	    strict_json_bytes(vault, "attestation_key", bytes, TPM_PUBLIC_KEY_BYTES) == 0 &&
	    strict_json_integer(vault, "nv_base", 1, UINT32_MAX, &base) == 0 &&
	    strict_json_integer(vault, "epoch", 0, INT64_MAX, &epoch) == 0) {
		const uint32_t index = htobe32((uint32_t)base);
		const uint64_t value = htobe64((uint64_t)epoch);

		memcpy(bytes + TPM_PUBLIC_KEY_BYTES, &index, sizeof(index));
		memcpy(bytes + TPM_PUBLIC_KEY_BYTES + sizeof(index), &value, sizeof(value));
		text = strict_json_new_bytes(bytes, sizeof(bytes));
	}
	json_decref(vault);
	return text ? text : json_string("none");
}

static json_t *describe(struct agent *agent, const struct token *token, const char *request,
			const char *name)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "token", token->secret, "csr", request, "name",
			 name, "tpm", describe_tpm(agent));
}

/** Asks for the certificate; `*answer` is the server's 201. */
static int ask(struct agent *agent, struct agent_http *http, const struct token *token,
	       const char *name, json_t **answer)
{
	char key[AGENT_PATH_MAX], csr[AGENT_PATH_MAX], *request = NULL, *text = NULL;
	struct agent_http_answer got = {0};
	static const char *const headers[] = {"Content-Type: application/json", NULL};
	json_t *body = NULL;
	int result;

	agent_path(agent, "device.key", key);
	agent_path(agent, "device.csr", csr);
	result = agent_device_key_make(key, csr, name, &request);
	if (result != 0)
		return agent_fail(agent, result, "%s: %s", key, strerror(-result));
	body = describe(agent, token, request, name);
	text = body ? strict_json_write(body) : NULL;
	result = text ? agent_http_call(http, "POST", "/api/v1/enrol", headers, text, strlen(text),
					1u << 20, &got)
		      : -ENOMEM;
	if (result == 0)
		result = agent_http_check(http, &got);
	if (result == 0 && got.status == 202)
		result = -EINPROGRESS;
	if (result == -EINPROGRESS)
		agent_fail(
		    agent, result,
		    "an administrator must approve this PC; run the same command again then");
	else if (result != 0)
		agent_fail(agent, result, "%s", agent_http_error(http));
	else if (strict_json_parse((const char *)got.body, got.body_bytes, 1u << 20, answer) != 0)
		result =
		    agent_fail(agent, -EPROTO, "%.200s gave an answer that is none", token->server);
	agent_http_free(&got);
	if (text)
		sodium_memzero(text, strlen(text));
	free(text);
	free(request);
	json_decref(body);
	return result;
}

/** Fetches the roles document that the token pins and begins the memory from it; `*roles` is its
 * text. */
static int begin_memory(struct agent *agent, struct agent_http *http, const struct token *token,
			const char *device, char **roles)
{
	struct agent_http_answer got;
	struct dsse_envelope envelope;
	char path[64];
	int result;

	snprintf(path, sizeof(path), "/api/v1/roles/%llu",
		 (unsigned long long)token->roles_version);
	result = agent_http_call(http, "GET", path, NULL, NULL, 0, AGENT_DOCUMENT_MAX_BYTES, &got);
	if (result == 0)
		result = agent_http_check(http, &got);
	if (result != 0)
		return agent_fail(agent, result, "%s", agent_http_error(http));
	result = dsse_parse((const char *)got.body, got.body_bytes, &envelope);
	if (result == 0) {
		result = memory_start(&agent->memory, device, &envelope, token->roles);
		dsse_release(&envelope);
	}
	if (result != 0) {
		agent_http_free(&got);
		return agent_fail(agent, result,
				  "the server's root of trust is not the one this token names: %s",
				  memory_reason(result));
	}
	*roles = (char *)got.body;
	return 0;
}

static int bind_vault(struct agent *agent, const char *roles, const char *device)
{
	char error[256];
	json_t *vault = NULL;
	int result = agent_keys_state(agent->config.keyd, &vault, error);
	bool ours = result == 0 && json_is_true(json_object_get(vault, "bound")) &&
		    strcmp(json_string_value(json_object_get(vault, "device")), device) == 0;

	json_decref(vault);
	if (result == 0 && !ours)
		result = agent_keys_bind(agent->config.keyd, roles, OWNER, device, error);
	return result == 0 ? 0 : agent_fail(agent, result, "%s", error);
}

static int save_text(struct agent *agent, const char *name, const char *text)
{
	char path[AGENT_PATH_MAX];
	int result;

	agent_path(agent, name, path);
	result = durable_file_write(path, text, strlen(text), 0600);
	return result == 0 ? 0 : agent_fail(agent, result, "%s: %s", path, strerror(-result));
}

static int settle(struct agent *agent, struct agent_http *http, const struct token *token,
		  const json_t *answer)
{
	char device[AGENT_NAME_MAX], *roles = NULL, *text;
	const char *certificate = json_string_value(json_object_get(answer, "certificate"));
	json_t *enrolment;
	int result;

	if (!certificate || strict_json_string(answer, "device", device, sizeof(device)) != 0 ||
	    !strict_json_is_name(device))
		return agent_fail(agent, -EPROTO, "%.200s gave an answer that is none",
				  token->server);
	result = begin_memory(agent, http, token, device, &roles);
	if (result == 0)
		result = bind_vault(agent, roles, device);
	if (result == 0)
		result = save_text(agent, "device.crt", certificate);
	if (result == 0)
		result = save_text(agent, "roles.json", roles);
	if (result == 0)
		result = agent_remember(agent);
	if (result == 0) {
		enrolment = json_pack("{s:s, s:s}", "server", token->server, "device", device);
		text = strict_json_write(enrolment);
		json_decref(enrolment);
		result = text ? save_text(agent, "enrolment.json", text) : -ENOMEM;
		free(text);
	}
	free(roles);
	return result;
}

int agent_enrol_renew(struct agent *agent)
{
	char path[AGENT_PATH_MAX], key[AGENT_PATH_MAX], *request;
	struct agent_http_answer answer;
	const char *certificate;
	json_t *reply = NULL;
	size_t size;
	int result;

	agent_path(agent, "device.crt", path);
	if (!agent_device_certificate_is_due(path, agent_now(agent)))
		return 0;
	agent_path(agent, "device.csr", path);
	agent_path(agent, "device.key", key);
	result = durable_file_read(path, 16384, (unsigned char **)&request, &size);
	if (result != 0)
		return agent_fail(agent, result, "%s: %s", path, strerror(-result));
	result = agent_send_json(agent, "POST", "/api/v1/device/certificate", json_pack("{s:s}", "csr", request), 1u << 20,
				 &answer);
	free(request);
	if (result != 0)
		return result;
	if (strict_json_parse((const char *)answer.body, answer.body_bytes, 1u << 20, &reply) != 0)
		reply = NULL;
	agent_http_free(&answer);
	certificate = json_string_value(json_object_get(reply, "certificate"));
	if (certificate && agent_device_certificate_fits(certificate, key))
		result = save_text(agent, "device.crt", certificate);
	else
		result = agent_fail(agent, -EPROTO, "the server certified another key than this PC's; its old certificate stays");
	json_decref(reply);
	if (result == 0)
		agent_log(AGENT_INFO, "certificate.renewed", NULL);
	return result;
}

int agent_enrol(struct agent *agent, const char *token_text, const char *name,
		void (*say)(void *context, const char *line), void *context)
{
	char ca[AGENT_PATH_MAX];
	struct agent_http *http;
	struct token token;
	json_t *answer = NULL;
	int result;

	if (agent->config.personal)
		return agent_fail(agent, -EPERM, "this is a user's own agent; enrol the company's");
	if (agent->enrolled)
		return agent_fail(agent, -EEXIST, "this PC is enrolled already (%.100s at %.100s)",
				  agent->memory.device, agent->server);
	if (token_read(token_text, &token) != 0)
		return agent_fail(
		    agent, -EINVAL,
		    "this is no enrolment token; it begins with bh1- and is one word");
	if (!*name || strlen(name) > AGENT_PC_NAME_BYTES)
		return agent_fail(agent, -EINVAL,
				  "administrators need 1 to %d bytes to call this PC by, and it has %s; say --name NAME",
				  AGENT_PC_NAME_BYTES, *name ? "more" : "neither a serial number nor a machine id");
	say(context, "Checking the server against the token");
	result = pin_server(agent, &token);
	agent_path(agent, "ca.pem", ca);
	http = result == 0 ? agent_http_new(token.server, ca, NULL, NULL) : NULL;
	if (result == 0 && !http)
		result = -ENOMEM;
	if (result == 0) {
		say(context, "Asking for this PC's certificate");
		result = ask(agent, http, &token, name, &answer);
	}
	if (result == 0) {
		say(context, "Binding this PC's vault to the company");
		result = settle(agent, http, &token, answer);
	}
	agent_http_close(http);
	json_decref(answer);
	sodium_memzero(token.secret, sizeof(token.secret));
	if (result != 0)
		return result;
	pthread_mutex_lock(&agent->lock);
	snprintf(agent->server, sizeof(agent->server), "%s", token.server);
	agent->enrolled = true;
	agent_kick(agent);
	pthread_mutex_unlock(&agent->lock);
	agent_log(AGENT_INFO, "enrolled", "s:s, s:s", "server", token.server, "device",
		  agent->memory.device);
	return 0;
}
