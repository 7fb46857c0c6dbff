/* What a TPM would compute, computed without one: see tpm_rules.h. */
#include "tpm_rules.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <string.h>

#define CC_POLICY_AUTHORIZE 0x0000016au
#define CC_POLICY_NV	    0x00000149u
#define CC_POLICY_PCR	    0x0000017fu
#define ALGORITHM_SHA256    0x000bu

/** A growing byte string for hashing; capacity covers the longest use below. */
struct bytes {
	unsigned char data[512];
	size_t size;
};

static void add(struct bytes *bytes, const void *data, size_t size)
{
	if (size > 0)
		memcpy(bytes->data + bytes->size, data, size);
	bytes->size += size;
}

static void add_number(struct bytes *bytes, uint64_t value, unsigned int width_bytes)
{
	for (unsigned int i = 0; i < width_bytes; i++)
		bytes->data[bytes->size++] = (unsigned char)(value >> (8 * (width_bytes - 1 - i)));
}

static void hash(const struct bytes *bytes, unsigned char digest[TPM_DIGEST_BYTES])
{
	SHA256(bytes->data, bytes->size, digest);
}

static void make_name(const struct bytes *public_area, unsigned char name[TPM_NAME_BYTES])
{
	name[0] = ALGORITHM_SHA256 >> 8;
	name[1] = ALGORITHM_SHA256 & 0xff;
	hash(public_area, name + 2);
}

void tpm_rules_verifier_name(const unsigned char key[TPM_PUBLIC_KEY_BYTES],
			     unsigned char name[TPM_NAME_BYTES])
{
	struct bytes area = {.size = 0};

	/* TPMT_PUBLIC: ECC, SHA-256, userWithAuth and sign, no policy, no symmetric, ECDSA-SHA256,
	 * P-256, no KDF. */
	add_number(&area, 0x0023, 2);
	add_number(&area, ALGORITHM_SHA256, 2);
	add_number(&area, 0x00040040, 4);
	add_number(&area, 0, 2);
	add_number(&area, 0x0010, 2);
	add_number(&area, 0x0018, 2);
	add_number(&area, ALGORITHM_SHA256, 2);
	add_number(&area, 0x0003, 2);
	add_number(&area, 0x0010, 2);
	add_number(&area, TPM_POINT_BYTES, 2);
	add(&area, key, TPM_POINT_BYTES);
	add_number(&area, TPM_POINT_BYTES, 2);
	add(&area, key + TPM_POINT_BYTES, TPM_POINT_BYTES);
	make_name(&area, name);
}

void tpm_rules_counter_name(uint32_t index, unsigned char name[TPM_NAME_BYTES])
{
	struct bytes area = {.size = 0};

	/* TPMS_NV_PUBLIC; attributes as tpm_nv.c defines a counter, plus "written" (bit 29). */
	add_number(&area, index, 4);
	add_number(&area, ALGORITHM_SHA256, 2);
	add_number(&area, 0x02060016u | 1u << 29, 4);
	add_number(&area, 0, 2);
	add_number(&area, 8, 2);
	make_name(&area, name);
}

void tpm_rules_policy_pcr(struct tpm_policy *policy, const unsigned char pcr4[TPM_DIGEST_BYTES],
			  const unsigned char pcr7[TPM_DIGEST_BYTES])
{
	static const unsigned char selection[] = {0, 0, 0, 1, 0, 0x0b, 3, 0x90, 0, 0};
	unsigned char values[2 * TPM_DIGEST_BYTES], digest[TPM_DIGEST_BYTES];
	struct bytes bytes = {.size = 0};

	memcpy(values, pcr4, TPM_DIGEST_BYTES);
	memcpy(values + TPM_DIGEST_BYTES, pcr7, TPM_DIGEST_BYTES);
	SHA256(values, sizeof(values), digest);
	add(&bytes, policy->digest, TPM_DIGEST_BYTES);
	add_number(&bytes, CC_POLICY_PCR, 4);
	add(&bytes, selection, sizeof(selection));
	add(&bytes, digest, TPM_DIGEST_BYTES);
	hash(&bytes, policy->digest);
}

void tpm_rules_policy_authorize(struct tpm_policy *policy, const unsigned char name[TPM_NAME_BYTES],
				const char *reference)
{
	struct bytes bytes = {.size = 0};

	/* TPM2_PolicyAuthorize starts from zeros, whatever was approved. */
	memset(policy->digest, 0, TPM_DIGEST_BYTES);
	add(&bytes, policy->digest, TPM_DIGEST_BYTES);
	add_number(&bytes, CC_POLICY_AUTHORIZE, 4);
	add(&bytes, name, TPM_NAME_BYTES);
	hash(&bytes, policy->digest);
	bytes.size = 0;
	add(&bytes, policy->digest, TPM_DIGEST_BYTES);
	add(&bytes, reference, strlen(reference));
	hash(&bytes, policy->digest);
}

void tpm_rules_policy_nv(struct tpm_policy *policy, const unsigned char name[TPM_NAME_BYTES],
			 uint64_t value, enum tpm_compare compare)
{
	unsigned char arguments[TPM_DIGEST_BYTES];
	struct bytes bytes = {.size = 0};

	add_number(&bytes, value, 8);
	add_number(&bytes, 0, 2);
	add_number(&bytes, compare, 2);
	hash(&bytes, arguments);
	bytes.size = 0;
	add(&bytes, policy->digest, TPM_DIGEST_BYTES);
	add_number(&bytes, CC_POLICY_NV, 4);
	add(&bytes, arguments, TPM_DIGEST_BYTES);
	add(&bytes, name, TPM_NAME_BYTES);
	hash(&bytes, policy->digest);
}

void tpm_rules_approval_digest(const struct tpm_policy *policy, const char *reference,
			       unsigned char digest[TPM_DIGEST_BYTES])
{
	struct bytes bytes = {.size = 0};

	add(&bytes, policy->digest, TPM_DIGEST_BYTES);
	add(&bytes, reference, strlen(reference));
	hash(&bytes, digest);
}

static EVP_PKEY *read_pem(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = NULL;
	char group[32] = "";

	if (!bio)
		return NULL;
	if (strstr(pem, "PRIVATE KEY"))
		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	else
		key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	BIO_free(bio);
	if (key && (!EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) ||
		    strcmp(group, "prime256v1") != 0)) {
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

/** Splits a DER signature into r and s of 32 bytes each. */
static int split_signature(const unsigned char *der, size_t der_size,
			   unsigned char signature[TPM_SIGNATURE_BYTES])
{
	ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &der, (long)der_size);
	int result = -EIO;

	if (parsed &&
	    BN_bn2binpad(ECDSA_SIG_get0_r(parsed), signature, TPM_POINT_BYTES) == TPM_POINT_BYTES &&
	    BN_bn2binpad(ECDSA_SIG_get0_s(parsed), signature + TPM_POINT_BYTES, TPM_POINT_BYTES) ==
		TPM_POINT_BYTES)
		result = 0;
	ECDSA_SIG_free(parsed);
	return result;
}

int tpm_rules_approve(const char *private_key_pem, const struct tpm_policy *policy,
		      const char *reference, unsigned char signature[TPM_SIGNATURE_BYTES])
{
	unsigned char digest[TPM_DIGEST_BYTES], der[128];
	size_t der_size = sizeof(der);
	EVP_PKEY *key = read_pem(private_key_pem);
	EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	int result = key ? -EIO : -EINVAL;

	tpm_rules_approval_digest(policy, reference, digest);
	if (context && EVP_PKEY_sign_init(context) > 0 &&
	    EVP_PKEY_sign(context, der, &der_size, digest, sizeof(digest)) > 0)
		result = split_signature(der, der_size, signature);
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(key);
	return result;
}

int tpm_rules_public_key(const char *pem, unsigned char key[TPM_PUBLIC_KEY_BYTES])
{
	EVP_PKEY *parsed = read_pem(pem);
	BIGNUM *x = NULL, *y = NULL;
	int result = -EINVAL;

	if (parsed && EVP_PKEY_get_bn_param(parsed, OSSL_PKEY_PARAM_EC_PUB_X, &x) &&
	    EVP_PKEY_get_bn_param(parsed, OSSL_PKEY_PARAM_EC_PUB_Y, &y) &&
	    BN_bn2binpad(x, key, TPM_POINT_BYTES) == TPM_POINT_BYTES &&
	    BN_bn2binpad(y, key + TPM_POINT_BYTES, TPM_POINT_BYTES) == TPM_POINT_BYTES)
		result = 0;
	BN_free(x);
	BN_free(y);
	EVP_PKEY_free(parsed);
	return result;
}

static EVP_PKEY *key_from_point(const unsigned char key[TPM_PUBLIC_KEY_BYTES])
{
	unsigned char point[1 + TPM_PUBLIC_KEY_BYTES] = {4};
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM *parameters = NULL;
	EVP_PKEY *result = NULL;

	memcpy(point + 1, key, TPM_PUBLIC_KEY_BYTES);
	if (builder &&
	    OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
	    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
					     sizeof(point)))
		parameters = OSSL_PARAM_BLD_to_param(builder);
	if (parameters && context && EVP_PKEY_fromdata_init(context) > 0 &&
	    EVP_PKEY_fromdata(context, &result, EVP_PKEY_PUBLIC_KEY, parameters) <= 0)
		result = NULL;
	OSSL_PARAM_free(parameters);
	OSSL_PARAM_BLD_free(builder);
	EVP_PKEY_CTX_free(context);
	return result;
}

bool tpm_rules_signature_holds(const unsigned char key[TPM_PUBLIC_KEY_BYTES],
			       const unsigned char digest[TPM_DIGEST_BYTES],
			       const unsigned char signature[TPM_SIGNATURE_BYTES])
{
	EVP_PKEY *verifier = key_from_point(key);
	EVP_PKEY_CTX *context = verifier ? EVP_PKEY_CTX_new(verifier, NULL) : NULL;
	ECDSA_SIG *parts = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(signature, TPM_POINT_BYTES, NULL);
	BIGNUM *s = BN_bin2bn(signature + TPM_POINT_BYTES, TPM_POINT_BYTES, NULL);
	unsigned char *der = NULL;
	bool holds = false;
	int der_size;

	if (context && parts && r && s && ECDSA_SIG_set0(parts, r, s)) {
		r = s = NULL; /* owned by parts now */
		der_size = i2d_ECDSA_SIG(parts, &der);
		holds =
		    der_size > 0 && EVP_PKEY_verify_init(context) > 0 &&
		    EVP_PKEY_verify(context, der, (size_t)der_size, digest, TPM_DIGEST_BYTES) == 1;
	}
	OPENSSL_free(der);
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(parts);
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(verifier);
	return holds;
}

void tpm_rules_audit_extend(unsigned char digest[TPM_DIGEST_BYTES], uint32_t code,
			    const unsigned char *names, size_t names_size_bytes,
			    const unsigned char *parameters, size_t parameters_size_bytes,
			    const unsigned char *answer, size_t answer_size_bytes)
{
	unsigned char command_digest[TPM_DIGEST_BYTES], answer_digest[TPM_DIGEST_BYTES];
	struct bytes bytes = {.size = 0};

	add_number(&bytes, code, 4);
	add(&bytes, names, names_size_bytes);
	add(&bytes, parameters, parameters_size_bytes);
	hash(&bytes, command_digest);
	bytes.size = 0;
	add_number(&bytes, 0, 4);
	add_number(&bytes, code, 4);
	add(&bytes, answer, answer_size_bytes);
	hash(&bytes, answer_digest);
	bytes.size = 0;
	add(&bytes, digest, TPM_DIGEST_BYTES);
	add(&bytes, command_digest, TPM_DIGEST_BYTES);
	add(&bytes, answer_digest, TPM_DIGEST_BYTES);
	hash(&bytes, digest);
}
