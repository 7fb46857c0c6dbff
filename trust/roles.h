/*
 * roles.h: who may sign what (the "root" of The Update Framework, TUF 1.0).
 *
 * One document names every key and which role it plays. The root keys sign it; a new one replaces
 * it only if enough root keys of the old *and* of the new one signed it, one version at a time, so
 * a chain leads from the document that was pinned at enrolment to today's. The server holds the key
 * of the role "server" and no other.
 */
#ifndef TRUST_ROLES_H
#define TRUST_ROLES_H

#include "trust/dsse.h"

#include <stdbool.h>
#include <stdint.h>

#define ROLES_KEYS_MAX	   32
#define ROLES_RECOVERY_MAX 4

enum role {
	ROLE_ROOT,	  /* this document */
	ROLE_IMAGES,	  /* catalogues of image versions */
	ROLE_POLICY,	  /* policy */
	ROLE_DESTRUCTION, /* wipe and key release: officers, at least two */
	ROLE_SERVER,	  /* what must be fresh: state, leases, audit heads */
	ROLE_COUNT
};

struct roles_role {
	uint8_t threshold;
	uint8_t key_count;
	struct public_key keys[ROLES_KEYS_MAX];
};

/** A roles document that was read and whose rules hold. Plain data, no ownership. */
struct roles {
	uint64_t version;
	int64_t expires; /* Unix seconds */
	struct roles_role roles[ROLE_COUNT];
	size_t key_count;
	struct roles_key {
		struct public_key key;
		char name[SIGNING_KEY_NAME_MAX];
	} keys[ROLES_KEYS_MAX];
	/* X25519 keys that the officers of recovery hold; a disk key is sealed to all of them, one
	 * inside the other. */
	size_t recovery_count;
	uint8_t recovery[ROLES_RECOVERY_MAX][32];
};

/** The name of a role in documents and messages, and back (ROLE_COUNT if unknown). */
const char *roles_name(enum role role);
enum role roles_from_name(const char *name);

/**
 * Reads the payload of a roles document and holds its rules: known keys only, thresholds within
 * reach, at least two officers, no key of the server in another role. Checks no signature.
 *
 * Returns 0, -EBADMSG or -EMSGSIZE.
 */
int roles_read(const void *payload, size_t payload_bytes, struct roles *roles);

/** Writes the canonical payload; the caller frees @text. Returns 0 or -ENOMEM. */
int roles_write(const struct roles *roles, char **text);

/**
 * Accepts the first document. It must be signed by its own root keys; why to believe it at all is
 * the caller's to settle by comparing roles_pin() with the pin that came with the enrolment token.
 *
 * Returns 0, a negative errno of roles_read(), or of dsse_verify().
 */
int roles_first(const struct dsse_envelope *envelope, struct roles *roles);

/**
 * Accepts the successor of @current: version + 1, signed by enough root keys of both.
 *
 * @next may be the same structure as @current and is only changed on success. An expired successor
 * is accepted (the one after it may be fresh); whoever uses roles for something new asks
 * roles_are_fresh().
 *
 * Returns 0, -ESTALE (not the next version), or a negative errno of roles_read() and dsse_verify().
 */
int roles_follow(const struct roles *current, const struct dsse_envelope *envelope,
		 struct roles *next);

/** True until the document's expiry. */
bool roles_are_fresh(const struct roles *roles, int64_t now);

/** Checks @envelope against the keys and threshold of @role. Returns as dsse_verify(). */
int roles_verify(const struct roles *roles, enum role role, const char *type,
		 const struct dsse_envelope *envelope);

/** The pin of a document: SHA-256 of its payload bytes, as they were signed. */
void roles_pin(const struct dsse_envelope *envelope, uint8_t pin[32]);

/** Adds @key under @name to the document (once) and to @role. Returns 0, -ENOSPC or -EINVAL (name).
 */
int roles_add_key(struct roles *roles, enum role role, const struct public_key *key,
		  const char *name);

#endif
