/* descriptor.c: see descriptor.h. There is one spelling of a descriptor, so reading is writing what
 * was understood and comparing. */
#include "trust/descriptor.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define CONTEXT_2	 "bulkhead guest descriptor 2\n" /* without a line for the port, which every guest had */
#define SIGNATURE_WORD	 "signature "
#define MESSAGE_MAX	 256 /* context and signed lines */
#define SIGNATURE_DIGITS ((size_t)2 * crypto_sign_BYTES)

static bool in_range(const struct descriptor *descriptor)
{
	return descriptor->memory_mib >= DESCRIPTOR_MEMORY_MIB_LEAST &&
	       descriptor->memory_mib <= DESCRIPTOR_MEMORY_MIB_MOST &&
	       descriptor->memory_mib % 2 == 0 && descriptor->processors >= 1 &&
	       descriptor->processors <= DESCRIPTOR_PROCESSORS_MOST;
}

static const char *yes_or_no(bool value)
{
	return value ? "yes" : "no";
}

/** Writes context and the signed lines. Returns where the lines begin. */
static const char *write_signed(const struct descriptor *descriptor, bool names_port, char message[MESSAGE_MAX])
{
	char hex[2 * DESCRIPTOR_MEASUREMENT_BYTES + 1];

	sodium_bin2hex(hex, sizeof(hex), descriptor->measurement, sizeof(descriptor->measurement));
	snprintf(message, MESSAGE_MAX, "%smemory %u\nprocessors %u\nnetwork %s\n%s%s%smeasurement %s\n",
		 names_port ? DESCRIPTOR_CONTEXT : CONTEXT_2, descriptor->memory_mib, descriptor->processors,
		 yes_or_no(descriptor->has_network), names_port ? "guest-agent " : "",
		 names_port ? yes_or_no(descriptor->has_guest_agent) : "", names_port ? "\n" : "", hex);
	return strchr(message, '\n') + 1;
}

/** Reads the lines up to the measurement's. Whether they are spelt as they must be is for the caller to compare. */
static bool read_lines(const char *text, struct descriptor *descriptor, bool *names_port)
{
	char network[4], port[4] = "yes", hex[2 * DESCRIPTOR_MEASUREMENT_BYTES + 1];
	const char *measured = strstr(text, "\nmeasurement ");
	int count = sscanf(text, "memory %9u processors %9u network %3s guest-agent %3s", &descriptor->memory_mib,
			   &descriptor->processors, network, port);
	size_t size;

	if (count < 3 || !measured || sscanf(measured, " measurement %64s", hex) != 1 ||
	    sodium_hex2bin(descriptor->measurement, sizeof(descriptor->measurement), hex, strlen(hex), NULL, &size,
			   NULL) != 0)
		return false;
	*names_port = count == 4;
	descriptor->has_network = strcmp(network, "yes") == 0;
	descriptor->has_guest_agent = strcmp(port, "yes") == 0;
	return size == sizeof(descriptor->measurement) && in_range(descriptor);
}

/** Reads text into its parts; @message gets what the signature covers. */
static int read_parts(const char *text, size_t text_bytes, struct descriptor *descriptor,
		      char message[MESSAGE_MAX], uint8_t signature[crypto_sign_BYTES])
{
	char copy[DESCRIPTOR_TEXT_MAX];
	const char *lines, *rest;
	bool names_port;
	size_t size;

	if (text_bytes >= sizeof(copy) || memchr(text, '\0', text_bytes))
		return -EBADMSG;
	memcpy(copy, text, text_bytes);
	copy[text_bytes] = '\0';
	*descriptor = (struct descriptor){0};
	if (!read_lines(copy, descriptor, &names_port))
		return -EBADMSG;
	lines = write_signed(descriptor, names_port, message);
	if (strncmp(copy, lines, strlen(lines)) != 0)
		return -EBADMSG;
	rest = copy + strlen(lines);
	if (strncmp(rest, SIGNATURE_WORD, strlen(SIGNATURE_WORD)) != 0)
		return -EBADMSG;
	rest += strlen(SIGNATURE_WORD);
	if (strlen(rest) != SIGNATURE_DIGITS + 1 || rest[SIGNATURE_DIGITS] != '\n' ||
	    strspn(rest, "0123456789abcdef") != SIGNATURE_DIGITS ||
	    sodium_hex2bin(signature, crypto_sign_BYTES, rest, SIGNATURE_DIGITS, NULL, &size,
			   NULL) != 0 ||
	    size != crypto_sign_BYTES)
		return -EBADMSG;
	return 0;
}

int descriptor_read(const char *text, size_t text_bytes, struct descriptor *descriptor)
{
	uint8_t signature[crypto_sign_BYTES];
	char message[MESSAGE_MAX];

	return read_parts(text, text_bytes, descriptor, message, signature);
}

int descriptor_verify(const char *text, size_t text_bytes, const struct public_key *key,
		      struct descriptor *descriptor)
{
	uint8_t signature[crypto_sign_BYTES];
	char message[MESSAGE_MAX];
	int result = read_parts(text, text_bytes, descriptor, message, signature);

	if (result != 0)
		return result;
	return crypto_sign_verify_detached(signature, (const uint8_t *)message, strlen(message),
					   key->bytes) == 0
		   ? 0
		   : -EKEYREJECTED;
}

int descriptor_sign(const struct descriptor *descriptor, const struct signing_key *key,
		    char text[DESCRIPTOR_TEXT_MAX])
{
	char message[MESSAGE_MAX], hex[2 * crypto_sign_BYTES + 1];
	uint8_t signature[crypto_sign_BYTES];
	const char *lines;

	if (!in_range(descriptor))
		return -EINVAL;
	lines = write_signed(descriptor, true, message);
	crypto_sign_detached(signature, NULL, (const uint8_t *)message, strlen(message),
			     key->secret);
	sodium_bin2hex(hex, sizeof(hex), signature, sizeof(signature));
	snprintf(text, DESCRIPTOR_TEXT_MAX, "%s" SIGNATURE_WORD "%s\n", lines, hex);
	return 0;
}
