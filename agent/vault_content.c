/* The vault's file: see vault_content.h. */
#include "vault_content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "durable_file.h"
#include "trust/strict_json.h"

#define FILE_MAX_BYTES (1u << 20)

static const char *const fields[] = {
    "version",	   "owner",	   "device", "epoch", "renewal",    "working", "starts_max",
    "powered_max", "exchange_key", "slots",  "roles", "roles_next", "lease",   NULL};

static int read_blob(const json_t *object, const char *key, struct tpm_blob *blob)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text ||
	    sodium_base642bin(blob->bytes, sizeof(blob->bytes), text, strlen(text), NULL,
			      &blob->size_bytes, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		return -EBADMSG;
	return 0;
}

static int read_number(const json_t *object, const char *key, uint64_t *number)
{
	int64_t value;

	if (strict_json_integer(object, key, 0, INT64_MAX, &value) != 0)
		return -EBADMSG;
	*number = (uint64_t)value;
	return 0;
}

static int read_slots(const json_t *list, struct vault_content *content)
{
	const char *guest;
	json_t *value;

	if (!json_is_object(list) || json_object_size(list) > VAULT_SLOTS_MAX)
		return -EBADMSG;
	json_object_foreach((json_t *)list, guest, value)
	{
		struct vault_slot *slot = &content->slots[content->slot_count++];

		if (!strict_json_is_name(guest) ||
		    strict_json_bytes(list, guest, slot->wrapped, sizeof(slot->wrapped)) != 0)
			return -EBADMSG;
		memcpy(slot->guest, guest, strlen(guest) + 1);
	}
	return 0;
}

static int read_text(const json_t *object, const char *key, char **text)
{
	const json_t *value = json_object_get(object, key);

	if (!value)
		return 0;
	if (!json_is_string(value))
		return -EBADMSG;
	*text = strdup(json_string_value(value));
	return *text ? 0 : -ENOMEM;
}

int vault_content_parse(const char *text, size_t text_bytes, struct vault_content *content)
{
	uint64_t version;
	json_t *root;
	int result = strict_json_parse(text, text_bytes, FILE_MAX_BYTES, &root);

	memset(content, 0, sizeof(*content));
	if (result != 0)
		return -EBADMSG;
	result = -EBADMSG;
	if (strict_json_only_keys(root, fields) && read_number(root, "version", &version) == 0 &&
	    version == 1 &&
	    strict_json_string(root, "owner", content->owner, sizeof(content->owner)) == 0 &&
	    strict_json_string(root, "device", content->device, sizeof(content->device)) == 0 &&
	    read_number(root, "epoch", &content->epoch) == 0 &&
	    read_blob(root, "renewal", &content->renewal) == 0 &&
	    read_blob(root, "working", &content->working) == 0 &&
	    read_number(root, "starts_max", &content->bounds.starts_max) == 0 &&
	    read_number(root, "powered_max", &content->bounds.powered_max) == 0 &&
	    strict_json_bytes(root, "exchange_key", content->exchange_key,
			      sizeof(content->exchange_key)) == 0 &&
	    read_slots(json_object_get(root, "slots"), content) == 0)
		result = read_text(root, "roles", &content->roles);
	if (result == 0)
		result = read_text(root, "roles_next", &content->roles_next);
	if (result == 0)
		result = read_text(root, "lease", &content->lease);
	json_decref(root);
	if (result != 0)
		vault_content_release(content);
	return result;
}

int vault_content_load(const char *path, struct vault_content *content)
{
	unsigned char *bytes;
	size_t size;
	int result = durable_file_read(path, FILE_MAX_BYTES, &bytes, &size);

	memset(content, 0, sizeof(*content));
	if (result != 0)
		return result;
	result = vault_content_parse((const char *)bytes, size, content);
	free(bytes);
	return result;
}

static json_t *write_slots(const struct vault_content *content)
{
	json_t *list = json_object();

	for (size_t i = 0; i < content->slot_count; i++)
		json_object_set_new(
		    list, content->slots[i].guest,
		    strict_json_new_bytes(content->slots[i].wrapped, VAULT_WRAPPED_BYTES));
	return list;
}

int vault_content_save(const char *path, const struct vault_content *content)
{
	json_t *root = json_pack(
	    "{s:i, s:s, s:s, s:I, s:o, s:o, s:I, s:I, s:o, s:o}", "version", 1, "owner",
	    content->owner, "device", content->device, "epoch", (json_int_t)content->epoch,
	    "renewal", strict_json_new_bytes(content->renewal.bytes, content->renewal.size_bytes),
	    "working", strict_json_new_bytes(content->working.bytes, content->working.size_bytes),
	    "starts_max", (json_int_t)content->bounds.starts_max, "powered_max",
	    (json_int_t)content->bounds.powered_max, "exchange_key",
	    strict_json_new_bytes(content->exchange_key, sizeof(content->exchange_key)), "slots",
	    write_slots(content));
	char *text = NULL;
	int result = -ENOMEM;

	if (root &&
	    (!content->roles_next ||
	     json_object_set_new(root, "roles_next", json_string(content->roles_next)) == 0) &&
	    (!content->roles ||
	     json_object_set_new(root, "roles", json_string(content->roles)) == 0) &&
	    (!content->lease ||
	     json_object_set_new(root, "lease", json_string(content->lease)) == 0))
		text = strict_json_write(root);
	if (text)
		result = durable_file_write(path, text, strlen(text), 0600);
	free(text);
	json_decref(root);
	return result;
}

void vault_content_release(struct vault_content *content)
{
	free(content->roles);
	free(content->roles_next);
	free(content->lease);
	memset(content, 0, sizeof(*content));
}
