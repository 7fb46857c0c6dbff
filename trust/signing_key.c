/* signing_key.c: see signing_key.h. */
#include "trust/signing_key.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "bulkhead-key-1"

const struct signing_key_cost signing_key_cost_default = {3, 256u << 20};
const struct signing_key_cost signing_key_cost_least = {crypto_pwhash_OPSLIMIT_MIN,
							crypto_pwhash_MEMLIMIT_MIN};

static const char *const file_keys[] = {"format",     "kind",	    "name",   "public",
					"protection", "operations", "memory", "salt",
					"nonce",      "secret",	    NULL};

int signing_key_start(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

int signing_key_generate(struct signing_key *key, const char *name)
{
	if (!strict_json_is_name(name))
		return -EINVAL;
	crypto_sign_keypair(key->public_half.bytes, key->secret);
	memset(key->name, 0, sizeof(key->name));
	memcpy(key->name, name, strlen(name));
	return 0;
}

void signing_key_forget(struct signing_key *key)
{
	sodium_memzero(key, sizeof(*key));
}

void signing_key_id(const struct public_key *key, uint8_t id[SIGNING_KEY_ID_BYTES])
{
	crypto_hash_sha256(id, key->bytes, sizeof(key->bytes));
}

void signing_key_id_text(const struct public_key *key, char text[SIGNING_KEY_ID_TEXT])
{
	uint8_t id[SIGNING_KEY_ID_BYTES];

	signing_key_id(key, id);
	sodium_bin2hex(text, SIGNING_KEY_ID_TEXT, id, sizeof(id));
}

static int derive(uint8_t out[crypto_secretbox_KEYBYTES], const char *passphrase,
		  const uint8_t *salt, const struct signing_key_cost *cost)
{
	return crypto_pwhash(out, crypto_secretbox_KEYBYTES, passphrase, strlen(passphrase), salt,
			     cost->operations, cost->memory_bytes, crypto_pwhash_ALG_ARGON2ID13)
		   ? -ENOMEM
		   : 0;
}

/* Adds the closed secret (only the seed: the rest follows from it) to the file. */
static int close_secret(json_t *file, const struct signing_key *key, const char *passphrase,
			const struct signing_key_cost *cost)
{
	uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES];
	uint8_t box_key[crypto_secretbox_KEYBYTES], box[crypto_secretbox_MACBYTES + 32];
	int status;

	randombytes_buf(salt, sizeof(salt));
	randombytes_buf(nonce, sizeof(nonce));
	status = derive(box_key, passphrase, salt, cost);
	if (status)
		return status;
	crypto_secretbox_easy(box, key->secret, 32, nonce, box_key);
	sodium_memzero(box_key, sizeof(box_key));
	if (json_object_set_new(file, "protection", json_string("argon2id-secretbox")) ||
	    json_object_set_new(file, "operations", json_integer((json_int_t)cost->operations)) ||
	    json_object_set_new(file, "memory", json_integer((json_int_t)cost->memory_bytes)) ||
	    json_object_set_new(file, "salt", strict_json_new_bytes(salt, sizeof(salt))) ||
	    json_object_set_new(file, "nonce", strict_json_new_bytes(nonce, sizeof(nonce))) ||
	    json_object_set_new(file, "secret", strict_json_new_bytes(box, sizeof(box))))
		return -ENOMEM;
	return 0;
}

int signing_key_write(const struct signing_key *key, const char *passphrase,
		      const struct signing_key_cost *cost, char **text)
{
	json_t *file = json_object();
	int status = -ENOMEM;

	if (json_object_set_new(file, "format", json_string(FORMAT)) ||
	    json_object_set_new(file, "kind", json_string("ed25519")) ||
	    json_object_set_new(file, "name", json_string(key->name)) ||
	    json_object_set_new(file, "public", strict_json_new_bytes(key->public_half.bytes, 32)))
		goto out;
	if (passphrase) {
		status = close_secret(file, key, passphrase, cost);
		if (status)
			goto out;
	} else if (json_object_set_new(file, "protection", json_string("none")) ||
		   json_object_set_new(file, "secret", strict_json_new_bytes(key->secret, 32))) {
		goto out;
	}
	*text = strict_json_write(file);
	status = *text ? 0 : -ENOMEM;
out:
	json_decref(file);
	return status;
}

static int parse_file(const char *text, size_t text_bytes, json_t **file, struct public_key *key,
		      char name[SIGNING_KEY_NAME_MAX])
{
	char format[32], kind[16];
	int status = strict_json_parse(text, text_bytes, SIGNING_KEY_FILE_MAX, file);

	if (status)
		return -EBADMSG;
	if (!strict_json_only_keys(*file, file_keys) ||
	    strict_json_string(*file, "format", format, sizeof(format)) || strcmp(format, FORMAT) ||
	    strict_json_string(*file, "kind", kind, sizeof(kind)) || strcmp(kind, "ed25519") ||
	    strict_json_string(*file, "name", name, SIGNING_KEY_NAME_MAX) ||
	    !strict_json_is_name(name) ||
	    strict_json_bytes(*file, "public", key->bytes, sizeof(key->bytes))) {
		json_decref(*file);
		*file = NULL;
		return -EBADMSG;
	}
	return 0;
}

static int open_secret(const json_t *file, const char *passphrase, uint8_t seed[32])
{
	uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES];
	uint8_t box_key[crypto_secretbox_KEYBYTES], box[crypto_secretbox_MACBYTES + 32];
	struct signing_key_cost cost;
	int64_t operations, memory_bytes;
	int status;

	if (!passphrase)
		return -ENOKEY;
	if (strict_json_integer(file, "operations", 1, INT64_MAX, &operations) ||
	    strict_json_integer(file, "memory", crypto_pwhash_MEMLIMIT_MIN, INT64_MAX,
				&memory_bytes) ||
	    strict_json_bytes(file, "salt", salt, sizeof(salt)) ||
	    strict_json_bytes(file, "nonce", nonce, sizeof(nonce)) ||
	    strict_json_bytes(file, "secret", box, sizeof(box)))
		return -EBADMSG;
	if (operations > 16 || memory_bytes > (1 << 30))
		return -E2BIG;
	cost = (struct signing_key_cost){(uint64_t)operations, (uint64_t)memory_bytes};
	status = derive(box_key, passphrase, salt, &cost);
	if (status)
		return status;
	status =
	    crypto_secretbox_open_easy(seed, box, sizeof(box), nonce, box_key) ? -EKEYREJECTED : 0;
	sodium_memzero(box_key, sizeof(box_key));
	return status;
}

int signing_key_read(const char *text, size_t text_bytes, const char *passphrase,
		     struct signing_key *key)
{
	struct public_key derived;
	char protection[32];
	uint8_t seed[32];
	json_t *file;
	int status = parse_file(text, text_bytes, &file, &key->public_half, key->name);

	if (status)
		return status;
	status = -EBADMSG;
	if (strict_json_string(file, "protection", protection, sizeof(protection)))
		goto out;
	if (!strcmp(protection, "argon2id-secretbox"))
		status = open_secret(file, passphrase, seed);
	else if (!strcmp(protection, "none"))
		status = strict_json_bytes(file, "secret", seed, sizeof(seed));
	if (status)
		goto out;
	crypto_sign_seed_keypair(derived.bytes, key->secret, seed);
	sodium_memzero(seed, sizeof(seed));
	/* A swapped public half would make its owner sign under a stranger's name. */
	if (sodium_memcmp(derived.bytes, key->public_half.bytes, sizeof(derived.bytes)))
		status = -EBADMSG;
out:
	json_decref(file);
	if (status)
		signing_key_forget(key);
	return status;
}

int signing_key_read_public(const char *text, size_t text_bytes, struct public_key *key,
			    char name[SIGNING_KEY_NAME_MAX])
{
	json_t *file;
	int status = parse_file(text, text_bytes, &file, key, name);

	if (!status)
		json_decref(file);
	return status;
}
