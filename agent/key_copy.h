/**
 * Copies of a disk's key that may lie on a server: sealed to a recovery phrase (Argon2id,
 * XChaCha20-Poly1305) or to the recovery officers' public keys, one box inside the other, so that
 * each of them must open his own. The name of the disk is bound in, so that one disk's copy is no
 * other's.
 */
#ifndef AGENT_KEY_COPY_H
#define AGENT_KEY_COPY_H

#include <stddef.h>
#include <stdint.h>

#define KEY_COPY_KEY_BYTES	 32
#define KEY_COPY_RECIPIENT_BYTES 32
#define KEY_COPY_RECIPIENTS_MAX	 4
#define KEY_COPY_MAX_BYTES	 512

struct key_copy {
	unsigned char bytes[KEY_COPY_MAX_BYTES];
	size_t size_bytes;
};

/** What guessing a phrase costs; chosen once at start by whoever runs (tests choose the least). */
enum key_copy_cost { KEY_COPY_COST_PERSON, KEY_COPY_COST_LEAST };

/** Seals `key` to a phrase. Returns 0, or phrase_read()'s errors. */
int key_copy_to_phrase(const unsigned char key[KEY_COPY_KEY_BYTES], const char *name,
		       const char *phrase, size_t phrase_bytes, enum key_copy_cost cost,
		       struct key_copy *copy);

/** Opens a phrase's copy. Returns 0, phrase_read()'s errors, -EBADMSG (no such copy), -EKEYREJECTED
 * (not this phrase). */
int key_copy_from_phrase(const unsigned char *copy, size_t copy_bytes, const char *name,
			 const char *phrase, size_t phrase_bytes,
			 unsigned char key[KEY_COPY_KEY_BYTES]);

/** Seals `key` to `count` X25519 keys; the last one's box is the outermost (trust/recovery.h).
 * Returns 0 or -EINVAL.
 */
int key_copy_to_recipients(const unsigned char key[KEY_COPY_KEY_BYTES], const char *name,
			   const unsigned char *recipients, size_t count, struct key_copy *copy);

/**
 * Takes one recipient's box off. With `copy` sealed to one key, `inner` becomes the key and the
 * name's hash: read them with key_copy_open_inner(). Returns 0 or -EKEYREJECTED.
 */
int key_copy_peel(const unsigned char *copy, size_t copy_bytes, const unsigned char public_key[32],
		  const unsigned char secret_key[32], struct key_copy *inner);

/** Takes the key out of an innermost content. Returns 0 or -EKEYREJECTED (another disk's, or still
 * boxed). */
int key_copy_open_inner(const struct key_copy *inner, const char *name,
			unsigned char key[KEY_COPY_KEY_BYTES]);

#endif
