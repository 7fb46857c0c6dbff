/* Sealed copies of a disk's key: see key_copy.h. */
#include "key_copy.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "phrase.h"
#include "trust/recovery.h"

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG   crypto_aead_xchacha20poly1305_ietf_ABYTES

/* A phrase's copy: magic, cost, salt, nonce, sealed key. */
static const unsigned char phrase_magic[7] = {'B', 'H', 'P', 'H', 'R', 'S', '1'};
#define PHRASE_HEAD	  (sizeof(phrase_magic) + 1 + crypto_pwhash_SALTBYTES)
#define PHRASE_COPY_BYTES (PHRASE_HEAD + NONCE + KEY_COPY_KEY_BYTES + TAG)

/* An innermost content: magic, hash of the name, key. */
static const unsigned char inner_magic[8] = {'B', 'H', 'K', 'E', 'Y', '0', '0', '1'};
#define INNER_BYTES (sizeof(inner_magic) + 32 + KEY_COPY_KEY_BYTES)

static const struct {
	unsigned long long operations;
	size_t memory_bytes;
} costs[] = {
    [KEY_COPY_COST_PERSON] = {crypto_pwhash_OPSLIMIT_MODERATE, crypto_pwhash_MEMLIMIT_MODERATE},
    [KEY_COPY_COST_LEAST] = {crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN},
};

static int phrase_key(const char *phrase, size_t phrase_bytes, unsigned int cost,
		      const unsigned char *salt, unsigned char key[32])
{
	unsigned char entropy[PHRASE_ENTROPY_BYTES];
	int wrong_word, result = phrase_read(phrase, phrase_bytes, entropy, &wrong_word);

	if (result == 0 && crypto_pwhash(key, 32, (const char *)entropy, sizeof(entropy), salt,
					 costs[cost].operations, costs[cost].memory_bytes,
					 crypto_pwhash_ALG_ARGON2ID13) != 0)
		result = -ENOMEM;
	sodium_memzero(entropy, sizeof(entropy));
	return result;
}

int key_copy_to_phrase(const unsigned char key[KEY_COPY_KEY_BYTES], const char *name,
		       const char *phrase, size_t phrase_bytes, enum key_copy_cost cost,
		       struct key_copy *copy)
{
	unsigned char closing[32], *salt = copy->bytes + sizeof(phrase_magic) + 1;
	unsigned char *nonce = copy->bytes + PHRASE_HEAD;
	int result;

	memcpy(copy->bytes, phrase_magic, sizeof(phrase_magic));
	copy->bytes[sizeof(phrase_magic)] = (unsigned char)cost;
	randombytes_buf(salt, crypto_pwhash_SALTBYTES);
	randombytes_buf(nonce, NONCE);
	result = phrase_key(phrase, phrase_bytes, cost, salt, closing);
	if (result == 0)
		crypto_aead_xchacha20poly1305_ietf_encrypt(
		    nonce + NONCE, NULL, key, KEY_COPY_KEY_BYTES, (const unsigned char *)name,
		    strlen(name), NULL, nonce, closing);
	copy->size_bytes = PHRASE_COPY_BYTES;
	sodium_memzero(closing, sizeof(closing));
	return result;
}

int key_copy_from_phrase(const unsigned char *copy, size_t copy_bytes, const char *name,
			 const char *phrase, size_t phrase_bytes,
			 unsigned char key[KEY_COPY_KEY_BYTES])
{
	const unsigned char *salt = copy + sizeof(phrase_magic) + 1, *nonce = copy + PHRASE_HEAD;
	unsigned char closing[32];
	int result;

	if (copy_bytes != PHRASE_COPY_BYTES ||
	    memcmp(copy, phrase_magic, sizeof(phrase_magic)) != 0 ||
	    copy[sizeof(phrase_magic)] >= sizeof(costs) / sizeof(costs[0]))
		return -EBADMSG;
	result = phrase_key(phrase, phrase_bytes, copy[sizeof(phrase_magic)], salt, closing);
	if (result == 0 && crypto_aead_xchacha20poly1305_ietf_decrypt(
			       key, NULL, NULL, nonce + NONCE, KEY_COPY_KEY_BYTES + TAG,
			       (const unsigned char *)name, strlen(name), nonce, closing) != 0)
		result = -EKEYREJECTED;
	sodium_memzero(closing, sizeof(closing));
	return result;
}

int key_copy_to_recipients(const unsigned char key[KEY_COPY_KEY_BYTES], const char *name,
			   const unsigned char *recipients, size_t count, struct key_copy *copy)
{
	unsigned char inner[INNER_BYTES];
	int result;

	memcpy(inner, inner_magic, sizeof(inner_magic));
	crypto_generichash(inner + sizeof(inner_magic), 32, (const unsigned char *)name,
			   strlen(name), NULL, 0);
	memcpy(inner + sizeof(inner_magic) + 32, key, KEY_COPY_KEY_BYTES);
	result = recovery_seal(inner, sizeof(inner), (const uint8_t(*)[32])recipients, count,
			       copy->bytes, &copy->size_bytes);
	sodium_memzero(inner, sizeof(inner));
	return result;
}

int key_copy_peel(const unsigned char *copy, size_t copy_bytes, const unsigned char public_key[32],
		  const unsigned char secret_key[32], struct key_copy *inner)
{
	if (copy_bytes <= RECOVERY_LAYER_BYTES || copy_bytes > KEY_COPY_MAX_BYTES ||
	    recovery_open_layer(copy, copy_bytes, public_key, secret_key, inner->bytes) != 0)
		return -EKEYREJECTED;
	inner->size_bytes = copy_bytes - RECOVERY_LAYER_BYTES;
	return 0;
}

int key_copy_open_inner(const struct key_copy *inner, const char *name,
			unsigned char key[KEY_COPY_KEY_BYTES])
{
	unsigned char hash[32];

	crypto_generichash(hash, sizeof(hash), (const unsigned char *)name, strlen(name), NULL, 0);
	if (inner->size_bytes != INNER_BYTES ||
	    memcmp(inner->bytes, inner_magic, sizeof(inner_magic)) != 0 ||
	    memcmp(inner->bytes + sizeof(inner_magic), hash, sizeof(hash)) != 0)
		return -EKEYREJECTED;
	memcpy(key, inner->bytes + sizeof(inner_magic) + 32, KEY_COPY_KEY_BYTES);
	return 0;
}
