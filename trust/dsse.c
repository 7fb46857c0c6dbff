/* dsse.c: see dsse.h. The encoding that is signed is PAE of the DSSE v1 specification. */
#include "trust/dsse.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "DSSEv1" SP len(type) SP type SP len(payload) SP payload, lengths in decimal. */
static uint8_t *encode(const struct dsse_envelope *envelope, size_t *encoded_bytes)
{
	char head[DSSE_TYPE_MAX + 64];
	size_t head_bytes;
	uint8_t *encoded;

	head_bytes =
	    (size_t)snprintf(head, sizeof(head), "DSSEv1 %zu %s %zu ", strlen(envelope->type),
			     envelope->type, envelope->payload_bytes);
	encoded = malloc(head_bytes + envelope->payload_bytes);
	if (!encoded)
		return NULL;
	memcpy(encoded, head, head_bytes);
	memcpy(encoded + head_bytes, envelope->payload, envelope->payload_bytes);
	*encoded_bytes = head_bytes + envelope->payload_bytes;
	return encoded;
}

int dsse_new(struct dsse_envelope *envelope, const char *type, const void *payload,
	     size_t payload_bytes)
{
	memset(envelope, 0, sizeof(*envelope));
	if (!*type || strlen(type) >= sizeof(envelope->type) || payload_bytes > DSSE_PAYLOAD_MAX)
		return -EMSGSIZE;
	envelope->payload = malloc(payload_bytes + 1);
	if (!envelope->payload)
		return -ENOMEM;
	memcpy(envelope->type, type, strlen(type));
	if (payload_bytes)
		memcpy(envelope->payload, payload, payload_bytes);
	envelope->payload_bytes = payload_bytes;
	return 0;
}

static int parse_payload(const json_t *root, struct dsse_envelope *envelope)
{
	const json_t *value = json_object_get(root, "payload");
	size_t text_bytes;

	if (!json_is_string(value))
		return -EBADMSG;
	text_bytes = json_string_length(value);
	if (text_bytes / 4 * 3 > DSSE_PAYLOAD_MAX + 2)
		return -EMSGSIZE;
	envelope->payload = malloc(text_bytes / 4 * 3 + 1);
	if (!envelope->payload)
		return -ENOMEM;
	if (sodium_base642bin(envelope->payload, text_bytes / 4 * 3, json_string_value(value),
			      text_bytes, NULL, &envelope->payload_bytes, NULL,
			      sodium_base64_VARIANT_ORIGINAL))
		return -EBADMSG;
	return 0;
}

static int parse_signatures(const json_t *list, struct dsse_envelope *envelope)
{
	static const char *const keys[] = {"keyid", "sig", NULL};
	json_t *entry;
	size_t index;

	if (!json_is_array(list))
		return -EBADMSG;
	if (json_array_size(list) > DSSE_SIGNATURES_MAX)
		return -EMSGSIZE;
	json_array_foreach(list, index, entry)
	{
		struct dsse_signature *signature = &envelope->signatures[index];

		if (!strict_json_only_keys(entry, keys) ||
		    strict_json_hex(entry, "keyid", signature->key_id, sizeof(signature->key_id)) ||
		    strict_json_bytes(entry, "sig", signature->bytes, sizeof(signature->bytes)))
			return -EBADMSG;
	}
	envelope->signature_count = json_array_size(list);
	return 0;
}

int dsse_parse(const char *text, size_t text_bytes, struct dsse_envelope *envelope)
{
	static const char *const keys[] = {"payload", "payloadType", "signatures", NULL};
	json_t *root;
	int status;

	memset(envelope, 0, sizeof(*envelope));
	status = strict_json_parse(text, text_bytes, DSSE_TEXT_MAX, &root);
	if (status)
		return status;
	status = -EBADMSG;
	if (strict_json_only_keys(root, keys))
		status =
		    strict_json_string(root, "payloadType", envelope->type, sizeof(envelope->type));
	if (!status && !*envelope->type)
		status = -EBADMSG;
	if (!status)
		status = parse_payload(root, envelope);
	if (!status)
		status = parse_signatures(json_object_get(root, "signatures"), envelope);
	json_decref(root);
	if (status)
		dsse_release(envelope);
	return status;
}

int dsse_write(const struct dsse_envelope *envelope, char **text)
{
	json_t *root = json_object(), *list = json_array();
	int status = -ENOMEM;

	if (json_object_set_new(root, "signatures", list) ||
	    json_object_set_new(root, "payloadType", json_string(envelope->type)) ||
	    json_object_set_new(root, "payload",
				strict_json_new_bytes(envelope->payload, envelope->payload_bytes)))
		goto out;
	for (size_t i = 0; i < envelope->signature_count; i++) {
		const struct dsse_signature *signature = &envelope->signatures[i];
		json_t *entry = json_object();

		if (json_array_append_new(list, entry) ||
		    json_object_set_new(
			entry, "keyid",
			strict_json_new_hex(signature->key_id, SIGNING_KEY_ID_BYTES)) ||
		    json_object_set_new(entry, "sig", strict_json_new_bytes(signature->bytes, 64)))
			goto out;
	}
	*text = strict_json_write(root);
	status = *text ? 0 : -ENOMEM;
out:
	json_decref(root);
	return status;
}

int dsse_sign(struct dsse_envelope *envelope, const struct signing_key *key)
{
	struct dsse_signature *signature = envelope->signatures;
	uint8_t key_id[SIGNING_KEY_ID_BYTES];
	size_t encoded_bytes, slot = 0;
	uint8_t *encoded;

	signing_key_id(&key->public_half, key_id);
	while (slot < envelope->signature_count &&
	       memcmp(signature[slot].key_id, key_id, sizeof(key_id)))
		slot++;
	if (slot == DSSE_SIGNATURES_MAX)
		return -ENOSPC;
	encoded = encode(envelope, &encoded_bytes);
	if (!encoded)
		return -ENOMEM;
	crypto_sign_detached(signature[slot].bytes, NULL, encoded, encoded_bytes, key->secret);
	free(encoded);
	memcpy(signature[slot].key_id, key_id, sizeof(key_id));
	if (slot == envelope->signature_count)
		envelope->signature_count++;
	return 0;
}

static int has_good_signature(const struct dsse_envelope *envelope, const uint8_t *encoded,
			      size_t encoded_bytes, const struct public_key *key)
{
	uint8_t key_id[SIGNING_KEY_ID_BYTES];

	signing_key_id(key, key_id);
	for (size_t i = 0; i < envelope->signature_count; i++) {
		const struct dsse_signature *signature = &envelope->signatures[i];

		if (!memcmp(signature->key_id, key_id, sizeof(key_id)) &&
		    !crypto_sign_verify_detached(signature->bytes, encoded, encoded_bytes,
						 key->bytes))
			return 1;
	}
	return 0;
}

int dsse_verify(const struct dsse_envelope *envelope, const char *type,
		const struct public_key *keys, size_t key_count, size_t threshold)
{
	size_t encoded_bytes, good = 0;
	uint8_t *encoded;

	if (!threshold)
		return -EINVAL;
	if (strcmp(envelope->type, type))
		return -EPROTOTYPE;
	encoded = encode(envelope, &encoded_bytes);
	if (!encoded)
		return -ENOMEM;
	for (size_t i = 0; i < key_count; i++) {
		size_t earlier = 0;

		while (earlier < i && memcmp(&keys[earlier], &keys[i], sizeof(keys[i])))
			earlier++;
		if (earlier == i)
			good +=
			    (size_t)has_good_signature(envelope, encoded, encoded_bytes, &keys[i]);
	}
	free(encoded);
	return good >= threshold ? 0 : -EKEYREJECTED;
}

void dsse_release(struct dsse_envelope *envelope)
{
	free(envelope->payload);
	memset(envelope, 0, sizeof(*envelope));
}
