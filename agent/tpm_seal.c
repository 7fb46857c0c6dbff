/*
 * Sealing and unsealing under a policy of up to three parts: the platform's release key approved
 * what PCR 4 and 7 hold, the lease's counters are within its bounds, and the vault's epoch is still
 * the one sealed for. The TPM itself compares, so neither a turned clock nor a restored disk nor
 * other software on the same PC gets past them.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "tpm_private.h"

static const TPML_PCR_SELECTION pcrs_4_and_7 = {
    .count = 1,
    .pcrSelections = {{.hash = TPM2_ALG_SHA256, .sizeofSelect = 3, .pcrSelect = {0x90, 0, 0}}}};

void tpm_policy_digest(const struct tpm_conditions *conditions,
		       unsigned char digest[TPM_DIGEST_BYTES])
{
	struct tpm_policy policy = {.digest = {0}};
	unsigned char name[TPM_NAME_BYTES];

	/* The platform comes first: PolicyAuthorize forgets what came before it. */
	if (conditions->platform_key) {
		tpm_rules_verifier_name(conditions->platform_key, name);
		tpm_rules_policy_authorize(&policy, name, TPM_REFERENCE_PLATFORM);
	}
	if (conditions->bounded) {
		tpm_rules_counter_name(conditions->base_index + TPM_VAULT_STARTS, name);
		tpm_rules_policy_nv(&policy, name, conditions->starts_max, TPM_COMPARE_AT_MOST);
		tpm_rules_counter_name(conditions->base_index + TPM_VAULT_POWERED, name);
		tpm_rules_policy_nv(&policy, name, conditions->powered_max, TPM_COMPARE_AT_MOST);
	}
	tpm_rules_counter_name(conditions->base_index + TPM_VAULT_EPOCH, name);
	tpm_rules_policy_nv(&policy, name, conditions->epoch, TPM_COMPARE_EQUAL);
	memcpy(digest, policy.digest, TPM_DIGEST_BYTES);
}

static int load_storage_root(struct tpm *tpm, ESYS_TR *handle)
{
	/* fixedTPM, fixedParent, origin, userWithAuth, noDA, restricted, decrypt. */
	const TPM2B_PUBLIC template = {
	    .publicArea = {.type = TPM2_ALG_ECC,
			   .nameAlg = TPM2_ALG_SHA256,
			   .objectAttributes = 0x00030472,
			   .parameters.eccDetail = {.symmetric = {.algorithm = TPM2_ALG_AES,
								  .keyBits.aes = 128,
								  .mode.aes = TPM2_ALG_CFB},
						    .scheme.scheme = TPM2_ALG_NULL,
						    .curveID = TPM2_ECC_NIST_P256,
						    .kdf.scheme = TPM2_ALG_NULL}}};
	const TPM2B_SENSITIVE_CREATE sensitive = {.size = 0};
	const TPM2B_DATA outside = {.size = 0};
	const TPML_PCR_SELECTION no_pcrs = {.count = 0};
	TSS2_RC rc;

	TPM_ASK(rc, Esys_CreatePrimary(tpm->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
				       ESYS_TR_NONE, &sensitive, &template, &outside, &no_pcrs,
				       handle, NULL, NULL, NULL, NULL));
	return tpm_result(tpm, rc, "making the storage root key");
}

int tpm_seal(struct tpm *tpm, const unsigned char policy[TPM_DIGEST_BYTES],
	     const unsigned char *secret, size_t secret_size, struct tpm_blob *blob)
{
	/* noDA, adminWithPolicy; userWithAuth clear: the policy is the only way in. */
	TPM2B_PUBLIC template = {
	    .publicArea = {.type = TPM2_ALG_KEYEDHASH,
			   .nameAlg = TPM2_ALG_SHA256,
			   .objectAttributes = 0x00000492,
			   .authPolicy.size = TPM_DIGEST_BYTES,
			   .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL}};
	TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = (UINT16)secret_size};
	const TPM2B_DATA outside = {.size = 0};
	const TPML_PCR_SELECTION no_pcrs = {.count = 0};
	TPM2B_PRIVATE *private = NULL;
	TPM2B_PUBLIC *public = NULL;
	ESYS_TR root = ESYS_TR_NONE;
	TSS2_RC rc;
	int result;

	if (secret_size > sizeof(sensitive.sensitive.data.buffer))
		return -EMSGSIZE;
	memcpy(template.publicArea.authPolicy.buffer, policy, TPM_DIGEST_BYTES);
	memcpy(sensitive.sensitive.data.buffer, secret, secret_size);
	result = load_storage_root(tpm, &root);
	if (result == 0) {
		TPM_ASK(rc, Esys_Create(tpm->esys, root, ESYS_TR_PASSWORD, ESYS_TR_NONE,
					ESYS_TR_NONE, &sensitive, &template, &outside, &no_pcrs,
					&private, &public, NULL, NULL, NULL));
		result = tpm_result(tpm, rc, "sealing the vault's key");
	}
	blob->size_bytes = 0;
	if (result == 0 && (Tss2_MU_TPM2B_PRIVATE_Marshal(private, blob->bytes, sizeof(blob->bytes),
							  &blob->size_bytes) != 0 ||
			    Tss2_MU_TPM2B_PUBLIC_Marshal(public, blob->bytes, sizeof(blob->bytes),
							 &blob->size_bytes) != 0))
		result = -EMSGSIZE;
	OPENSSL_cleanse(&sensitive, sizeof(sensitive));
	Esys_Free(private);
	Esys_Free(public);
	tpm_flush(tpm, &root);
	return result;
}

/** Has the TPM check that `key` signed `policy`, then replaces the session's policy by "approved by
 * that key". */
static int authorize(struct tpm *tpm, ESYS_TR session, const unsigned char *key,
		     const struct tpm_policy *policy, const char *reference,
		     const unsigned char *signature)
{
	TPM2B_PUBLIC public = {
	    .publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = 0x00040040,
		.parameters.eccDetail = {.symmetric.algorithm = TPM2_ALG_NULL,
					 .scheme = {.scheme = TPM2_ALG_ECDSA,
						    .details.ecdsa.hashAlg = TPM2_ALG_SHA256},
					 .curveID = TPM2_ECC_NIST_P256,
					 .kdf.scheme = TPM2_ALG_NULL},
		.unique.ecc = {.x.size = TPM_POINT_BYTES, .y.size = TPM_POINT_BYTES}}};
	TPMT_SIGNATURE parts = {.sigAlg = TPM2_ALG_ECDSA,
				.signature.ecdsa = {.hash = TPM2_ALG_SHA256,
						    .signatureR.size = TPM_POINT_BYTES,
						    .signatureS.size = TPM_POINT_BYTES}};
	TPM2B_DIGEST approved = {.size = TPM_DIGEST_BYTES}, digest = {.size = TPM_DIGEST_BYTES};
	TPM2B_NONCE text = {.size = (UINT16)strlen(reference)};
	TPM2B_NAME name = {.size = TPM_NAME_BYTES};
	TPMT_TK_VERIFIED *ticket = NULL;
	ESYS_TR verifier = ESYS_TR_NONE;
	TSS2_RC rc;

	memcpy(public.publicArea.unique.ecc.x.buffer, key, TPM_POINT_BYTES);
	memcpy(public.publicArea.unique.ecc.y.buffer, key + TPM_POINT_BYTES, TPM_POINT_BYTES);
	memcpy(parts.signature.ecdsa.signatureR.buffer, signature, TPM_POINT_BYTES);
	memcpy(parts.signature.ecdsa.signatureS.buffer, signature + TPM_POINT_BYTES,
	       TPM_POINT_BYTES);
	memcpy(approved.buffer, policy->digest, TPM_DIGEST_BYTES);
	memcpy(text.buffer, reference, text.size);
	tpm_rules_verifier_name(key, name.name);
	tpm_rules_approval_digest(policy, reference, digest.buffer);
	/* Loaded under the owner: a ticket of the NULL hierarchy would be worthless. */
	TPM_ASK(rc, Esys_LoadExternal(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, NULL,
				      &public, ESYS_TR_RH_OWNER, &verifier));
	if (rc == TSS2_RC_SUCCESS)
		TPM_ASK(rc, Esys_VerifySignature(tpm->esys, verifier, ESYS_TR_NONE, ESYS_TR_NONE,
						 ESYS_TR_NONE, &digest, &parts, &ticket));
	tpm_flush(tpm, &verifier);
	if (rc == TSS2_RC_SUCCESS)
		TPM_ASK(rc, Esys_PolicyAuthorize(tpm->esys, session, ESYS_TR_NONE, ESYS_TR_NONE,
						 ESYS_TR_NONE, &approved, &text, &name, ticket));
	Esys_Free(ticket);
	return tpm_result(tpm, rc, reference);
}

static int compare_counter(struct tpm *tpm, ESYS_TR session, uint32_t index, uint64_t value,
			   enum tpm_compare compare, const char *what)
{
	TPM2B_OPERAND operand = {.size = 8};
	ESYS_TR handle = ESYS_TR_NONE;
	TSS2_RC rc;
	int result = tpm_nv_handle(tpm, index, &handle);

	if (result != 0)
		return result;
	for (int i = 0; i < 8; i++)
		operand.buffer[i] = (unsigned char)(value >> (56 - 8 * i));
	TPM_ASK(rc, Esys_PolicyNV(tpm->esys, handle, handle, session, ESYS_TR_PASSWORD,
				  ESYS_TR_NONE, ESYS_TR_NONE, &operand, 0, compare));
	Esys_TR_Close(tpm->esys, &handle);
	return tpm_result(tpm, rc, what);
}

/** Walks the session through the stages with `approval` as the platform's. */
static int satisfy(struct tpm *tpm, ESYS_TR session, const struct tpm_conditions *conditions,
		   const struct tpm_approval *approval)
{
	TPM2B_DIGEST of_the_pcrs = {.size = 0};
	uint32_t base_index = conditions->base_index;
	TSS2_RC rc;
	int result = 0;

	if (approval) {
		TPM_ASK(rc, Esys_PolicyPCR(tpm->esys, session, ESYS_TR_NONE, ESYS_TR_NONE,
					   ESYS_TR_NONE, &of_the_pcrs, &pcrs_4_and_7));
		result = tpm_result(tpm, rc, "reading what has booted");
		if (result == 0)
			result =
			    authorize(tpm, session, conditions->platform_key, &approval->policy,
				      TPM_REFERENCE_PLATFORM, approval->signature);
	}
	if (result == 0 && conditions->bounded)
		result = compare_counter(tpm, session, base_index + TPM_VAULT_STARTS,
					 conditions->starts_max, TPM_COMPARE_AT_MOST,
					 "the lease's starts are used up");
	if (result == 0 && conditions->bounded)
		result = compare_counter(tpm, session, base_index + TPM_VAULT_POWERED,
					 conditions->powered_max, TPM_COMPARE_AT_MOST,
					 "the lease's powered time is used up");
	if (result == 0)
		result =
		    compare_counter(tpm, session, base_index + TPM_VAULT_EPOCH, conditions->epoch,
				    TPM_COMPARE_EQUAL, "the vault was wiped");
	return result;
}

static int unseal_once(struct tpm *tpm, const struct tpm_conditions *conditions,
		       const struct tpm_approval *approval, ESYS_TR object, unsigned char *secret,
		       size_t secret_size)
{
	const TPMT_SYM_DEF no_cipher = {.algorithm = TPM2_ALG_NULL};
	TPM2B_SENSITIVE_DATA *data = NULL;
	ESYS_TR session = ESYS_TR_NONE;
	TSS2_RC rc;
	int result;

	TPM_ASK(rc, Esys_StartAuthSession(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
					  ESYS_TR_NONE, ESYS_TR_NONE, NULL, TPM2_SE_POLICY,
					  &no_cipher, TPM2_ALG_SHA256, &session));
	result = tpm_result(tpm, rc, "starting a policy session");
	if (result == 0)
		result = satisfy(tpm, session, conditions, approval);
	if (result == 0) {
		TPM_ASK(rc,
			Esys_Unseal(tpm->esys, object, session, ESYS_TR_NONE, ESYS_TR_NONE, &data));
		result = tpm_result(tpm, rc, "unsealing the vault's key");
	}
	if (result == 0 && data->size != secret_size)
		result = -EIO;
	if (result == 0)
		memcpy(secret, data->buffer, secret_size);
	if (data)
		OPENSSL_cleanse(data->buffer, data->size);
	Esys_Free(data);
	tpm_flush(tpm, &session);
	return result;
}

int tpm_unseal(struct tpm *tpm, const struct tpm_conditions *conditions,
	       const struct tpm_blob *blob, unsigned char *secret, size_t secret_size)
{
	TPM2B_PRIVATE private = {.size = 0};
	TPM2B_PUBLIC public = {.size = 0};
	ESYS_TR root = ESYS_TR_NONE, object = ESYS_TR_NONE;
	size_t at = 0;
	TSS2_RC rc;
	int result;

	if (Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob->bytes, blob->size_bytes, &at, &private) != 0 ||
	    Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob->bytes, blob->size_bytes, &at, &public) != 0 ||
	    at != blob->size_bytes)
		return -EBADMSG;
	result = load_storage_root(tpm, &root);
	if (result == 0) {
		TPM_ASK(rc, Esys_Load(tpm->esys, root, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
				      &private, &public, &object));
		result = tpm_result(tpm, rc, "loading the vault's key");
	}
	tpm_flush(tpm, &root);
	if (result == 0 && !conditions->platform_key)
		result = unseal_once(tpm, conditions, NULL, object, secret, secret_size);
	else if (result == 0 && conditions->approval_count == 0)
		result = -EKEYEXPIRED;
	else if (result == 0)
		for (size_t i = 0; i < conditions->approval_count; i++) {
			result = unseal_once(tpm, conditions, &conditions->approvals[i], object,
					     secret, secret_size);
			if (result != -EKEYEXPIRED)
				break;
		}
	tpm_flush(tpm, &object);
	return result;
}
