/*
 * signing_key.h: Ed25519 keys of people and servers, and the text form in which they are kept.
 *
 * A key file is JSON. Its secret half is closed with a passphrase (Argon2id, then
 * XSalsa20-Poly1305), or lies open if its owner chose so (a server's own key, tests). This part
 * reads and writes text only; files are the caller's.
 */
#ifndef TRUST_SIGNING_KEY_H
#define TRUST_SIGNING_KEY_H

#include <stddef.h>
#include <stdint.h>

#define SIGNING_KEY_ID_BYTES 32
#define SIGNING_KEY_ID_TEXT  (2 * SIGNING_KEY_ID_BYTES + 1)
#define SIGNING_KEY_NAME_MAX 65
#define SIGNING_KEY_FILE_MAX 4096

struct public_key {
	uint8_t bytes[32];
};

/** Holds a secret: forget it with signing_key_forget(). */
struct signing_key {
	struct public_key public_half;
	uint8_t secret[64];
	char name[SIGNING_KEY_NAME_MAX];
};

/** What opening a passphrase may cost; kept in the file, bounded when read. */
struct signing_key_cost {
	uint64_t operations;
	uint64_t memory_bytes;
};

/** The cost for people's keys: about a second and 256 MiB. */
extern const struct signing_key_cost signing_key_cost_default;
/** The least cost that is accepted: for tests. */
extern const struct signing_key_cost signing_key_cost_least;

/** Must be called once before anything of this part. Returns 0 or -EIO if the system has no random
 * numbers. */
int signing_key_start(void);

/** Makes a new random key called @name (see strict_json_is_name()). Returns 0 or -EINVAL. */
int signing_key_generate(struct signing_key *key, const char *name);

/** Overwrites the secret. */
void signing_key_forget(struct signing_key *key);

/** A key's id: SHA-256 of its 32 public bytes. */
void signing_key_id(const struct public_key *key, uint8_t id[SIGNING_KEY_ID_BYTES]);

/** The id as 64 hexadecimal digits. */
void signing_key_id_text(const struct public_key *key, char text[SIGNING_KEY_ID_TEXT]);

/**
 * Writes the key file.
 *
 * @passphrase: NULL leaves the secret readable.
 * @text: receives the text, to be freed by the caller after sodium_memzero().
 *
 * Returns 0 or -ENOMEM.
 */
int signing_key_write(const struct signing_key *key, const char *passphrase,
		      const struct signing_key_cost *cost, char **text);

/**
 * Opens a key file.
 *
 * Returns 0, -EBADMSG (no key file, or its two halves do not belong together), -ENOKEY (it needs a
 * passphrase and
 * @passphrase is NULL), -EKEYREJECTED (wrong passphrase), -E2BIG (asks for more than 1 GiB or 16
 * passes), -ENOMEM.
 */
int signing_key_read(const char *text, size_t text_bytes, const char *passphrase,
		     struct signing_key *key);

/** Reads only the public half and the name of a key file. Returns 0 or -EBADMSG. */
int signing_key_read_public(const char *text, size_t text_bytes, struct public_key *key,
			    char name[SIGNING_KEY_NAME_MAX]);

#endif
