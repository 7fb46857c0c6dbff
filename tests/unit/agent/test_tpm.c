/* What the TPM itself refuses, whatever software on the PC says; against an emulated TPM. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"
#include "vault_backend.h"

#define BASE 0x01801000

static struct emulated_tpm chip;
static const unsigned char secret[VAULT_SECRET_BYTES] = "what only this TPM may bring up";

static struct vault_backend *open_backend(const unsigned char *platform_key, const char *approvals)
{
	struct vault_tpm_config config = {chip.tcti, BASE, platform_key, approvals};
	struct vault_backend *backend;
	char error[256];

	if (vault_tpm_open(&config, &backend, error, sizeof(error)) != 0)
		fail_msg("%s", error);
	assert_int_equal(backend->ops->prepare(backend), 0);
	return backend;
}

static int start_chip(void **state)
{
	fixture_tpm_start(&chip);
	return 0;
}

static int stop_chip(void **state)
{
	fixture_tpm_remove(&chip);
	return 0;
}

static void secret_opens_within_bounds_and_not_beyond(void **state)
{
	struct vault_backend *backend = open_backend(NULL, NULL);
	struct vault_bounds bounds, wider;
	unsigned char out[VAULT_SECRET_BYTES];
	struct vault_counters counters;
	struct tpm_blob blob;

	assert_int_equal(backend->ops->counters(backend, &counters), 0);
	bounds = (struct vault_bounds){counters.starts + 1, counters.powered + 1};
	wider = (struct vault_bounds){counters.starts + 100, counters.powered + 100};
	assert_int_equal(backend->ops->seal(backend, counters.epoch, &bounds, secret, &blob), 0);
	assert_int_equal(backend->ops->charge(backend, VAULT_COUNTER_STARTS), 0);
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, &bounds, &blob, out), 0);
	assert_memory_equal(out, secret, sizeof(secret));
	/* Claiming wider bounds makes another policy, not a wider one. */
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, &wider, &blob, out),
			 -EKEYEXPIRED);
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, NULL, &blob, out),
			 -EKEYEXPIRED);
	assert_int_equal(backend->ops->charge(backend, VAULT_COUNTER_STARTS), 0);
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, &bounds, &blob, out),
			 -EKEYEXPIRED);
	backend->ops->close(backend);
}

static void counters_redefined_start_above_what_was_deleted(void **state)
{
	struct vault_backend *backend = open_backend(NULL, NULL);
	struct vault_counters before, after;
	char error[256];
	struct tpm *tpm;

	assert_int_equal(backend->ops->charge(backend, VAULT_COUNTER_STARTS), 0);
	assert_int_equal(backend->ops->counters(backend, &before), 0);
	backend->ops->close(backend);
	assert_int_equal(tpm_open(chip.tcti, &tpm, error, sizeof(error)), 0);
	assert_int_equal(tpm_nv_undefine(tpm, BASE + TPM_VAULT_STARTS), 0);
	tpm_close(tpm);
	backend = open_backend(NULL, NULL);
	assert_int_equal(backend->ops->counters(backend, &after), 0);
	assert_true(after.starts > before.starts);
	backend->ops->close(backend);
}

static void refusals_leave_no_session_behind(void **state)
{
	struct vault_backend *backend = open_backend(NULL, NULL);
	const struct vault_bounds none = {0, 0};
	unsigned char out[VAULT_SECRET_BYTES];
	struct vault_counters counters;
	struct tpm_blob blob, never;

	assert_int_equal(backend->ops->counters(backend, &counters), 0);
	assert_int_equal(backend->ops->seal(backend, counters.epoch, NULL, secret, &blob), 0);
	assert_int_equal(backend->ops->seal(backend, counters.epoch, &none, secret, &never), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(backend->ops->unseal(backend, counters.epoch, &none, &never, out),
				 -EKEYEXPIRED);
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, NULL, &blob, out), 0);
	backend->ops->close(backend);
}

/** A P-256 key pair as PEM and as point. */
static char *release_key(unsigned char point[TPM_PUBLIC_KEY_BYTES])
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *pem;
	long size;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	size = BIO_get_mem_data(bio, &data);
	pem = strndup(data, (size_t)size);
	assert_int_equal(tpm_rules_public_key(pem, point), 0);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return pem;
}

/** Approves a platform whose PCR 4 and 7 hold these values. */
static void approve(const char *pem, const char *directory, const char *name,
		    const unsigned char pcr4[32], const unsigned char pcr7[32])
{
	struct tpm_policy policy = {.digest = {0}};
	unsigned char signature[TPM_SIGNATURE_BYTES];
	char path[128];
	FILE *file;

	tpm_rules_policy_pcr(&policy, pcr4, pcr7);
	assert_int_equal(tpm_rules_approve(pem, &policy, TPM_REFERENCE_PLATFORM, signature), 0);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	fwrite(policy.digest, 1, sizeof(policy.digest), file);
	fwrite(signature, 1, sizeof(signature), file);
	fclose(file);
}

static void key_comes_out_on_approved_platforms_only(void **state)
{
	unsigned char point[TPM_PUBLIC_KEY_BYTES], zeros[32] = {0}, extended[64] = {0},
						   out[VAULT_SECRET_BYTES];
	struct vault_backend *backend;
	struct vault_counters counters;
	struct tpm_blob blob;
	char directory[64], command[256];
	char *pem = release_key(point);

	fixture_directory(directory);
	approve(pem, directory, "release-1", zeros, zeros);
	backend = open_backend(point, directory);
	assert_int_equal(backend->ops->counters(backend, &counters), 0);
	assert_int_equal(backend->ops->seal(backend, counters.epoch, NULL, secret, &blob), 0);
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, NULL, &blob, out), 0);
	backend->ops->close(backend);
	/* Another program boots: PCR 4 differs. */
	snprintf(command, sizeof(command),
		 "TPM2TOOLS_TCTI=%s tpm2_pcrextend 4:sha256=%064d 2>/dev/null", chip.tcti, 1);
	assert_int_equal(system(command), 0);
	backend = open_backend(point, directory);
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, NULL, &blob, out),
			 -EKEYEXPIRED);
	/* Once its release is approved, the same blob opens: no sealing anew. */
	extended[63] = 1;
	SHA256(extended, sizeof(extended), extended);
	approve(pem, directory, "release-2", extended, zeros);
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, NULL, &blob, out), 0);
	assert_memory_equal(out, secret, sizeof(secret));
	backend->ops->close(backend);
	free(pem);
	fixture_remove(directory);
}

static void approval_of_another_key_opens_nothing(void **state)
{
	unsigned char point[TPM_PUBLIC_KEY_BYTES], other_point[TPM_PUBLIC_KEY_BYTES],
	    zeros[32] = {0};
	unsigned char out[VAULT_SECRET_BYTES];
	struct vault_backend *backend;
	struct vault_counters counters;
	struct tpm_blob blob;
	char directory[64];
	char *pem = release_key(point), *other = release_key(other_point);

	fixture_directory(directory);
	approve(other, directory, "forged", zeros, zeros);
	backend = open_backend(point, directory);
	assert_int_equal(backend->ops->counters(backend, &counters), 0);
	assert_int_equal(backend->ops->seal(backend, counters.epoch, NULL, secret, &blob), 0);
	assert_int_equal(backend->ops->unseal(backend, counters.epoch, NULL, &blob, out),
			 -EKEYEXPIRED);
	backend->ops->close(backend);
	free(pem);
	free(other);
	fixture_remove(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_chip, stop_chip)
	    TEST(secret_opens_within_bounds_and_not_beyond),
	    TEST(counters_redefined_start_above_what_was_deleted),
	    TEST(refusals_leave_no_session_behind),
	    TEST(key_comes_out_on_approved_platforms_only),
	    TEST(approval_of_another_key_opens_nothing),
	};

	return cmocka_run_group_tests_name("tpm", tests, NULL, NULL);
}
