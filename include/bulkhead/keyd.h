/**
 * The protocol of bulkhead-keyd: five calls over a Unix socket (SOCK_SEQPACKET, one message a call,
 * one answer each).
 *
 * bulkhead-keyd holds the vault of one owner. Its interface is small and binary so that it can move
 * from a process of the service domain into the boot stage's vault without a format changing. The
 * kernel names the caller (SO_PEERCRED); the table in agent/keyd_serve.c says which user may make
 * which call.
 *
 * A message is a header and fields, all little endian. A field may appear once; a call refuses
 * fields it does not know. Answers repeat the call, carry an errno value (0: done) and, on error,
 * one line of text for a person.
 */
#ifndef BULKHEAD_KEYD_H
#define BULKHEAD_KEYD_H

#include <assert.h>
#include <stdint.h>

#define KEYD_MAGIC	       0x444b4842u /* "BHKD" */
#define KEYD_VERSION	       1
#define KEYD_MESSAGE_MAX_BYTES 65536
#define KEYD_NAME_MAX_BYTES    128

enum keyd_call {
	/** Nothing in; STATE out: a JSON object, see docs/keyd.md. Changes nothing. */
	KEYD_STATE = 1,
	/**
	 * Signed freshness. In: any of ROOT (binds an unbound vault to that owner's root of trust,
	 * or moves a bound one to its successor), OWNER and DEVICE (with the binding ROOT), LEASE
	 * (a signed lease). Each is checked before any takes effect. Out: STATE.
	 */
	KEYD_LEASE = 2,
	/**
	 * Makes or takes in a key and returns it wrapped. In: NAME; nothing else (a fresh random key), or
	 * KEY, or BLOB (a key wrapped earlier, to make copies of it), or COPY and PHRASE (a copy sealed to
	 * a recovery phrase), or COPY and ORDER (a copy that officers released to this vault), or BLOB and
	 * ORDER (officers have this vault seal the key to whom the order names); optionally RECIPIENT
	 * (X25519 public keys) and SEAL_PHRASE, each adding a sealed copy to the answer. FLAGS:
	 * KEYD_SEAL_FOR_GUEST wraps it for measured guests only, where this vault can measure.
	 * Out: BLOB; COPY_RECIPIENT, COPY_PHRASE as asked.
	 */
	KEYD_SEAL = 3,
	/**
	 * Gives a key out. In: NAME, BLOB, FLAGS (KEYD_RELEASE_START charges one start of the lease
	 * first); DESCRIPTOR (trust/descriptor.h) with, beside the message (SCM_RIGHTS), a file
	 * descriptor of the guest that it describes: what the hypervisor measured must be what the
	 * owner signed. A vault that can measure wants both for a start, and for a key wrapped with
	 * KEYD_SEAL_FOR_GUEST. Out: KEY. EKEYEXPIRED when the lease has ended, EKEYREVOKED when the
	 * vault was wiped, EXDEV when the guest is another one than was described.
	 */
	KEYD_RELEASE = 4,
	/**
	 * Destroys every key of the vault. In: ORDER (two officers' signed order naming this
	 * device) for a company's vault, nothing for a user's own. Out: RECEIPT, STATE.
	 */
	KEYD_WIPE = 5,
};

enum keyd_tag {
	KEYD_TAG_NAME = 1,
	KEYD_TAG_KEY = 2,
	KEYD_TAG_BLOB = 3,
	KEYD_TAG_PHRASE = 4,
	KEYD_TAG_COPY = 5,
	KEYD_TAG_RECIPIENT = 6,
	KEYD_TAG_SEAL_PHRASE = 7,
	KEYD_TAG_COPY_RECIPIENT = 8,
	KEYD_TAG_COPY_PHRASE = 9,
	KEYD_TAG_ORDER = 10,
	KEYD_TAG_ROOT = 11,
	KEYD_TAG_OWNER = 12,
	KEYD_TAG_DEVICE = 13,
	KEYD_TAG_LEASE = 14,
	KEYD_TAG_FLAGS = 15,
	KEYD_TAG_STATE = 16,
	KEYD_TAG_RECEIPT = 17,
	KEYD_TAG_ERROR = 18,
	KEYD_TAG_DESCRIPTOR = 19,
	KEYD_TAG_COUNT = 20,
};

/* FLAGS, a 32-bit number */
#define KEYD_RELEASE_START  1u /* this release starts a guest */
#define KEYD_SEAL_FOR_GUEST 1u /* the key comes out for a measured guest only */

/** Opens every message. `length_bytes` counts what follows the header. */
struct keyd_header {
	uint32_t magic;
	uint16_t version;
	uint16_t call;
	uint32_t error; /* 0 in calls; errno value in answers */
	uint32_t length_bytes;
};

static_assert(sizeof(struct keyd_header) == 16, "keyd header is 16 bytes on the wire");

/** Opens every field; `length_bytes` of value follow, no padding. */
struct keyd_field {
	uint16_t tag;
	uint16_t reserved; /* zero */
	uint32_t length_bytes;
};

static_assert(sizeof(struct keyd_field) == 8, "keyd field header is 8 bytes on the wire");

#endif
