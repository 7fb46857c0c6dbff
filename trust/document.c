/* document.c: see document.h. */
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

bool document_advances(uint64_t held, uint64_t offered)
{
	return offered >= held;
}

bool document_is_fresh(int64_t expires, int64_t now)
{
	return now < expires;
}

bool document_is_for(const char *named, const char *own)
{
	return !strcmp(named, own);
}

bool document_is_pinned(const uint8_t found[32], const uint8_t pin[32])
{
	return !sodium_memcmp(found, pin, 32);
}

int document_open(const void *payload, size_t payload_bytes, const char *type,
		  const char *const *fields, json_t **root)
{
	const char *found;
	int status = strict_json_parse(payload, payload_bytes, STRICT_JSON_BYTES_MAX, root);

	if (status)
		return status;
	found = json_string_value(json_object_get(*root, "type"));
	if (!found || strcmp(found, type) || !strict_json_only_keys(*root, fields)) {
		json_decref(*root);
		*root = NULL;
		return -EBADMSG;
	}
	return 0;
}
