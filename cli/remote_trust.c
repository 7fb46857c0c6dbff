/*
 * remote_trust.c: what this administrator has accepted: the chain of roles documents and the audit
 * log's newest head. Kept beside the session in trust.json; the server cannot change it.
 */
#include "remote_private.h"
#include "settings.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int trust_path(const struct remote *remote, char path[4096])
{
	char name[128];

	/* One memory per authority: two companies' servers do not mix. */
	snprintf(name, sizeof(name), "trust-%.16s.json", remote_value(remote, "ca_sha256"));
	return settings_path(name, path);
}

static int load(struct remote *remote)
{
	char path[4096], *text;
	const char *memory_text;
	int64_t version;
	size_t text_bytes;
	json_t *root;
	int status;

	if (trust_path(remote, path))
		return -ENOENT;
	status = settings_read(path, 1 << 20, &text, &text_bytes);
	if (status)
		return status;
	status = strict_json_parse(text, text_bytes, 1 << 20, &root);
	free(text);
	if (status)
		return status;
	memory_text = json_string_value(json_object_get(root, "memory"));
	remote->memory = calloc(1, sizeof(*remote->memory));
	if (!memory_text || !remote->memory || strict_json_hex(root, "pin", remote->pin, 32) ||
	    strict_json_integer(root, "pin_version", 1, INT64_MAX, &version) ||
	    memory_read(memory_text, strlen(memory_text), remote->memory)) {
		free(remote->memory);
		remote->memory = NULL;
		status = -EBADMSG;
	} else {
		remote->pin_version = (uint64_t)version;
	}
	json_decref(root);
	return status;
}

int remote_trust_save(struct remote *remote)
{
	char path[4096], *memory_text = NULL, *text = NULL;
	json_t *root = NULL;
	int status = trust_path(remote, path);

	if (!status)
		status = memory_write(remote->memory, &memory_text);
	if (!status)
		root = json_pack("{s:s, s:o, s:I}", "memory", memory_text, "pin",
				 strict_json_new_hex(remote->pin, 32), "pin_version",
				 (json_int_t)remote->pin_version);
	text = root ? strict_json_write(root) : NULL;
	if (!status)
		status = text ? settings_write(path, text) : -ENOMEM;
	json_decref(root);
	free(text);
	free(memory_text);
	return status ? remote_fail(remote, "%s: %s", path, strerror(-status)) : CLI_OK;
}

int remote_trust_start(struct remote *remote, const struct dsse_envelope *roles)
{
	int status;

	free(remote->memory);
	remote->memory = calloc(1, sizeof(*remote->memory));
	roles_pin(roles, remote->pin);
	status = remote->memory ? memory_start(remote->memory, "", roles, remote->pin) : -ENOMEM;
	if (status)
		return remote_fail(remote, "the roles document: %s", memory_reason(status));
	remote->pin_version = remote->memory->roles.version;
	return remote_trust_save(remote);
}

/* The next document of the chain, if the server has one. */
static int follow(struct remote *remote, bool *moved)
{
	struct dsse_envelope envelope;
	json_t *reply;
	char path[64], *text;
	int status;

	*moved = false;
	snprintf(path, sizeof(path), "/api/v1/roles/%lu",
		 (unsigned long)remote->memory->roles.version + 1);
	status = remote_look(remote, path, &reply);
	if (status || !reply)
		return status;
	text = strict_json_write(reply);
	json_decref(reply);
	status = text ? dsse_parse(text, strlen(text), &envelope) : -ENOMEM;
	free(text);
	if (!status) {
		status = memory_accept_roles(remote->memory, &envelope);
		if (!status) {
			roles_pin(&envelope, remote->pin);
			remote->pin_version = remote->memory->roles.version;
			*moved = true;
		}
		dsse_release(&envelope);
	}
	return status ? remote_fail(remote,
				    "the server offers a roles document that must not be believed: "
				    "%s; do not go "
				    "on, and check the server",
				    memory_reason(status))
		      : CLI_OK;
}

int remote_trust(struct remote *remote, struct memory **memory)
{
	bool moved = true, any = false;
	int status = remote->memory ? 0 : load(remote);

	if (status == -ENOENT)
		return remote_fail(
		    remote, "no roles document is trusted here yet; bulkhead key setup DIR makes "
			    "one, bulkhead key trust FILE takes one over");
	if (status)
		return remote_fail(remote, "what is trusted here is damaged: %s",
				   memory_reason(status));
	while (moved) {
		status = follow(remote, &moved);
		if (status)
			return status;
		any |= moved;
	}
	*memory = remote->memory;
	return any ? remote_trust_save(remote) : CLI_OK;
}

bool remote_pin(struct remote *remote, uint8_t pin[32], uint64_t *version)
{
	if (!remote->memory)
		return false;
	memcpy(pin, remote->pin, 32);
	*version = remote->pin_version;
	return true;
}
