/*
 * A layer's ciphers. Three keys come from the layer's one by HMAC-SHA-256 with a word for each use. Contexts are costly
 * to make and keyed once, so running requests borrow them.
 *
 * GMAC's nonce is the block's number: it must never see two contents under one key. Only sealed layers have tags, their
 * key is theirs alone, and a block of a version has one content.
 */
#include "layer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>

int layer_mac(const uint8_t key[32], const void *first, size_t first_bytes, const void *second, size_t second_bytes,
	      uint8_t mac[32])
{
	char digest[] = "SHA256";
	OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
				   OSSL_PARAM_construct_end()};
	EVP_MAC *type = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = type ? EVP_MAC_CTX_new(type) : NULL;
	size_t length = 0;
	bool good = context && EVP_MAC_init(context, key, 32, parameters) == 1 &&
		    EVP_MAC_update(context, first, first_bytes) == 1 &&
		    EVP_MAC_update(context, second, second_bytes) == 1 &&
		    EVP_MAC_final(context, mac, &length, 32) == 1 && length == 32;

	EVP_MAC_CTX_free(context);
	EVP_MAC_free(type);
	return good ? 0 : -EIO;
}

int layer_keys_derive(struct layer_keys *keys, const uint8_t key[LAYER_KEY_BYTES])
{
	memset(keys, 0, sizeof(*keys));
	if (layer_mac(key, "layer xts 1", 11, "", 0, keys->xts) || layer_mac(key, "layer xts 2", 11, "", 0, keys->xts + 32) ||
	    layer_mac(key, "layer gmac", 10, "", 0, keys->gmac) || layer_mac(key, "layer map", 9, "", 0, keys->map))
		return -EIO;
	return pthread_mutex_init(&keys->lock, NULL) ? -ENOMEM : 0;
}

static void cipher_free(struct layer_cipher *cipher)
{
	EVP_CIPHER_CTX_free(cipher->encrypt);
	EVP_CIPHER_CTX_free(cipher->decrypt);
	EVP_CIPHER_CTX_free(cipher->tag);
	free(cipher);
}

void layer_keys_forget(struct layer_keys *keys)
{
	for (unsigned int i = 0; i < keys->idle_count; i++)
		cipher_free(keys->idle[i]);
	pthread_mutex_destroy(&keys->lock);
	OPENSSL_cleanse(keys, sizeof(*keys));
}

static struct layer_cipher *cipher_new(const struct layer_keys *keys)
{
	struct layer_cipher *cipher = calloc(1, sizeof(*cipher));

	if (!cipher)
		return NULL;
	cipher->encrypt = EVP_CIPHER_CTX_new();
	cipher->decrypt = EVP_CIPHER_CTX_new();
	cipher->tag = EVP_CIPHER_CTX_new();
	if (cipher->encrypt && cipher->decrypt && cipher->tag &&
	    EVP_EncryptInit_ex(cipher->encrypt, EVP_aes_256_xts(), NULL, keys->xts, NULL) == 1 &&
	    EVP_DecryptInit_ex(cipher->decrypt, EVP_aes_256_xts(), NULL, keys->xts, NULL) == 1 &&
	    EVP_EncryptInit_ex(cipher->tag, EVP_aes_256_gcm(), NULL, keys->gmac, NULL) == 1)
		return cipher;
	cipher_free(cipher);
	return NULL;
}

struct layer_cipher *layer_cipher_get(struct layer_keys *keys)
{
	struct layer_cipher *cipher = NULL;

	pthread_mutex_lock(&keys->lock);
	if (keys->idle_count)
		cipher = keys->idle[--keys->idle_count];
	pthread_mutex_unlock(&keys->lock);
	return cipher ? cipher : cipher_new(keys);
}

void layer_cipher_put(struct layer_keys *keys, struct layer_cipher *cipher)
{
	pthread_mutex_lock(&keys->lock);
	if (keys->idle_count < CIPHERS_MAX) {
		keys->idle[keys->idle_count++] = cipher;
		cipher = NULL;
	}
	pthread_mutex_unlock(&keys->lock);
	if (cipher)
		cipher_free(cipher);
}

static void number(uint64_t block, uint8_t *bytes)
{
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(block >> (8 * i));
}

int layer_encrypt(struct layer_cipher *cipher, uint64_t block, const uint8_t *from, uint8_t *to)
{
	uint8_t tweak[16] = {0};
	int length;

	number(block, tweak);
	return EVP_EncryptInit_ex(cipher->encrypt, NULL, NULL, NULL, tweak) == 1 &&
			       EVP_EncryptUpdate(cipher->encrypt, to, &length, from, BLOCK_BYTES) == 1
		       ? 0
		       : -EIO;
}

int layer_decrypt(struct layer_cipher *cipher, uint64_t block, const uint8_t *from, uint8_t *to)
{
	uint8_t tweak[16] = {0};
	int length;

	number(block, tweak);
	return EVP_DecryptInit_ex(cipher->decrypt, NULL, NULL, NULL, tweak) == 1 &&
			       EVP_DecryptUpdate(cipher->decrypt, to, &length, from, BLOCK_BYTES) == 1
		       ? 0
		       : -EIO;
}

int layer_tag(struct layer_cipher *cipher, uint64_t block, const uint8_t *bytes, uint8_t tag[TAG_BYTES])
{
	uint8_t nonce[12] = {0};
	int length;

	number(block, nonce);
	return EVP_EncryptInit_ex(cipher->tag, NULL, NULL, NULL, nonce) == 1 &&
			       EVP_EncryptUpdate(cipher->tag, NULL, &length, bytes, BLOCK_BYTES) == 1 &&
			       EVP_EncryptFinal_ex(cipher->tag, tag, &length) == 1 &&
			       EVP_CIPHER_CTX_ctrl(cipher->tag, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1
		       ? 0
		       : -EIO;
}
