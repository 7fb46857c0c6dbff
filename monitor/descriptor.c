/* SPDX-License-Identifier: MIT */
/*
 * Checks signed guest descriptors; see descriptor.h. Ed25519 is libsodium's.
 */
#include "descriptor.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 512u
#define MEASURED "measurement "
#define SIGNED	 "signature "

void descriptor_print(const uint8_t digest[BULKHEAD_MEASUREMENT_BYTES], char text[2 * BULKHEAD_MEASUREMENT_BYTES + 1])
{
	sodium_bin2hex(text, 2 * BULKHEAD_MEASUREMENT_BYTES + 1, digest, BULKHEAD_MEASUREMENT_BYTES);
}

/** Reads exactly @size_bytes as hexadecimal digits, then a newline. Returns what follows, or NULL. */
static const char *read_hex(const char *text, uint8_t *bytes, size_t size_bytes)
{
	size_t got;

	if (strlen(text) < 2 * size_bytes + 1 || text[2 * size_bytes] != '\n' ||
	    sodium_hex2bin(bytes, size_bytes, text, 2 * size_bytes, NULL, &got, NULL) || got != size_bytes)
		return NULL;
	return text + 2 * size_bytes + 1;
}

static const char *read_word(const char *text, const char *word)
{
	return text && !strncmp(text, word, strlen(word)) ? text + strlen(word) : NULL;
}

const char *descriptor_parse(const char *text, const char *key_text, uint8_t digest[BULKHEAD_MEASUREMENT_BYTES])
{
	uint8_t key[crypto_sign_PUBLICKEYBYTES], signature[crypto_sign_BYTES];
	char message[sizeof(DESCRIPTOR_CONTEXT) + sizeof(MEASURED) + 2 * BULKHEAD_MEASUREMENT_BYTES + 2];
	const char *at = read_word(text, MEASURED), *end_of_line;

	if (sodium_init() < 0)
		return "cannot be checked: libsodium does not start";
	end_of_line = at ? read_hex(at, digest, BULKHEAD_MEASUREMENT_BYTES) : NULL;
	at = read_word(end_of_line, SIGNED);
	at = at ? read_hex(at, signature, sizeof(signature)) : NULL;
	if (!at || *at)
		return "is no guest descriptor: lines \"measurement\" and \"signature\" with hexadecimal digits";
	at = read_hex(key_text, key, sizeof(key));
	if (!at || *at)
		return "has a key that is none: descriptor-key holds 64 hexadecimal digits";
	snprintf(message, sizeof(message), "%s%.*s", DESCRIPTOR_CONTEXT, (int)(end_of_line - text), text);
	if (crypto_sign_verify_detached(signature, (const uint8_t *)message, strlen(message), key))
		return "is not signed by the descriptor-key";
	return NULL;
}

static bool read_file(const char *path, char text[TEXT_MAX], char *error, size_t error_bytes)
{
	FILE *file = fopen(path, "re");
	size_t got = file ? fread(text, 1, TEXT_MAX, file) : 0;

	if (!file || ferror(file))
		snprintf(error, error_bytes, "%s: %s", path, strerror(errno));
	else if (got == TEXT_MAX)
		snprintf(error, error_bytes, "%s: longer than a descriptor or key can be", path);
	text[got < TEXT_MAX ? got : 0] = 0;
	if (file)
		fclose(file);
	return text[0];
}

bool descriptor_check(const struct config *config, const uint8_t measured[BULKHEAD_MEASUREMENT_BYTES], char *error,
		      size_t error_bytes)
{
	char text[TEXT_MAX], key_text[TEXT_MAX], is[65];
	uint8_t expected[BULKHEAD_MEASUREMENT_BYTES];
	const char *wrong;

	snprintf(error, error_bytes, "%s: is empty", config->descriptor);
	if (!read_file(config->descriptor, text, error, error_bytes) ||
	    !read_file(config->descriptor_key, key_text, error, error_bytes))
		return false;
	wrong = descriptor_parse(text, key_text, expected);
	if (wrong) {
		snprintf(error, error_bytes, "%s: %s", config->descriptor, wrong);
		return false;
	}
	if (!memcmp(expected, measured, sizeof(expected)))
		return true;
	descriptor_print(measured, is);
	snprintf(error, error_bytes, "%s: this guest is not the one its descriptor %s names: it measures as %s", config->name,
		 config->descriptor, is);
	return false;
}
