/* domain.c: see domain.h. Every derivation is HMAC-SHA-256(domain key, label NUL context). */
#include "store/domain.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

static int derive(const uint8_t key[32], const char *label, const void *context,
		  size_t context_bytes, uint8_t out[32])
{
	uint8_t message[64];
	size_t label_bytes = strlen(label) + 1;
	unsigned int out_bytes = 32;

	memcpy(message, label, label_bytes);
	if (context_bytes)
		memcpy(message + label_bytes, context, context_bytes);
	return HMAC(EVP_sha256(), key, 32, message, label_bytes + context_bytes, out, &out_bytes)
		   ? 0
		   : -EIO;
}

int domain_open(const uint8_t key[DOMAIN_KEY_BYTES], struct domain *domain)
{
	uint8_t id[32];
	int error;

	memcpy(domain->key, key, DOMAIN_KEY_BYTES);
	error = derive(key, "bulkhead block name", NULL, 0, domain->block_key);
	if (!error)
		error = derive(key, "bulkhead domain id", NULL, 0, id);
	if (error) {
		domain_forget(domain);
		return error;
	}
	memcpy(domain->id, id, DOMAIN_ID_BYTES);
	return 0;
}

int domain_create(struct domain *domain)
{
	uint8_t key[DOMAIN_KEY_BYTES];
	int error;

	if (RAND_priv_bytes(key, sizeof(key)) != 1)
		return -EIO;
	error = domain_open(key, domain);
	OPENSSL_cleanse(key, sizeof(key));
	return error;
}

int domain_pack_key(const struct domain *domain, const uint8_t salt[SALT_BYTES], uint8_t key[32])
{
	return derive(domain->key, "bulkhead pack key", salt, SALT_BYTES, key);
}

void domain_forget(struct domain *domain)
{
	OPENSSL_cleanse(domain, sizeof(*domain));
}

int store_sha256(const void *data, size_t bytes, uint8_t digest[32])
{
	return EVP_Digest(data, bytes, digest, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

void store_hex(const uint8_t *data, size_t bytes, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes; i++) {
		text[2 * i] = digits[data[i] >> 4];
		text[2 * i + 1] = digits[data[i] & 15];
	}
	text[2 * bytes] = '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int store_unhex(const char *text, uint8_t *data, size_t bytes)
{
	if (strlen(text) != 2 * bytes)
		return -EINVAL;
	for (size_t i = 0; i < bytes; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		data[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}
