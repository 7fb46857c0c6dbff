/*
 * A vault without a TPM: counters, record and the sealing key lie in files. Everything works as
 * with a TPM, and nothing of it binds whoever can copy the disk, so all it reports is called
 * advisory.
 */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "durable_file.h"
#include "vault_backend.h"

/* freshness: this structure and its BLAKE2b under the sealing key, so that a torn or edited file is
 * noticed. */
struct freshness {
	struct vault_counters counters;
	struct vault_record record;
};

struct freshness_file {
	struct freshness content;
	unsigned char check[32];
};

struct sealing_file {
	unsigned char salt[crypto_pwhash_SALTBYTES];
	unsigned char key[32]; /* zeros when a passphrase makes the key */
};

struct file_backend {
	struct vault_backend base;
	char directory[PATH_MAX - 32];
	unsigned char key[32];
	char error[256];
};

static struct file_backend *of(struct vault_backend *backend)
{
	return (struct file_backend *)backend;
}

static void path_of(const struct file_backend *self, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", self->directory, name);
}

static int fail(struct file_backend *self, int result, const char *what)
{
	snprintf(self->error, sizeof(self->error), "%.150s/%s: %s", self->directory, what,
		 strerror(-result));
	return result;
}

static void make_check(const struct file_backend *self, const struct freshness *content,
		       unsigned char check[32])
{
	crypto_generichash(check, 32, (const unsigned char *)content, sizeof(*content), self->key,
			   sizeof(self->key));
}

static int load(struct file_backend *self, struct freshness *content)
{
	struct freshness_file *file = NULL;
	unsigned char check[32];
	char path[PATH_MAX];
	size_t size;
	int result;

	path_of(self, "freshness", path);
	result = durable_file_read(path, sizeof(*file), (unsigned char **)&file, &size);
	if (result == 0 && size != sizeof(*file))
		result = -EBADMSG;
	if (result == 0) {
		make_check(self, &file->content, check);
		if (sodium_memcmp(check, file->check, sizeof(check)) != 0)
			result = -EBADMSG;
		*content = file->content;
	}
	free(file);
	return result == 0 ? 0 : fail(self, result, "freshness");
}

static int save(struct file_backend *self, const struct freshness *content)
{
	struct freshness_file file = {.content = *content};
	char path[PATH_MAX];
	int result;

	make_check(self, content, file.check);
	path_of(self, "freshness", path);
	result = durable_file_write(path, &file, sizeof(file), 0600);
	return result == 0 ? 0 : fail(self, result, "freshness");
}

static int prepare(struct vault_backend *backend)
{
	const struct freshness first = {.counters = {1, 1, 1}};
	struct freshness content;
	int result = load(of(backend), &content);

	return result == -ENOENT ? save(of(backend), &first) : result;
}

static int counters(struct vault_backend *backend, struct vault_counters *out)
{
	struct freshness content;
	int result = load(of(backend), &content);

	if (result == 0)
		*out = content.counters;
	return result;
}

static int charge(struct vault_backend *backend, enum vault_counter counter)
{
	struct freshness content;
	int result = load(of(backend), &content);

	if (result != 0)
		return result;
	if (counter == VAULT_COUNTER_STARTS)
		content.counters.starts++;
	else
		content.counters.powered++;
	return save(of(backend), &content);
}

static int record_read(struct vault_backend *backend, struct vault_record *record)
{
	struct freshness content;
	int result = load(of(backend), &content);

	if (result == 0)
		*record = content.record;
	return result;
}

static int record_write(struct vault_backend *backend, const struct vault_record *record)
{
	struct freshness content;
	int result = load(of(backend), &content);

	if (result != 0)
		return result;
	content.record = *record;
	return save(of(backend), &content);
}

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG   crypto_aead_xchacha20poly1305_ietf_ABYTES

static int seal(struct vault_backend *backend, uint64_t epoch, const struct vault_bounds *bounds,
		const unsigned char secret[VAULT_SECRET_BYTES], struct tpm_blob *blob)
{
	randombytes_buf(blob->bytes, NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(
	    blob->bytes + NONCE, NULL, secret, VAULT_SECRET_BYTES, (const unsigned char *)&epoch,
	    sizeof(epoch), NULL, blob->bytes, of(backend)->key);
	blob->size_bytes = NONCE + VAULT_SECRET_BYTES + TAG;
	return 0;
}

static int unseal(struct vault_backend *backend, uint64_t epoch, const struct vault_bounds *bounds,
		  const struct tpm_blob *blob, unsigned char secret[VAULT_SECRET_BYTES])
{
	struct file_backend *self = of(backend);
	struct vault_counters now;
	int result = counters(backend, &now);

	if (result != 0)
		return result;
	if (now.epoch != epoch) {
		snprintf(self->error, sizeof(self->error), "the vault was wiped");
		return -EKEYREVOKED;
	}
	if (bounds && (now.starts > bounds->starts_max || now.powered > bounds->powered_max)) {
		snprintf(self->error, sizeof(self->error), "the lease is used up");
		return -EKEYEXPIRED;
	}
	if (blob->size_bytes != NONCE + VAULT_SECRET_BYTES + TAG ||
	    crypto_aead_xchacha20poly1305_ietf_decrypt(
		secret, NULL, NULL, blob->bytes + NONCE, VAULT_SECRET_BYTES + TAG,
		(const unsigned char *)&epoch, sizeof(epoch), blob->bytes, self->key) != 0) {
		snprintf(self->error, sizeof(self->error),
			 "the vault's key does not open (another passphrase or machine)");
		return -EKEYREJECTED;
	}
	return 0;
}

/** A file vault's receipt says what was done and that nothing proves it. */
static int wipe(struct vault_backend *backend, const unsigned char order_digest[TPM_DIGEST_BYTES],
		unsigned char *receipt, size_t capacity_bytes, size_t *receipt_size_bytes)
{
	char digest[2 * TPM_DIGEST_BYTES + 1];
	struct freshness content;
	int result = load(of(backend), &content), size;

	if (result == 0) {
		content.counters.epoch++;
		result = save(of(backend), &content);
	}
	if (result != 0)
		return result;
	sodium_bin2hex(digest, sizeof(digest), order_digest, TPM_DIGEST_BYTES);
	size = snprintf((char *)receipt, capacity_bytes, "advisory: no TPM; epoch %llu; order %s",
			(unsigned long long)content.counters.epoch, digest);
	if (size < 0 || (size_t)size >= capacity_bytes)
		return -EMSGSIZE;
	*receipt_size_bytes = (size_t)size;
	return 0;
}

static int attestation_key(struct vault_backend *backend, unsigned char key[TPM_PUBLIC_KEY_BYTES])
{
	return -EOPNOTSUPP;
}

static const char *error_text(const struct vault_backend *backend)
{
	return ((const struct file_backend *)backend)->error;
}

static void close_backend(struct vault_backend *backend)
{
	sodium_memzero(of(backend)->key, sizeof(of(backend)->key));
	free(backend);
}

static const struct vault_backend_ops file_ops = {
    .kind = "file",
    .enforced = false,
    .prepare = prepare,
    .counters = counters,
    .charge = charge,
    .record_read = record_read,
    .record_write = record_write,
    .seal = seal,
    .unseal = unseal,
    .wipe = wipe,
    .attestation_key = attestation_key,
    .error = error_text,
    .close = close_backend,
};

/** The sealing key: from the passphrase and the file's salt, or the file's own random one. */
static int find_key(struct file_backend *self, const char *passphrase)
{
	struct sealing_file fresh = {0}, *file = NULL;
	char path[PATH_MAX];
	size_t size;
	int result;

	path_of(self, "sealing", path);
	result = durable_file_read(path, sizeof(*file), (unsigned char **)&file, &size);
	if (result == -ENOENT) {
		randombytes_buf(fresh.salt, sizeof(fresh.salt));
		if (!passphrase)
			randombytes_buf(fresh.key, sizeof(fresh.key));
		result = durable_file_write(path, &fresh, sizeof(fresh), 0600);
	} else if (result == 0 && size == sizeof(*file)) {
		fresh = *file;
	} else if (result == 0) {
		result = -EBADMSG;
	}
	free(file);
	if (result == 0 && passphrase &&
	    crypto_pwhash(self->key, sizeof(self->key), passphrase, strlen(passphrase), fresh.salt,
			  crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE,
			  crypto_pwhash_ALG_ARGON2ID13) != 0)
		result = -ENOMEM;
	if (result == 0 && !passphrase) {
		if (sodium_is_zero(fresh.key, sizeof(fresh.key)))
			result = -ENOKEY;
		memcpy(self->key, fresh.key, sizeof(self->key));
	}
	sodium_memzero(&fresh, sizeof(fresh));
	return result;
}

int vault_file_open(const char *directory, const char *passphrase, struct vault_backend **backend,
		    char *error, size_t error_size)
{
	struct file_backend *self = calloc(1, sizeof(*self));
	int result = -ENAMETOOLONG;

	*backend = NULL;
	if (!self)
		return -ENOMEM;
	self->base.ops = &file_ops;
	if (snprintf(self->directory, sizeof(self->directory), "%s", directory) <
	    (int)sizeof(self->directory))
		result = durable_file_make_directory(directory, 0700);
	if (result == 0)
		result = find_key(self, passphrase);
	if (result != 0) {
		snprintf(error, error_size, "%s: %s", directory,
			 result == -ENOKEY ? "this vault needs its passphrase (--passphrase-file)"
					   : strerror(-result));
		close_backend(&self->base);
		return result;
	}
	*backend = &self->base;
	return 0;
}
