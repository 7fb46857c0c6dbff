/*
 * A vault on a TPM: four NV indices from a base (epoch, starts, powered: plain counters; record:
 * data) and sealed blobs. Counters are plain, not orderly: an orderly one jumps at a hard stop. The
 * record is ordinary data that whoever drives the TPM can overwrite, so it stops copies of the disk
 * and turned clocks, not a hostile service domain; the counters and the sealed policy stop that one
 * too.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tpm.h"
#include "vault_backend.h"

#define APPROVALS_MAX 8
#define RECORD_FIELDS 7
#define RECORD_BYTES  (RECORD_FIELDS * 8 + 32)

struct tpm_backend {
	struct vault_backend base;
	struct vault_tpm_config config;
	struct tpm *tpm;
	char error[256];
};

static struct tpm_backend *of(struct vault_backend *backend)
{
	return (struct tpm_backend *)backend;
}

static int done(struct tpm_backend *self, int result)
{
	if (result != 0)
		snprintf(self->error, sizeof(self->error), "%s", tpm_error(self->tpm));
	return result;
}

static int read_record(struct vault_backend *backend, struct vault_record *record)
{
	struct tpm_backend *self = of(backend);
	unsigned char bytes[RECORD_BYTES];
	uint64_t fields[RECORD_FIELDS];
	int result = tpm_nv_read(self->tpm, self->config.base_index + TPM_VAULT_RECORD, bytes,
				 sizeof(bytes));

	if (result != 0)
		return done(self, result);
	memcpy(fields, bytes, sizeof(fields));
	*record = (struct vault_record){.highest_time = be64toh(fields[0]),
					.lease_serial = be64toh(fields[1]),
					.accepted_starts = be64toh(fields[2]),
					.accepted_powered = be64toh(fields[3]),
					.order_sequence = be64toh(fields[4]),
					.state_serial = be64toh(fields[5]),
					.state_status = be64toh(fields[6])};
	memcpy(record->roles_digest, bytes + sizeof(fields), sizeof(record->roles_digest));
	return 0;
}

static int write_record(struct vault_backend *backend, const struct vault_record *record)
{
	struct tpm_backend *self = of(backend);
	const uint64_t fields[RECORD_FIELDS] = {
	    htobe64(record->highest_time),    htobe64(record->lease_serial),
	    htobe64(record->accepted_starts), htobe64(record->accepted_powered),
	    htobe64(record->order_sequence),  htobe64(record->state_serial),
	    htobe64(record->state_status)};
	unsigned char bytes[RECORD_BYTES];

	memcpy(bytes, fields, sizeof(fields));
	memcpy(bytes + sizeof(fields), record->roles_digest, sizeof(record->roles_digest));
	return done(self, tpm_nv_write(self->tpm, self->config.base_index + TPM_VAULT_RECORD, bytes,
				       sizeof(bytes)));
}

/** A counter can be compared only once it was raised, so raising it belongs to making it. */
static int prepare_counter(struct tpm_backend *self, uint32_t index)
{
	uint64_t value;
	int result = tpm_nv_define_counter(self->tpm, index);

	if (result == 0 ||
	    (result == -EEXIST && tpm_nv_read_counter(self->tpm, index, &value) == -ENODATA))
		result = tpm_nv_increment(self->tpm, index);
	return result == -EEXIST ? 0 : done(self, result);
}

static int prepare(struct vault_backend *backend)
{
	struct tpm_backend *self = of(backend);
	const struct vault_record empty = {0};
	unsigned char bytes[RECORD_BYTES];
	uint32_t base_index = self->config.base_index;
	int result = 0;

	for (uint32_t i = TPM_VAULT_EPOCH; result == 0 && i <= TPM_VAULT_POWERED; i++)
		result = prepare_counter(self, base_index + i);
	if (result == 0)
		result = tpm_nv_define_data(self->tpm, base_index + TPM_VAULT_RECORD, RECORD_BYTES);
	if (result == 0 ||
	    (result == -EEXIST && tpm_nv_read(self->tpm, base_index + TPM_VAULT_RECORD, bytes,
					      sizeof(bytes)) == -ENODATA))
		result = write_record(backend, &empty);
	return result == -EEXIST ? 0 : done(self, result);
}

static int counters(struct vault_backend *backend, struct vault_counters *out)
{
	struct tpm_backend *self = of(backend);
	uint64_t *values[] = {&out->epoch, &out->starts, &out->powered};
	int result = 0;

	for (uint32_t i = 0; result == 0 && i < 3; i++)
		result = tpm_nv_read_counter(self->tpm, self->config.base_index + i, values[i]);
	return done(self, result);
}

static int charge(struct vault_backend *backend, enum vault_counter counter)
{
	struct tpm_backend *self = of(backend);
	uint32_t offset = counter == VAULT_COUNTER_STARTS ? TPM_VAULT_STARTS : TPM_VAULT_POWERED;

	return done(self, tpm_nv_increment(self->tpm, self->config.base_index + offset));
}

/** Reads up to APPROVALS_MAX approval files of exactly the right size; others are no approvals. */
static size_t read_approvals(const char *directory, struct tpm_approval approvals[APPROVALS_MAX])
{
	DIR *list = opendir(directory);
	struct dirent *entry;
	size_t count = 0;

	while (list && count < APPROVALS_MAX && (entry = readdir(list))) {
		unsigned char bytes[TPM_DIGEST_BYTES + TPM_SIGNATURE_BYTES + 1];
		int file = openat(dirfd(list), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (file < 0)
			continue;
		if (read(file, bytes, sizeof(bytes)) == TPM_DIGEST_BYTES + TPM_SIGNATURE_BYTES) {
			memcpy(approvals[count].policy.digest, bytes, TPM_DIGEST_BYTES);
			memcpy(approvals[count].signature, bytes + TPM_DIGEST_BYTES,
			       TPM_SIGNATURE_BYTES);
			count++;
		}
		close(file);
	}
	if (list)
		closedir(list);
	return count;
}

static void set_bounds(struct tpm_conditions *conditions, const struct vault_bounds *bounds)
{
	if (!bounds)
		return;
	conditions->bounded = true;
	conditions->starts_max = bounds->starts_max;
	conditions->powered_max = bounds->powered_max;
}

static int seal(struct vault_backend *backend, uint64_t epoch, const struct vault_bounds *bounds,
		const unsigned char secret[VAULT_SECRET_BYTES], struct tpm_blob *blob)
{
	struct tpm_backend *self = of(backend);
	struct tpm_conditions conditions = {.base_index = self->config.base_index,
					    .epoch = epoch,
					    .platform_key = self->config.platform_key};
	unsigned char policy[TPM_DIGEST_BYTES];

	set_bounds(&conditions, bounds);
	tpm_policy_digest(&conditions, policy);
	return done(self, tpm_seal(self->tpm, policy, secret, VAULT_SECRET_BYTES, blob));
}

static int unseal(struct vault_backend *backend, uint64_t epoch, const struct vault_bounds *bounds,
		  const struct tpm_blob *blob, unsigned char secret[VAULT_SECRET_BYTES])
{
	struct tpm_backend *self = of(backend);
	struct tpm_approval approvals[APPROVALS_MAX];
	struct tpm_conditions conditions = {.base_index = self->config.base_index,
					    .epoch = epoch,
					    .platform_key = self->config.platform_key,
					    .approvals = approvals};
	struct vault_counters now;
	int result;

	set_bounds(&conditions, bounds);
	if (self->config.platform_key && self->config.approvals_directory)
		conditions.approval_count =
		    read_approvals(self->config.approvals_directory, approvals);
	if (self->config.platform_key && conditions.approval_count == 0) {
		snprintf(self->error, sizeof(self->error), "no approved platform policy in %s",
			 self->config.approvals_directory ? self->config.approvals_directory
							  : "(no directory given)");
		return -EKEYEXPIRED;
	}
	result = counters(backend, &now);
	if (result == 0 && now.epoch != epoch) {
		snprintf(self->error, sizeof(self->error), "the vault was wiped");
		return -EKEYREVOKED;
	}
	if (result == 0)
		result = tpm_unseal(self->tpm, &conditions, blob, secret, VAULT_SECRET_BYTES);
	return done(self, result);
}

static int wipe(struct vault_backend *backend, const unsigned char order_digest[TPM_DIGEST_BYTES],
		unsigned char *receipt, size_t capacity_bytes, size_t *receipt_size_bytes)
{
	struct tpm_backend *self = of(backend);
	struct tpm_receipt signed_receipt;
	int result = tpm_wipe(self->tpm, self->config.base_index, order_digest, &signed_receipt);
	long size;

	if (result != 0)
		return done(self, result);
	size = tpm_receipt_encode(&signed_receipt, receipt, capacity_bytes);
	if (size < 0)
		return (int)size;
	*receipt_size_bytes = (size_t)size;
	return 0;
}

static int attestation_key(struct vault_backend *backend, unsigned char key[TPM_PUBLIC_KEY_BYTES])
{
	return done(of(backend), tpm_attestation_key(of(backend)->tpm, key));
}

static const char *error_text(const struct vault_backend *backend)
{
	return ((const struct tpm_backend *)backend)->error;
}

static void close_backend(struct vault_backend *backend)
{
	tpm_close(of(backend)->tpm);
	free(backend);
}

static const struct vault_backend_ops tpm_ops = {
    .kind = "tpm",
    .enforced = true,
    .prepare = prepare,
    .counters = counters,
    .charge = charge,
    .record_read = read_record,
    .record_write = write_record,
    .seal = seal,
    .unseal = unseal,
    .wipe = wipe,
    .attestation_key = attestation_key,
    .error = error_text,
    .close = close_backend,
};

int vault_tpm_open(const struct vault_tpm_config *config, struct vault_backend **backend,
		   char *error, size_t error_size)
{
	struct tpm_backend *self = calloc(1, sizeof(*self));
	int result;

	*backend = NULL;
	if (!self)
		return -ENOMEM;
	self->base.ops = &tpm_ops;
	self->base.base_index = config->base_index;
	self->config = *config;
	result = tpm_open(config->tcti, &self->tpm, error, error_size);
	if (result != 0) {
		free(self);
		return result;
	}
	*backend = &self->base;
	return 0;
}
