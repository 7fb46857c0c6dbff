/* roles.c: see roles.h. */
#include "trust/roles.h"
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* The rules that no document may relax. */
static const struct role_rule {
	const char *name;
	uint8_t threshold_least;
} role_rules[ROLE_COUNT] = {
    [ROLE_ROOT] = {"root", 1},	   [ROLE_IMAGES] = {"images", 1},
    [ROLE_POLICY] = {"policy", 1}, [ROLE_DESTRUCTION] = {"destruction", 2},
    [ROLE_SERVER] = {"server", 1},
};

const char *roles_name(enum role role)
{
	return role < ROLE_COUNT ? role_rules[role].name : "unknown";
}

enum role roles_from_name(const char *name)
{
	int role = 0;

	while (role < ROLE_COUNT && strcmp(role_rules[role].name, name))
		role++;
	return (enum role)role;
}

static int read_keys(const json_t *object, struct roles *roles)
{
	static const char *const fields[] = {"name", "public", NULL};
	const char *id_text;
	json_t *entry;

	if (!json_is_object(object) || json_object_size(object) > ROLES_KEYS_MAX)
		return -EBADMSG;
	json_object_foreach((json_t *)object, id_text, entry)
	{
		struct roles_key *key = &roles->keys[roles->key_count++];
		char expected[SIGNING_KEY_ID_TEXT];

		if (!strict_json_only_keys(entry, fields) ||
		    strict_json_string(entry, "name", key->name, sizeof(key->name)) ||
		    !strict_json_is_name(key->name) ||
		    strict_json_bytes(entry, "public", key->key.bytes, sizeof(key->key.bytes)))
			return -EBADMSG;
		signing_key_id_text(&key->key, expected);
		if (strcmp(expected, id_text))
			return -EBADMSG;
	}
	return 0;
}

static const struct roles_key *find_key(const struct roles *roles, const char *id_text)
{
	char text[SIGNING_KEY_ID_TEXT];

	for (size_t i = 0; i < roles->key_count; i++) {
		signing_key_id_text(&roles->keys[i].key, text);
		if (!strcmp(text, id_text))
			return &roles->keys[i];
	}
	return NULL;
}

static bool role_has(const struct roles_role *role, const struct public_key *key)
{
	for (size_t i = 0; i < role->key_count; i++)
		if (!memcmp(&role->keys[i], key, sizeof(*key)))
			return true;
	return false;
}

static int read_role(const json_t *object, enum role which, struct roles *roles)
{
	static const char *const fields[] = {"keys", "threshold", NULL};
	const json_t *list = json_object_get(object, "keys");
	struct roles_role *role = &roles->roles[which];
	int64_t threshold;
	json_t *value;
	size_t index;

	if (!strict_json_only_keys(object, fields) || !json_is_array(list) ||
	    json_array_size(list) > ROLES_KEYS_MAX)
		return -EBADMSG;
	json_array_foreach(list, index, value)
	{
		const struct roles_key *key;

		key = json_is_string(value) ? find_key(roles, json_string_value(value)) : NULL;
		if (!key || role_has(role, &key->key))
			return -EBADMSG;
		role->keys[role->key_count++] = key->key;
	}
	if (strict_json_integer(object, "threshold", role_rules[which].threshold_least,
				role->key_count, &threshold))
		return -EBADMSG;
	role->threshold = (uint8_t)threshold;
	return 0;
}

/* A server that is taken over must not find there a key that signs more than freshness. */
static bool server_keys_are_apart(const struct roles *roles)
{
	for (size_t i = 0; i < roles->roles[ROLE_SERVER].key_count; i++)
		for (int role = 0; role < ROLE_COUNT; role++)
			if (role != ROLE_SERVER &&
			    role_has(&roles->roles[role], &roles->roles[ROLE_SERVER].keys[i]))
				return false;
	return true;
}

static int read_recovery(const json_t *list, struct roles *roles)
{
	json_t *value;
	size_t index, decoded;

	if (!json_is_array(list) || json_array_size(list) > ROLES_RECOVERY_MAX)
		return -EBADMSG;
	json_array_foreach(list, index, value)
	{
		if (!json_is_string(value) ||
		    sodium_base642bin(roles->recovery[index], 32, json_string_value(value),
				      json_string_length(value), NULL, &decoded, NULL,
				      sodium_base64_VARIANT_ORIGINAL) ||
		    decoded != 32)
			return -EBADMSG;
	}
	roles->recovery_count = json_array_size(list);
	return 0;
}

int roles_read(const void *payload, size_t payload_bytes, struct roles *roles)
{
	static const char *const fields[] = {"type",  "version",  "expires", "keys",
					     "roles", "recovery", NULL};
	static const char *const role_fields[] = {"root",	 "images", "policy",
						  "destruction", "server", NULL};
	const json_t *role_list;
	int64_t version = 0;
	char type[16];
	json_t *root;
	int status;

	memset(roles, 0, sizeof(*roles));
	status = strict_json_parse(payload, payload_bytes, STRICT_JSON_BYTES_MAX, &root);
	if (status)
		return status;
	role_list = json_object_get(root, "roles");
	status = -EBADMSG;
	if (!strict_json_only_keys(root, fields) ||
	    strict_json_string(root, "type", type, sizeof(type)) || strcmp(type, "roles") ||
	    strict_json_integer(root, "version", 1, INT64_MAX - 1, &version) ||
	    strict_json_integer(root, "expires", 0, INT64_MAX, &roles->expires) ||
	    read_keys(json_object_get(root, "keys"), roles) ||
	    read_recovery(json_object_get(root, "recovery"), roles) ||
	    !strict_json_only_keys(role_list, role_fields))
		goto out;
	for (int role = 0; role < ROLE_COUNT; role++)
		if (read_role(json_object_get(role_list, role_rules[role].name), (enum role)role,
			      roles))
			goto out;
	if (!server_keys_are_apart(roles))
		goto out;
	roles->version = (uint64_t)version;
	status = 0;
out:
	json_decref(root);
	return status;
}

static int write_role(json_t *list, const struct roles_role *role, const char *name)
{
	json_t *object = json_object(), *keys = json_array();
	char id_text[SIGNING_KEY_ID_TEXT];

	if (json_object_set_new(list, name, object) || json_object_set_new(object, "keys", keys) ||
	    json_object_set_new(object, "threshold", json_integer(role->threshold)))
		return -ENOMEM;
	for (size_t i = 0; i < role->key_count; i++) {
		signing_key_id_text(&role->keys[i], id_text);
		if (json_array_append_new(keys, json_string(id_text)))
			return -ENOMEM;
	}
	return 0;
}

static int write_keys(json_t *list, const struct roles *roles)
{
	char id_text[SIGNING_KEY_ID_TEXT];

	for (size_t i = 0; i < roles->key_count; i++) {
		json_t *entry = json_object();

		signing_key_id_text(&roles->keys[i].key, id_text);
		if (json_object_set_new(list, id_text, entry) ||
		    json_object_set_new(entry, "name", json_string(roles->keys[i].name)) ||
		    json_object_set_new(entry, "public",
					strict_json_new_bytes(roles->keys[i].key.bytes, 32)))
			return -ENOMEM;
	}
	return 0;
}

int roles_write(const struct roles *roles, char **text)
{
	json_t *root = json_object(), *list = json_object(), *keys = json_object(),
	       *recovery = json_array();
	int status = -ENOMEM;

	if (json_object_set_new(root, "roles", list) || json_object_set_new(root, "keys", keys) ||
	    json_object_set_new(root, "recovery", recovery) ||
	    json_object_set_new(root, "type", json_string("roles")) ||
	    json_object_set_new(root, "version", json_integer((json_int_t)roles->version)) ||
	    json_object_set_new(root, "expires", json_integer(roles->expires)) ||
	    write_keys(keys, roles))
		goto out;
	for (int role = 0; role < ROLE_COUNT; role++)
		if (write_role(list, &roles->roles[role], role_rules[role].name))
			goto out;
	for (size_t i = 0; i < roles->recovery_count; i++)
		if (json_array_append_new(recovery, strict_json_new_bytes(roles->recovery[i], 32)))
			goto out;
	*text = strict_json_write(root);
	status = *text ? 0 : -ENOMEM;
out:
	json_decref(root);
	return status;
}

int roles_first(const struct dsse_envelope *envelope, struct roles *roles)
{
	struct roles candidate;
	int status = roles_read(envelope->payload, envelope->payload_bytes, &candidate);

	if (!status)
		status = roles_verify(&candidate, ROLE_ROOT, DSSE_TYPE_ROLES, envelope);
	if (!status)
		*roles = candidate;
	return status;
}

int roles_follow(const struct roles *current, const struct dsse_envelope *envelope,
		 struct roles *next)
{
	struct roles candidate;
	int status = roles_verify(current, ROLE_ROOT, DSSE_TYPE_ROLES, envelope);

	if (!status)
		status = roles_read(envelope->payload, envelope->payload_bytes, &candidate);
	if (!status && candidate.version != current->version + 1)
		status = -ESTALE;
	if (!status)
		status = roles_verify(&candidate, ROLE_ROOT, DSSE_TYPE_ROLES, envelope);
	if (!status)
		*next = candidate;
	return status;
}

bool roles_are_fresh(const struct roles *roles, int64_t now)
{
	return document_is_fresh(roles->expires, now);
}

int roles_verify(const struct roles *roles, enum role role, const char *type,
		 const struct dsse_envelope *envelope)
{
	const struct roles_role *rule = &roles->roles[role];

	return dsse_verify(envelope, type, rule->keys, rule->key_count, rule->threshold);
}

void roles_pin(const struct dsse_envelope *envelope, uint8_t pin[32])
{
	crypto_hash_sha256(pin, envelope->payload, envelope->payload_bytes);
}

int roles_add_key(struct roles *roles, enum role role, const struct public_key *key,
		  const char *name)
{
	char id_text[SIGNING_KEY_ID_TEXT];

	if (!strict_json_is_name(name))
		return -EINVAL;
	signing_key_id_text(key, id_text);
	if (!find_key(roles, id_text)) {
		if (roles->key_count == ROLES_KEYS_MAX)
			return -ENOSPC;
		roles->keys[roles->key_count].key = *key;
		memset(roles->keys[roles->key_count].name, 0, SIGNING_KEY_NAME_MAX);
		memcpy(roles->keys[roles->key_count++].name, name, strlen(name));
	}
	if (role_has(&roles->roles[role], key))
		return 0;
	if (roles->roles[role].key_count == ROLES_KEYS_MAX)
		return -ENOSPC;
	roles->roles[role].keys[roles->roles[role].key_count++] = *key;
	return 0;
}
