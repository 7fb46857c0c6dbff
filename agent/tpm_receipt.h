/**
 * The receipt of a wipe, and its check far from the PC. In one audited session the TPM raised the
 * vault's epoch, on whose old value every sealed key of the vault depends, and read it back; it
 * then signed the digest of those commands and answers together with the SHA-256 of the order. That
 * proves this slot, not that no plain key was copied before.
 *
 * Pure functions over bytes. Source: TPM 2.0 Library part 1, 31 (audit), part 2, 10.12
 * (attestation).
 */
#ifndef AGENT_TPM_RECEIPT_H
#define AGENT_TPM_RECEIPT_H

#include "tpm_rules.h"

#define TPM_ATTEST_MAX_BYTES  512
#define TPM_RECEIPT_MAX_BYTES 1024

struct tpm_receipt {
	uint32_t epoch_index;
	uint64_t epoch_value; /* after the wipe */
	unsigned char order_digest[TPM_DIGEST_BYTES];
	unsigned char attestation_key[TPM_PUBLIC_KEY_BYTES];
	unsigned char signature[TPM_SIGNATURE_BYTES];
	unsigned char attest[TPM_ATTEST_MAX_BYTES];
	size_t attest_size_bytes;
};

/** Writes a receipt's bytes. Returns their number or -EMSGSIZE. */
long tpm_receipt_encode(const struct tpm_receipt *receipt, unsigned char *bytes,
			size_t capacity_bytes);

/** Reads a receipt's bytes. Returns 0 or -EBADMSG. Proves nothing yet. */
int tpm_receipt_decode(const unsigned char *bytes, size_t size_bytes, struct tpm_receipt *receipt);

/** Digest of the audited session "raise the epoch at `epoch_index`, read it: now `epoch_value`". */
void tpm_receipt_session_digest(uint32_t epoch_index, uint64_t epoch_value,
				unsigned char digest[TPM_DIGEST_BYTES]);

/**
 * Checks a receipt against what is known from enrolment: the device's attestation key and the
 * vault's base index and epoch, and the SHA-256 of the order's exact bytes. `why` gets one sentence
 * on failure. Returns 0 or -EKEYREJECTED.
 */
int tpm_receipt_check(const struct tpm_receipt *receipt,
		      const unsigned char attestation_key[TPM_PUBLIC_KEY_BYTES],
		      uint32_t base_index, uint64_t epoch_before,
		      const unsigned char order_digest[TPM_DIGEST_BYTES], const char **why);

#endif
