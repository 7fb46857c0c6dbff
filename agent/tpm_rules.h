/**
 * What a TPM 2.0 would compute, computed without one: policy digests, names of keys and NV indices.
 * Pure functions over bytes (OpenSSL for SHA-256 and ECDSA), so that a release can approve a
 * platform and an officer can check a receipt far from the PC. Every digest here is compared with a
 * TPM's in the tests.
 *
 * Sources: TPM 2.0 Library part 1 (names: 16, policy: 19.7, audit: 31), part 2 (structures), part 3
 * (commands).
 */
#ifndef AGENT_TPM_RULES_H
#define AGENT_TPM_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TPM_DIGEST_BYTES     32
#define TPM_NAME_BYTES	     34 /* algorithm (2) and SHA-256 */
#define TPM_POINT_BYTES	     32 /* one P-256 coordinate */
#define TPM_SIGNATURE_BYTES  64 /* ECDSA P-256: r, s */
#define TPM_PUBLIC_KEY_BYTES 64 /* P-256: x, y */

/** Comparison codes of TPM2_PolicyNV (TPM_EO), unsigned only. */
enum tpm_compare {
	TPM_COMPARE_EQUAL = 0x0000,
	TPM_COMPARE_AT_MOST = 0x0009,
};

/** A policy digest under construction; starts as zeros. */
struct tpm_policy {
	unsigned char digest[TPM_DIGEST_BYTES];
};

/** Name of a P-256 ECDSA-SHA256 verification key as LoadExternal of this project loads it. `key` is
 * x then y. */
void tpm_rules_verifier_name(const unsigned char key[TPM_PUBLIC_KEY_BYTES],
			     unsigned char name[TPM_NAME_BYTES]);

/** Name of a counter index of this project that has been written. */
void tpm_rules_counter_name(uint32_t index, unsigned char name[TPM_NAME_BYTES]);

/** TPM2_PolicyPCR over the SHA-256 values of PCR 4 and PCR 7. */
void tpm_rules_policy_pcr(struct tpm_policy *policy, const unsigned char pcr4[TPM_DIGEST_BYTES],
			  const unsigned char pcr7[TPM_DIGEST_BYTES]);

/** TPM2_PolicyAuthorize by the key of that name; `reference` is a short text that both signer and
 * policy hold. */
void tpm_rules_policy_authorize(struct tpm_policy *policy, const unsigned char name[TPM_NAME_BYTES],
				const char *reference);

/** TPM2_PolicyNV: the 8-byte index of that name compares with `value` as `compare` says. */
void tpm_rules_policy_nv(struct tpm_policy *policy, const unsigned char name[TPM_NAME_BYTES],
			 uint64_t value, enum tpm_compare compare);

/** What a signer of an approved policy signs: SHA-256(policy, reference), then ECDSA over that
 * digest. */
void tpm_rules_approval_digest(const struct tpm_policy *policy, const char *reference,
			       unsigned char digest[TPM_DIGEST_BYTES]);

/**
 * Signs an approved policy with a P-256 private key in PEM.
 * Returns 0, -EINVAL if the key is none, -EIO if OpenSSL fails.
 */
int tpm_rules_approve(const char *private_key_pem, const struct tpm_policy *policy,
		      const char *reference, unsigned char signature[TPM_SIGNATURE_BYTES]);

/** Public part (x, y) of a P-256 key in PEM, private or public. Returns 0 or -EINVAL. */
int tpm_rules_public_key(const char *pem, unsigned char key[TPM_PUBLIC_KEY_BYTES]);

/** True if `signature` is `key`'s over `digest`. */
bool tpm_rules_signature_holds(const unsigned char key[TPM_PUBLIC_KEY_BYTES],
			       const unsigned char digest[TPM_DIGEST_BYTES],
			       const unsigned char signature[TPM_SIGNATURE_BYTES]);

/** The text under which the platform's release key approves what PCR 4 and 7 hold. */
#define TPM_REFERENCE_PLATFORM "bulkhead-platform"

/** A vault's indices, counted from its base index. */
enum tpm_vault_index {
	TPM_VAULT_EPOCH = 0,
	TPM_VAULT_STARTS = 1,
	TPM_VAULT_POWERED = 2,
	TPM_VAULT_RECORD = 3,
};

/** Extends an audit session's digest by one command: tables of part 1, 31.2. For the vault and for
 * its tests. */
void tpm_rules_audit_extend(unsigned char digest[TPM_DIGEST_BYTES], uint32_t code,
			    const unsigned char *names, size_t names_size_bytes,
			    const unsigned char *parameters, size_t parameters_size_bytes,
			    const unsigned char *answer, size_t answer_size_bytes);

#endif
