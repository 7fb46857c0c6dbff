/**
 * The few things bulkhead-keyd asks of a TPM 2.0, over the Enhanced System API. Everything is noDA
 * and authorised by policy, so that no power cut and no wrong guess can lock the owner out; every
 * session and transient object is flushed on every path (a TPM has room for three of each); a TPM
 * that answers "retry" is asked again.
 *
 * Functions return 0 or negative errno; tpm_error() then holds one line for a person. -ENOENT: no
 * such index or blob. -EKEYEXPIRED: a policy (platform, lease, epoch) refused. -EIO: anything else
 * the TPM said.
 */
#ifndef AGENT_TPM_H
#define AGENT_TPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tpm_receipt.h"

struct tpm;

/** A sealed object as stored: TPM2B_PRIVATE then TPM2B_PUBLIC. */
struct tpm_blob {
	unsigned char bytes[1024];
	size_t size_bytes;
};

/** One policy that the platform's release key approved: which PCR 4 and 7 values belong together.
 */
struct tpm_approval {
	struct tpm_policy policy;
	unsigned char signature[TPM_SIGNATURE_BYTES];
};

/** What must hold before a sealed key comes out; absent parts are skipped. */
struct tpm_conditions {
	uint32_t base_index;
	uint64_t epoch;			      /* the vault's epoch is this */
	bool bounded;			      /* and, if set: */
	uint64_t starts_max, powered_max;     /* the counters are at most these */
	const unsigned char *platform_key;    /* and, unless NULL: this key approved what booted */
	const struct tpm_approval *approvals; /* tried in turn; not part of the policy */
	size_t approval_count;
};

/**
 * Opens the TPM that `tcti` names ("device:/dev/tpmrm0", "swtpm:path=..."); starts it up if nobody
 * has. Returns 0, -ENODEV when there is none, other errors as above with text in `error`.
 */
int tpm_open(const char *tcti, struct tpm **tpm, char *error, size_t error_size);

void tpm_close(struct tpm *tpm);

/** The last failure's one line. */
const char *tpm_error(const struct tpm *tpm);

/** Digest of the policy that `conditions` describe, for sealing: computed, not asked. */
void tpm_policy_digest(const struct tpm_conditions *conditions,
		       unsigned char digest[TPM_DIGEST_BYTES]);

/** Seals `secret` under the storage root key so that only `conditions` bring it back. */
int tpm_seal(struct tpm *tpm, const unsigned char policy[TPM_DIGEST_BYTES],
	     const unsigned char *secret, size_t secret_size, struct tpm_blob *blob);

/** Brings a sealed secret of `secret_size` bytes back. -EKEYEXPIRED when a condition does not hold.
 */
int tpm_unseal(struct tpm *tpm, const struct tpm_conditions *conditions,
	       const struct tpm_blob *blob, unsigned char *secret, size_t secret_size);

/** Public point of this TPM's attestation key: the same after restarts and even after TPM2_Clear.
 */
int tpm_attestation_key(struct tpm *tpm, unsigned char key[TPM_PUBLIC_KEY_BYTES]);

/** Defines a counter; -EEXIST if there is one. A new counter starts above every value ever deleted.
 */
int tpm_nv_define_counter(struct tpm *tpm, uint32_t index);

/** Defines an index for `size` bytes of data; -EEXIST if there is one. */
int tpm_nv_define_data(struct tpm *tpm, uint32_t index, size_t size);

int tpm_nv_undefine(struct tpm *tpm, uint32_t index);
int tpm_nv_read(struct tpm *tpm, uint32_t index, unsigned char *bytes, size_t size);
int tpm_nv_write(struct tpm *tpm, uint32_t index, const unsigned char *bytes, size_t size);
int tpm_nv_read_counter(struct tpm *tpm, uint32_t index, uint64_t *value);
int tpm_nv_increment(struct tpm *tpm, uint32_t index);

/** Raises the epoch in an audited session and has the TPM sign that, with `order_digest` inside. */
int tpm_wipe(struct tpm *tpm, uint32_t base_index,
	     const unsigned char order_digest[TPM_DIGEST_BYTES], struct tpm_receipt *receipt);

#endif
