/* strict_json.c: see strict_json.h. One pass over the text bounds its depth before jansson recurses
 * into it. */
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static bool depth_is_bounded(const char *text, size_t text_bytes)
{
	size_t depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < text_bytes; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > STRICT_JSON_DEPTH_MAX)
				return false;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return true;
}

/* Bounded by STRICT_JSON_DEPTH_MAX, which depth_is_bounded() has checked. */
static bool has_fraction(const json_t *value)
{
	const char *key;
	json_t *child;
	size_t index;

	if (json_is_real(value))
		return true;
	if (json_is_array(value)) {
		json_array_foreach(value, index, child) if (has_fraction(child)) return true;
	} else if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key,
				    child) if (has_fraction(child)) return true;
	}
	return false;
}

int strict_json_parse(const char *text, size_t text_bytes, size_t bytes_max, json_t **root)
{
	json_error_t error;
	json_t *value;

	if (text_bytes > bytes_max || text_bytes > STRICT_JSON_BYTES_MAX)
		return -EMSGSIZE;
	if (!depth_is_bounded(text, text_bytes))
		return -EMSGSIZE;
	value = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &error);
	if (!value)
		return -EBADMSG;
	if (has_fraction(value)) {
		json_decref(value);
		return -EBADMSG;
	}
	*root = value;
	return 0;
}

char *strict_json_write(const json_t *value)
{
	return json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

int strict_json_string(const json_t *object, const char *key, char *out, size_t out_bytes)
{
	const json_t *value = json_object_get(object, key);
	size_t length;

	if (!json_is_string(value))
		return -EBADMSG;
	length = json_string_length(value);
	if (length >= out_bytes)
		return -EMSGSIZE;
	memcpy(out, json_string_value(value), length + 1);
	return 0;
}

int strict_json_integer(const json_t *object, const char *key, int64_t least, int64_t most,
			int64_t *out)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < least ||
	    json_integer_value(value) > most)
		return -EBADMSG;
	*out = json_integer_value(value);
	return 0;
}

int strict_json_bytes(const json_t *object, const char *key, uint8_t *out, size_t out_bytes)
{
	const json_t *value = json_object_get(object, key);
	size_t decoded;

	/* A NULL end pointer makes libsodium refuse anything left over after the encoding. */
	if (!json_is_string(value) ||
	    sodium_base642bin(out, out_bytes, json_string_value(value), json_string_length(value),
			      NULL, &decoded, NULL, sodium_base64_VARIANT_ORIGINAL) ||
	    decoded != out_bytes)
		return -EBADMSG;
	return 0;
}

int strict_json_hex(const json_t *object, const char *key, uint8_t *out, size_t out_bytes)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);
	size_t decoded;

	if (!text || json_string_length(value) != 2 * out_bytes ||
	    strspn(text, "0123456789abcdef") != 2 * out_bytes ||
	    sodium_hex2bin(out, out_bytes, text, 2 * out_bytes, NULL, &decoded, NULL) ||
	    decoded != out_bytes)
		return -EBADMSG;
	return 0;
}

bool strict_json_only_keys(const json_t *object, const char *const *keys)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return false;
	json_object_foreach((json_t *)object, key, value)
	{
		const char *const *known = keys;

		while (*known && strcmp(*known, key))
			known++;
		if (!*known)
			return false;
	}
	return true;
}

json_t *strict_json_new_bytes(const uint8_t *bytes, size_t byte_count)
{
	size_t text_bytes = sodium_base64_ENCODED_LEN(byte_count, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(text_bytes);
	json_t *value = NULL;

	if (text) {
		sodium_bin2base64(text, text_bytes, bytes, byte_count,
				  sodium_base64_VARIANT_ORIGINAL);
		value = json_string(text);
		free(text);
	}
	return value;
}

json_t *strict_json_new_hex(const uint8_t *bytes, size_t byte_count)
{
	char *text = malloc(2 * byte_count + 1);
	json_t *value = NULL;

	if (text) {
		sodium_bin2hex(text, 2 * byte_count + 1, bytes, byte_count);
		value = json_string(text);
		free(text);
	}
	return value;
}

bool strict_json_is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._@-";
	size_t length = strlen(name);

	return length >= 1 && length <= 64 && strspn(name, letters) == length &&
	       !strchr("._@-", name[0]);
}
