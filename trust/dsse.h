/*
 * dsse.h: signed envelopes (Dead Simple Signing Envelope, DSSE v1).
 *
 * A signature covers the exact bytes of a payload together with its type, so nothing is ever
 * re-encoded before it is checked and a payload of one kind cannot be passed off as another. An
 * envelope may carry several signatures; how many of whose keys are needed is the verifier's rule,
 * never the envelope's.
 */
#ifndef TRUST_DSSE_H
#define TRUST_DSSE_H

#include "trust/signing_key.h"

#include <stddef.h>
#include <stdint.h>

#define DSSE_TYPE_MAX	    96
#define DSSE_PAYLOAD_MAX    (4u << 20)
#define DSSE_TEXT_MAX	    (6u << 20)
#define DSSE_SIGNATURES_MAX 16

/* The payload types of Bulkhead. */
#define DSSE_TYPE_ROLES	    "application/vnd.bulkhead.roles+json"
#define DSSE_TYPE_CATALOGUE "application/vnd.bulkhead.catalogue+json"
#define DSSE_TYPE_POLICY    "application/vnd.bulkhead.policy+json"
#define DSSE_TYPE_STATE	    "application/vnd.bulkhead.state+json"
#define DSSE_TYPE_LEASE	    "application/vnd.bulkhead.lease+json"
#define DSSE_TYPE_ORDER	    "application/vnd.bulkhead.order+json"
#define DSSE_TYPE_HEAD	    "application/vnd.bulkhead.audit-head+json"
#define DSSE_TYPE_MANIFEST  "application/vnd.bulkhead.manifest"

struct dsse_signature {
	uint8_t key_id[SIGNING_KEY_ID_BYTES];
	uint8_t bytes[64];
};

/** Owns its payload: release with dsse_release(). */
struct dsse_envelope {
	char type[DSSE_TYPE_MAX];
	uint8_t *payload;
	size_t payload_bytes;
	size_t signature_count;
	struct dsse_signature signatures[DSSE_SIGNATURES_MAX];
};

/** Starts an unsigned envelope with a copy of @payload. Returns 0, -EMSGSIZE or -ENOMEM. */
int dsse_new(struct dsse_envelope *envelope, const char *type, const void *payload,
	     size_t payload_bytes);

/** Reads an envelope's JSON. Proves nothing. Returns 0, -EBADMSG, -EMSGSIZE or -ENOMEM. */
int dsse_parse(const char *text, size_t text_bytes, struct dsse_envelope *envelope);

/** Writes the envelope as JSON; the caller frees @text. Returns 0 or -ENOMEM. */
int dsse_write(const struct dsse_envelope *envelope, char **text);

/** Adds (or replaces) the signature of @key. Returns 0, -ENOSPC (DSSE_SIGNATURES_MAX) or -ENOMEM.
 */
int dsse_sign(struct dsse_envelope *envelope, const struct signing_key *key);

/**
 * Checks that at least @threshold of the distinct @keys signed these bytes as @type.
 *
 * A signature by a key outside @keys is ignored; a key counts once however often it signed or is
 * listed.
 *
 * Returns 0, -EPROTOTYPE (another type), -EKEYREJECTED (fewer good signatures), -EINVAL (@threshold
 * 0), -ENOMEM.
 */
int dsse_verify(const struct dsse_envelope *envelope, const char *type,
		const struct public_key *keys, size_t key_count, size_t threshold);

/** Frees the payload and clears the envelope. */
void dsse_release(struct dsse_envelope *envelope);

#endif
