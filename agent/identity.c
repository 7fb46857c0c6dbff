/* Who a guest is on this PC: see identity.h. */
#include "identity.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fat_image.h"

static void derive(const struct identity_request *request, const char *purpose, unsigned char *out,
		   size_t size)
{
	crypto_generichash(out, size, (const unsigned char *)purpose, strlen(purpose), request->key,
			   IDENTITY_KEY_BYTES);
}

static void append(char host[IDENTITY_HOST_MAX], const char *text)
{
	size_t at = strlen(host);

	for (; *text && at < IDENTITY_HOST_MAX - 1; text++) {
		if (isalnum((unsigned char)*text))
			host[at++] = (char)tolower((unsigned char)*text);
		else if (at > 0 && host[at - 1] != '-')
			host[at++] = '-';
	}
	host[at] = '\0';
}

void identity_host_name(const struct identity_request *request, char host[IDENTITY_HOST_MAX])
{
	const char *pattern =
	    request->host_pattern && *request->host_pattern ? request->host_pattern : NULL;
	char one[2] = "";

	host[0] = '\0';
	if (!pattern) {
		append(host, request->guest);
		append(host, "-");
		append(host, request->device);
	}
	for (; pattern && *pattern; pattern++) {
		if (pattern[0] == '%' && (pattern[1] == 'd' || pattern[1] == 'u')) {
			append(host, pattern[1] == 'd' ? request->device : request->user);
			pattern++;
			continue;
		}
		one[0] = *pattern;
		append(host, one);
	}
	while (*host && host[strlen(host) - 1] == '-')
		host[strlen(host) - 1] = '\0';
	if (!*host)
		snprintf(host, IDENTITY_HOST_MAX, "guest");
}

void identity_machine_id(const struct identity_request *request, char id[33])
{
	unsigned char bytes[16];

	derive(request, "machine-id", bytes, sizeof(bytes));
	sodium_bin2hex(id, 33, bytes, sizeof(bytes));
}

/** A string of OpenSSH's formats: length (4, big endian), bytes. */
static void ssh_string(FILE *out, const void *bytes, size_t size)
{
	const unsigned char length[4] = {(unsigned char)(size >> 24), (unsigned char)(size >> 16),
					 (unsigned char)(size >> 8), (unsigned char)size};

	fwrite(length, 1, sizeof(length), out);
	fwrite(bytes, 1, size, out);
}

static void ssh_public(FILE *out, const unsigned char public_key[32])
{
	ssh_string(out, "ssh-ed25519", 11);
	ssh_string(out, public_key, 32);
}

/** The private section: check numbers, key, comment, padding 1, 2, 3... to 8 bytes (OpenSSH
 * PROTOCOL.key). */
static char *ssh_private(const unsigned char public_key[32], const unsigned char secret_key[64],
			 size_t *size)
{
	static const unsigned char one[4] = {0, 0, 0, 1}, check[8] = {0};
	char *outer_text = NULL, *inner_text = NULL, *public_text = NULL;
	size_t inner_size, public_size;
	FILE *inner = open_memstream(&inner_text, &inner_size);
	FILE *public = open_memstream(&public_text, &public_size), *outer;

	fwrite(check, 1, sizeof(check), inner);
	ssh_public(inner, public_key);
	ssh_string(inner, secret_key, 64);
	ssh_string(inner, "bulkhead", 8);
	for (long pad = 1; ftell(inner) % 8 != 0; pad++)
		fputc((int)pad, inner);
	fclose(inner);
	ssh_public(public, public_key);
	fclose(public);
	outer = open_memstream(&outer_text, size);
	fwrite("openssh-key-v1", 1, 15, outer);
	ssh_string(outer, "none", 4);
	ssh_string(outer, "none", 4);
	ssh_string(outer, "", 0);
	fwrite(one, 1, sizeof(one), outer);
	ssh_string(outer, public_text, public_size);
	ssh_string(outer, inner_text, inner_size);
	fclose(outer);
	sodium_memzero(inner_text, inner_size);
	free(inner_text);
	free(public_text);
	return outer_text;
}

static void write_base64(FILE *out, const void *bytes, size_t size, const char *indent,
			 size_t width)
{
	size_t room = sodium_base64_encoded_len(size, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(room);

	if (!text)
		return;
	sodium_bin2base64(text, room, bytes, size, sodium_base64_VARIANT_ORIGINAL);
	for (size_t at = 0; text[at]; at += width) {
		fprintf(out, "%s%.*s", indent, (int)width, text + at);
		if (strlen(text + at) <= width)
			break;
		fputc('\n', out);
	}
	sodium_memzero(text, room);
	free(text);
}

static void write_host_key(FILE *out, const struct identity_request *request)
{
	unsigned char seed[crypto_sign_SEEDBYTES], public_key[32], secret_key[64];
	char *private_text, *public_text = NULL;
	size_t private_size, public_size;
	FILE *public;

	derive(request, "ssh-host-key", seed, sizeof(seed));
	crypto_sign_seed_keypair(public_key, secret_key, seed);
	private_text = ssh_private(public_key, secret_key, &private_size);
	fputs("ssh_keys:\n  ed25519_private: |\n    -----BEGIN OPENSSH PRIVATE KEY-----\n", out);
	write_base64(out, private_text, private_size, "    ", 70);
	fputs("\n    -----END OPENSSH PRIVATE KEY-----\n  ed25519_public: ssh-ed25519 ", out);
	public = open_memstream(&public_text, &public_size);
	ssh_public(public, public_key);
	fclose(public);
	write_base64(out, public_text, public_size, "", 4096);
	fputc('\n', out);
	free(public_text);
	sodium_memzero(private_text, private_size);
	free(private_text);
	sodium_memzero(seed, sizeof(seed));
	sodium_memzero(secret_key, sizeof(secret_key));
}

/** What the agent itself wants of the guest: vendor-data, which the policy's user-data may add to.
 */
static void write_vendor_data(FILE *out, const struct identity_request *request,
			      const char *machine_id)
{
	fprintf(
	    out,
	    "#cloud-config\n"
	    "preserve_hostname: false\n"
	    "bootcmd:\n"
	    "  - [sh, -c, 'if [ -e /etc/machine-id ] && [ \"$(cat /etc/machine-id)\" != %s ]; then "
	    "echo %s > /etc/machine-id; fi']\n",
	    machine_id, machine_id);
	write_host_key(out, request);
}

static void write_answers(FILE *out, const char *host)
{
	/* A Windows computer name has at most 15 characters. */
	fprintf(
	    out,
	    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n"
	    "<unattend xmlns=\"urn:schemas-microsoft-com:unattend\">\r\n"
	    " <settings pass=\"specialize\">\r\n"
	    "  <component name=\"Microsoft-Windows-Shell-Setup\" processorArchitecture=\"amd64\""
	    " publicKeyToken=\"31bf3856ad364e35\" language=\"neutral\" versionScope=\"nonSxS\">\r\n"
	    "   <ComputerName>%.15s</ComputerName>\r\n"
	    "  </component>\r\n"
	    " </settings>\r\n"
	    "</unattend>\r\n",
	    host);
}

enum { META, USER, VENDOR, ANSWERS, FILE_COUNT };

int identity_write_disk(const struct identity_request *request, unsigned char *image)
{
	static const char *const names[FILE_COUNT] = {"meta-data", "user-data", "vendor-data",
						      "unattend.xml"};
	char host[IDENTITY_HOST_MAX], machine_id[33], *texts[FILE_COUNT] = {NULL};
	struct fat_file files[FILE_COUNT];
	FILE *out[FILE_COUNT];
	size_t sizes[FILE_COUNT];
	int result = 0;

	identity_host_name(request, host);
	identity_machine_id(request, machine_id);
	for (int i = 0; i < FILE_COUNT; i++) {
		out[i] = open_memstream(&texts[i], &sizes[i]);
		if (!out[i])
			abort(); /* a memory stream of nothing: the process is beyond help */
	}
	fprintf(out[META], "instance-id: %s\nlocal-hostname: %s\n", machine_id, host);
	fputs(request->cloud_config && *request->cloud_config ? request->cloud_config
							      : "#cloud-config\n{}\n",
	      out[USER]);
	write_vendor_data(out[VENDOR], request, machine_id);
	write_answers(out[ANSWERS], host);
	for (int i = 0; i < FILE_COUNT; i++) {
		fclose(out[i]);
		files[i] = (struct fat_file){names[i], texts[i], sizes[i]};
	}
	result = fat_image_write(image, "CIDATA", files, FILE_COUNT);
	for (int i = 0; i < FILE_COUNT; i++) {
		sodium_memzero(texts[i], sizes[i]);
		free(texts[i]);
	}
	return result;
}
