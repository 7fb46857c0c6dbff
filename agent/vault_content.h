/**
 * The file in which a vault keeps what need not be secret from the disk: sealed secrets, wrapped
 * slots, the owner's root of trust and the lease as they were signed. A slot holds one guest's key,
 * under which that guest's disk keys are wrapped; wiping a guest drops its slot and changes the
 * secret under all others.
 */
#ifndef AGENT_VAULT_CONTENT_H
#define AGENT_VAULT_CONTENT_H

#include <sodium.h>
#include <stdbool.h>

#include "vault_backend.h"

#define VAULT_NAME_BYTES 65
#define VAULT_SLOTS_MAX	 32
#define VAULT_WRAPPED_BYTES                                                                        \
	(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + 32 +                                       \
	 crypto_aead_xchacha20poly1305_ietf_ABYTES)

struct vault_slot {
	char guest[VAULT_NAME_BYTES];
	unsigned char wrapped[VAULT_WRAPPED_BYTES];
};

struct vault_content {
	char owner[VAULT_NAME_BYTES];
	char device[VAULT_NAME_BYTES];
	uint64_t epoch;		 /* that the blobs are sealed for */
	struct tpm_blob renewal; /* opens at that epoch: to take a new lease */
	struct tpm_blob working; /* opens within the lease's bounds too: to give keys out; empty
				    without a lease */
	struct vault_bounds bounds;
	unsigned char exchange_key[32]; /* X25519, public: what officers release keys to */
	size_t slot_count;
	struct vault_slot slots[VAULT_SLOTS_MAX];
	char *roles;	  /* envelope text, NULL: not bound */
	char *roles_next; /* while moving to a successor: the record's digest says which of the two
			     counts */
	char *lease;	  /* envelope text, NULL: none */
};

/** Reads a content file. Returns 0, -ENOENT, -EBADMSG or another negative errno. Release with
 * vault_content_release(). */
int vault_content_load(const char *path, struct vault_content *content);

/** Writes it, whole or not at all. */
int vault_content_save(const char *path, const struct vault_content *content);

/** Reads the text of a content file; the parser that vault_content_load() uses. Returns 0 or
 * -EBADMSG. */
int vault_content_parse(const char *text, size_t text_bytes, struct vault_content *content);

void vault_content_release(struct vault_content *content);

#endif
