/**
 * Where a vault's secret and its freshness live. Two kinds: a TPM, which enforces (vault_tpm.c),
 * and a file, which can only advise, because whoever copies the disk copies it too (vault_file.c).
 * What a vault promises is written once, in vault.c, over this interface.
 */
#ifndef AGENT_VAULT_BACKEND_H
#define AGENT_VAULT_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tpm.h"

#define VAULT_SECRET_BYTES 32

/** What must never go back; lives in the TPM's non-volatile memory. Times are Unix seconds. */
struct vault_record {
	uint64_t highest_time;	  /* newest signed time ever seen */
	uint64_t lease_serial;	  /* of the lease in force, 0: never had one */
	uint64_t accepted_starts; /* counters when that lease was accepted */
	uint64_t accepted_powered;
	uint64_t order_sequence; /* of the newest order obeyed */
	uint64_t state_serial;	 /* of the newest signed state, and what it says the device is: */
	uint64_t state_status;	 /* enum state_status; anything but active locks */
	unsigned char
	    roles_digest[32]; /* SHA-256 of the root of trust in force, zeros: not bound yet */
};

struct vault_counters {
	uint64_t epoch;	  /* keys sealed under another value are dead */
	uint64_t starts;  /* guests started, charged before the key comes out */
	uint64_t powered; /* units of VAULT_POWERED_UNIT_SECONDS, charged before they pass */
};

#define VAULT_POWERED_UNIT_SECONDS 600

enum vault_counter { VAULT_COUNTER_STARTS, VAULT_COUNTER_POWERED };

/** Counter values up to which a sealed secret opens. */
struct vault_bounds {
	uint64_t starts_max, powered_max;
};

struct vault_backend;

/** All return 0 or negative errno with text behind error(). */
struct vault_backend_ops {
	const char *kind; /* "tpm" or "file" */
	bool enforced;
	/** Makes counters and record if they are not there; harmless otherwise. */
	int (*prepare)(struct vault_backend *backend);
	int (*counters)(struct vault_backend *backend, struct vault_counters *counters);
	int (*charge)(struct vault_backend *backend, enum vault_counter counter);
	int (*record_read)(struct vault_backend *backend, struct vault_record *record);
	int (*record_write)(struct vault_backend *backend, const struct vault_record *record);
	/** Seals so that it opens only at `epoch` and, unless NULL, within `bounds`. */
	int (*seal)(struct vault_backend *backend, uint64_t epoch,
		    const struct vault_bounds *bounds,
		    const unsigned char secret[VAULT_SECRET_BYTES], struct tpm_blob *blob);
	/** -EKEYEXPIRED when bounds or platform refuse, -EKEYREVOKED when the epoch is another. */
	int (*unseal)(struct vault_backend *backend, uint64_t epoch,
		      const struct vault_bounds *bounds, const struct tpm_blob *blob,
		      unsigned char secret[VAULT_SECRET_BYTES]);
	/** Raises the epoch. `receipt` gets its bytes: the TPM's signed statement, or an unsigned
	 * "advisory" one. */
	int (*wipe)(struct vault_backend *backend,
		    const unsigned char order_digest[TPM_DIGEST_BYTES], unsigned char *receipt,
		    size_t capacity_bytes, size_t *receipt_size_bytes);
	/** Public attestation key for enrolment; -EOPNOTSUPP for a file. */
	int (*attestation_key)(struct vault_backend *backend,
			       unsigned char key[TPM_PUBLIC_KEY_BYTES]);
	const char *(*error)(const struct vault_backend *backend);
	void (*close)(struct vault_backend *backend);
};

struct vault_backend {
	const struct vault_backend_ops *ops;
	uint32_t base_index; /* first NV index of a TPM vault; 0 otherwise */
};

/** Settings of the TPM kind. Strings and the key stay the caller's and must outlive the backend. */
struct vault_tpm_config {
	const char *tcti;
	uint32_t base_index;
	const unsigned char *platform_key; /* P-256 point or NULL */
	const char *approvals_directory;   /* files of policy (32 bytes) and signature (64 bytes);
					      with platform_key */
};

/** Opens a TPM vault's backend. -ENODEV without a TPM; `error` gets one line. */
int vault_tpm_open(const struct vault_tpm_config *config, struct vault_backend **backend,
		   char *error, size_t error_size);

/**
 * Opens a file vault's backend in `directory`. The key that closes it comes from `passphrase`
 * (Argon2id) or, when that is NULL, from a random file beside it that only this machine's disk
 * holds.
 */
int vault_file_open(const char *directory, const char *passphrase, struct vault_backend **backend,
		    char *error, size_t error_size);

#endif
