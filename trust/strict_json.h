/*
 * strict_json.h: JSON as Bulkhead accepts and writes it.
 *
 * Everything that is signed, sent or kept as JSON passes here. The reader refuses what two parsers
 * could understand differently (duplicate keys, numbers with fractions, trailing text) and what
 * could exhaust the reader (size, depth). The writer has one spelling for one value (RFC 8785
 * restricted to integers: keys sorted, no white space), so that a hash over it means something.
 */
#ifndef TRUST_STRICT_JSON_H
#define TRUST_STRICT_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Nesting that is still read. Everything Bulkhead writes is far flatter. */
#define STRICT_JSON_DEPTH_MAX 16
/** Text that is still read unless a caller sets a smaller limit. */
#define STRICT_JSON_BYTES_MAX (8u << 20)

/**
 * Reads one JSON object or array.
 *
 * @text, @text_bytes: the text; need not end in NUL.
 * @bytes_max: refuse longer text; at most STRICT_JSON_BYTES_MAX.
 * @root: receives a new reference.
 *
 * Returns 0, -EMSGSIZE (too long or too deep) or -EBADMSG (not JSON, duplicate key, fraction, NUL
 * inside a string).
 */
int strict_json_parse(const char *text, size_t text_bytes, size_t bytes_max, json_t **root);

/** Returns the one canonical spelling of @value, to be freed by the caller, or NULL if memory ran
 * out. */
char *strict_json_write(const json_t *value);

/** Copies the string @key of @object. Returns 0, -EBADMSG if absent or no string, -EMSGSIZE if it
 * does not fit. */
int strict_json_string(const json_t *object, const char *key, char *out, size_t out_bytes);

/** Reads the integer @key of @object, within [@least, @most]. Returns 0 or -EBADMSG. */
int strict_json_integer(const json_t *object, const char *key, int64_t least, int64_t most,
			int64_t *out);

/** Decodes the base64 string @key of @object (RFC 4648 section 4), exactly @out_bytes long. Returns
 * 0 or -EBADMSG. */
int strict_json_bytes(const json_t *object, const char *key, uint8_t *out, size_t out_bytes);

/** Decodes the lower-case hexadecimal string @key of @object, exactly @out_bytes long. Returns 0 or
 * -EBADMSG. */
int strict_json_hex(const json_t *object, const char *key, uint8_t *out, size_t out_bytes);

/** True if @object is an object that has no other keys than those in @keys (ends with NULL). */
bool strict_json_only_keys(const json_t *object, const char *const *keys);

/** A new base64 string value, or NULL if memory ran out. */
json_t *strict_json_new_bytes(const uint8_t *bytes, size_t byte_count);

/** A new lower-case hexadecimal string value, or NULL if memory ran out. */
json_t *strict_json_new_hex(const uint8_t *bytes, size_t byte_count);

/** True if @name may name an image, user, group, disk, ...: 1 to 64 of [a-z0-9._@-], beginning with
 * [a-z0-9]. */
bool strict_json_is_name(const char *name);

#endif
