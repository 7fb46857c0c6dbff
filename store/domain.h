/*
 * domain.h: one key and one deduplication domain, per image family or per user disk.
 *
 * From the domain's key come a key that names blocks, a key for every pack and the domain's public
 * id. Who has no key can tell neither whether a block is stored nor what is in a frame.
 */
#ifndef STORE_DOMAIN_H
#define STORE_DOMAIN_H

#include "store/format.h"

#include <stddef.h>
#include <stdint.h>

#define DOMAIN_KEY_BYTES 32u

/** Holds secrets: forget with domain_forget(). */
struct domain {
	uint8_t key[DOMAIN_KEY_BYTES];
	uint8_t block_key[32];
	uint8_t id[DOMAIN_ID_BYTES];
};

/** Derives everything from @key, which the caller keeps. Returns 0, -ENOMEM or -EIO. */
int domain_open(const uint8_t key[DOMAIN_KEY_BYTES], struct domain *domain);

/** Makes a new domain with a random key (domain->key is what to keep). Returns 0 or -EIO. */
int domain_create(struct domain *domain);

/** The key of the pack with this salt. Returns 0, -ENOMEM or -EIO. */
int domain_pack_key(const struct domain *domain, const uint8_t salt[SALT_BYTES], uint8_t key[32]);

/** Overwrites the secrets. */
void domain_forget(struct domain *domain);

/** SHA-256 of @data. Returns 0 or -EIO. */
int store_sha256(const void *data, size_t bytes, uint8_t digest[32]);

/** Writes @bytes as 2*@bytes lower-case hexadecimal digits and a NUL. */
void store_hex(const uint8_t *data, size_t bytes, char *text);

/** Reads exactly 2*@bytes hexadecimal digits. Returns 0 or -EINVAL. */
int store_unhex(const char *text, uint8_t *data, size_t bytes);

#endif
