/* Counters and data in the TPM's non-volatile memory, and the audited wipe: see tpm.h. */
#include <errno.h>
#include <string.h>

#include "tpm_private.h"

/* AUTHREAD, AUTHWRITE, OWNERREAD, OWNERWRITE, NO_DA; for counters the type counter too. */
#define DATA_ATTRIBUTES	   (1u << 25 | 1u << 18 | 1u << 17 | 1u << 2 | 1u << 1)
#define COUNTER_ATTRIBUTES (DATA_ATTRIBUTES | TPM2_NT_COUNTER << 4)

int tpm_nv_handle(struct tpm *tpm, uint32_t index, ESYS_TR *handle)
{
	TSS2_RC rc;

	TPM_ASK(rc, Esys_TR_FromTPMPublic(tpm->esys, index, ESYS_TR_NONE, ESYS_TR_NONE,
					  ESYS_TR_NONE, handle));
	return tpm_result(tpm, rc, "looking up an index");
}

static int define(struct tpm *tpm, uint32_t index, uint32_t attributes, size_t size)
{
	const TPM2B_AUTH no_password = {.size = 0};
	const TPM2B_NV_PUBLIC public = {.nvPublic = {.nvIndex = index,
						     .nameAlg = TPM2_ALG_SHA256,
						     .attributes = attributes,
						     .dataSize = (UINT16)size}};
	ESYS_TR handle = ESYS_TR_NONE;
	TSS2_RC rc;

	TPM_ASK(rc, Esys_NV_DefineSpace(tpm->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
					ESYS_TR_NONE, &no_password, &public, &handle));
	if (rc == TSS2_RC_SUCCESS)
		Esys_TR_Close(tpm->esys, &handle);
	return tpm_result(tpm, rc, "defining an index");
}

int tpm_nv_define_counter(struct tpm *tpm, uint32_t index)
{
	return define(tpm, index, COUNTER_ATTRIBUTES, 8);
}

int tpm_nv_define_data(struct tpm *tpm, uint32_t index, size_t size)
{
	return define(tpm, index, DATA_ATTRIBUTES, size);
}

int tpm_nv_undefine(struct tpm *tpm, uint32_t index)
{
	ESYS_TR handle = ESYS_TR_NONE;
	int result = tpm_nv_handle(tpm, index, &handle);
	TSS2_RC rc;

	if (result != 0)
		return result;
	TPM_ASK(rc, Esys_NV_UndefineSpace(tpm->esys, ESYS_TR_RH_OWNER, handle, ESYS_TR_PASSWORD,
					  ESYS_TR_NONE, ESYS_TR_NONE));
	if (rc != TSS2_RC_SUCCESS)
		Esys_TR_Close(tpm->esys, &handle);
	return tpm_result(tpm, rc, "removing an index");
}

static int read_handle(struct tpm *tpm, ESYS_TR handle, ESYS_TR audit, unsigned char *bytes,
		       size_t size)
{
	TPM2B_MAX_NV_BUFFER *data = NULL;
	TSS2_RC rc;
	int result;

	TPM_ASK(rc, Esys_NV_Read(tpm->esys, handle, handle, ESYS_TR_PASSWORD, audit, ESYS_TR_NONE,
				 (UINT16)size, 0, &data));
	result = tpm_result(tpm, rc, "reading an index");
	if (result == 0 && data->size != size)
		result = -EIO;
	if (result == 0)
		memcpy(bytes, data->buffer, size);
	Esys_Free(data);
	return result;
}

int tpm_nv_read(struct tpm *tpm, uint32_t index, unsigned char *bytes, size_t size)
{
	ESYS_TR handle = ESYS_TR_NONE;
	int result = tpm_nv_handle(tpm, index, &handle);

	if (result != 0)
		return result;
	result = read_handle(tpm, handle, ESYS_TR_NONE, bytes, size);
	Esys_TR_Close(tpm->esys, &handle);
	return result;
}

int tpm_nv_write(struct tpm *tpm, uint32_t index, const unsigned char *bytes, size_t size)
{
	ESYS_TR handle = ESYS_TR_NONE;
	int result = tpm_nv_handle(tpm, index, &handle);
	TPM2B_MAX_NV_BUFFER data = {.size = (UINT16)size};
	TSS2_RC rc;

	if (result != 0)
		return result;
	if (size > sizeof(data.buffer))
		result = -EMSGSIZE;
	if (result == 0) {
		memcpy(data.buffer, bytes, size);
		TPM_ASK(rc, Esys_NV_Write(tpm->esys, handle, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE,
					  ESYS_TR_NONE, &data, 0));
		result = tpm_result(tpm, rc, "writing an index");
	}
	Esys_TR_Close(tpm->esys, &handle);
	return result;
}

static uint64_t number(const unsigned char bytes[8])
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | bytes[i];
	return value;
}

int tpm_nv_read_counter(struct tpm *tpm, uint32_t index, uint64_t *value)
{
	unsigned char bytes[8];
	int result = tpm_nv_read(tpm, index, bytes, sizeof(bytes));

	if (result == 0)
		*value = number(bytes);
	return result;
}

static int increment_handle(struct tpm *tpm, ESYS_TR handle, ESYS_TR audit)
{
	TSS2_RC rc;

	TPM_ASK(rc, Esys_NV_Increment(tpm->esys, handle, handle, ESYS_TR_PASSWORD, audit,
				      ESYS_TR_NONE));
	return tpm_result(tpm, rc, "raising a counter");
}

int tpm_nv_increment(struct tpm *tpm, uint32_t index)
{
	ESYS_TR handle = ESYS_TR_NONE;
	int result = tpm_nv_handle(tpm, index, &handle);

	if (result != 0)
		return result;
	result = increment_handle(tpm, handle, ESYS_TR_NONE);
	Esys_TR_Close(tpm->esys, &handle);
	return result;
}

/** An unsalted session that does nothing but keep the digest of what passes through it. */
static int start_audit(struct tpm *tpm, ESYS_TR *session)
{
	const TPMT_SYM_DEF no_cipher = {.algorithm = TPM2_ALG_NULL};
	TSS2_RC rc;

	TPM_ASK(rc, Esys_StartAuthSession(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
					  ESYS_TR_NONE, ESYS_TR_NONE, NULL, TPM2_SE_HMAC,
					  &no_cipher, TPM2_ALG_SHA256, session));
	if (rc == TSS2_RC_SUCCESS)
		rc = Esys_TRSess_SetAttributes(
		    tpm->esys, *session, TPMA_SESSION_AUDIT | TPMA_SESSION_CONTINUESESSION, 0xff);
	return tpm_result(tpm, rc, "starting an audited session");
}

static int sign_audit(struct tpm *tpm, ESYS_TR session, struct tpm_receipt *receipt)
{
	const TPMT_SIG_SCHEME of_the_key = {.scheme = TPM2_ALG_NULL};
	TPM2B_DATA order = {.size = TPM_DIGEST_BYTES};
	TPM2B_ATTEST *attest = NULL;
	TPMT_SIGNATURE *signature = NULL;
	ESYS_TR key = ESYS_TR_NONE;
	TSS2_RC rc;
	int result = tpm_load_attestation_key(tpm, &key, receipt->attestation_key);

	if (result != 0)
		return result;
	memcpy(order.buffer, receipt->order_digest, TPM_DIGEST_BYTES);
	TPM_ASK(rc, Esys_GetSessionAuditDigest(tpm->esys, ESYS_TR_RH_ENDORSEMENT, key, session,
					       ESYS_TR_PASSWORD, ESYS_TR_PASSWORD, ESYS_TR_NONE,
					       &order, &of_the_key, &attest, &signature));
	result = tpm_result(tpm, rc, "signing the receipt");
	if (result == 0 && attest->size <= TPM_ATTEST_MAX_BYTES) {
		const TPMS_SIGNATURE_ECC *parts = &signature->signature.ecdsa;

		memcpy(receipt->attest, attest->attestationData, attest->size);
		receipt->attest_size_bytes = attest->size;
		memset(receipt->signature, 0, TPM_SIGNATURE_BYTES);
		memcpy(receipt->signature + TPM_POINT_BYTES - parts->signatureR.size,
		       parts->signatureR.buffer, parts->signatureR.size);
		memcpy(receipt->signature + TPM_SIGNATURE_BYTES - parts->signatureS.size,
		       parts->signatureS.buffer, parts->signatureS.size);
	}
	Esys_Free(attest);
	Esys_Free(signature);
	tpm_flush(tpm, &key);
	return result;
}

int tpm_wipe(struct tpm *tpm, uint32_t base_index,
	     const unsigned char order_digest[TPM_DIGEST_BYTES], struct tpm_receipt *receipt)
{
	unsigned char value[8];
	ESYS_TR session = ESYS_TR_NONE, epoch = ESYS_TR_NONE;
	int result = tpm_nv_handle(tpm, base_index + TPM_VAULT_EPOCH, &epoch);

	memset(receipt, 0, sizeof(*receipt));
	if (result != 0)
		return result;
	receipt->epoch_index = base_index + TPM_VAULT_EPOCH;
	memcpy(receipt->order_digest, order_digest, TPM_DIGEST_BYTES);
	result = start_audit(tpm, &session);
	if (result == 0)
		result = increment_handle(tpm, epoch, session);
	if (result == 0)
		result = read_handle(tpm, epoch, session, value, sizeof(value));
	if (result == 0) {
		receipt->epoch_value = number(value);
		result = sign_audit(tpm, session, receipt);
	}
	tpm_flush(tpm, &session);
	Esys_TR_Close(tpm->esys, &epoch);
	return result;
}
