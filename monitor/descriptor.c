/* SPDX-License-Identifier: MIT */
/*
 * Checks signed guest descriptors; see descriptor.h.
 */
#include "descriptor.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "trust/descriptor.h"

#define TEXT_MAX	    DESCRIPTOR_TEXT_MAX
#define KEY_TEXT_CHARACTERS 65u
_Static_assert(DESCRIPTOR_MEASUREMENT_BYTES == BULKHEAD_MEASUREMENT_BYTES, "one kind of measurement");

void descriptor_print(const uint8_t digest[BULKHEAD_MEASUREMENT_BYTES], char text[2 * BULKHEAD_MEASUREMENT_BYTES + 1])
{
	sodium_bin2hex(text, 2 * BULKHEAD_MEASUREMENT_BYTES + 1, digest, BULKHEAD_MEASUREMENT_BYTES);
}

const char *descriptor_parse(const char *text, const char *key_text, uint8_t digest[BULKHEAD_MEASUREMENT_BYTES])
{
	struct descriptor descriptor;
	struct public_key key;
	size_t got;
	int status;

	if (sodium_init() < 0)
		return "cannot be checked: libsodium does not start";
	if (strlen(key_text) != KEY_TEXT_CHARACTERS || key_text[KEY_TEXT_CHARACTERS - 1] != '\n' ||
	    sodium_hex2bin(key.bytes, sizeof(key.bytes), key_text, KEY_TEXT_CHARACTERS - 1, NULL, &got, NULL) ||
	    got != sizeof(key.bytes))
		return "has a key that is none: descriptor-key holds 64 hexadecimal digits";
	status = descriptor_verify(text, strlen(text), &key, &descriptor);
	if (status == -EKEYREJECTED)
		return "is not signed by the descriptor-key";
	if (status)
		return "is no guest descriptor; bulkhead image describe makes one";
	memcpy(digest, descriptor.measurement, sizeof(descriptor.measurement));
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
	snprintf(error, error_bytes,
		 "%s: this guest is not the one its descriptor names; describe it anew with this PC's release of Bulkhead (bulkhead "
		 "image describe, or guest describe of your own), or go back to the version before (guest revert); it measures as %s, "
		 "unlike %s",
		 config->name, is, config->descriptor);
	return false;
}
