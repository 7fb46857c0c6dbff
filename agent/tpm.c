/* The connection to a TPM, its primary keys, and errors in words: see tpm.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "tpm_private.h"

#define RETRIES_MAX 100u

bool tpm_wants_retry(TSS2_RC rc, unsigned int *tries)
{
	if ((rc & 0xffff0000u) != 0 && (rc & 0xffff0000u) != TSS2_RESMGR_TPM_RC_LAYER)
		return false;
	rc &= 0xffffu;
	return (rc == TPM2_RC_RETRY || rc == TPM2_RC_TESTING || rc == TPM2_RC_YIELDED) &&
	       ++*tries < RETRIES_MAX;
}

/** Codes that mean something to callers, without parameter, handle or session number (part
 * 2, 6.6.3). */
static int errno_of(TSS2_RC rc)
{
	TSS2_RC format_one = rc & 0xbfu; /* bit 7 and the error number of a format-one code */

	if (!(rc & 0x80u)) {
		if (rc == TPM2_RC_NV_DEFINED)
			return -EEXIST;
		if (rc == TPM2_RC_NV_UNINITIALIZED)
			return -ENODATA;
		/* TPM_RC_POLICY: a PolicyNV comparison that does not hold. */
		return rc == TPM2_RC_POLICY ? -EKEYEXPIRED : -EIO;
	}
	if (format_one == TPM2_RC_HANDLE)
		return -ENOENT;
	if (format_one == TPM2_RC_POLICY_FAIL || format_one == TPM2_RC_VALUE ||
	    format_one == TPM2_RC_SIGNATURE)
		return -EKEYEXPIRED;
	return format_one == TPM2_RC_INTEGRITY ? -EKEYREVOKED : -EIO;
}

int tpm_result(struct tpm *tpm, TSS2_RC rc, const char *what)
{
	if (rc == TSS2_RC_SUCCESS)
		return 0;
	snprintf(tpm->error, sizeof(tpm->error), "TPM: %s: %s (0x%x)", what, Tss2_RC_Decode(rc),
		 rc);
	if ((rc & 0xffff0000u) != 0 && (rc & 0xffff0000u) != TSS2_RESMGR_TPM_RC_LAYER)
		return -EIO;
	return errno_of(rc & 0xfffu);
}

const char *tpm_error(const struct tpm *tpm)
{
	return tpm->error;
}

int tpm_open(const char *tcti, struct tpm **tpm, char *error, size_t error_size)
{
	struct tpm *new = calloc(1, sizeof(*new));
	TSS2_RC rc;

	*tpm = NULL;
	if (!new)
		return -ENOMEM;
	/* The library would write to stderr; its answers are put into words here. */
	setenv("TSS2_LOG", "all+none", 0);
	rc = Tss2_TctiLdr_Initialize(tcti, &new->transport);
	if (rc == TSS2_RC_SUCCESS)
		rc = Esys_Initialize(&new->esys, new->transport, NULL);
	if (rc != TSS2_RC_SUCCESS) {
		snprintf(error, error_size, "no TPM answers at '%s' (%s)", tcti,
			 Tss2_RC_Decode(rc));
		tpm_close(new);
		return -ENODEV;
	}
	TPM_ASK(rc, Esys_Startup(new->esys, TPM2_SU_CLEAR));
	if (rc != TSS2_RC_SUCCESS && rc != TPM2_RC_INITIALIZE) {
		snprintf(error, error_size, "the TPM at '%s' does not start (%s)", tcti,
			 Tss2_RC_Decode(rc));
		tpm_close(new);
		return -EIO;
	}
	*tpm = new;
	return 0;
}

void tpm_close(struct tpm *tpm)
{
	if (!tpm)
		return;
	Esys_Finalize(&tpm->esys);
	Tss2_TctiLdr_Finalize(&tpm->transport);
	free(tpm);
}

void tpm_flush(struct tpm *tpm, ESYS_TR *handle)
{
	if (*handle != ESYS_TR_NONE)
		Esys_FlushContext(tpm->esys, *handle);
	*handle = ESYS_TR_NONE;
}

int tpm_load_attestation_key(struct tpm *tpm, ESYS_TR *handle,
			     unsigned char key[TPM_PUBLIC_KEY_BYTES])
{
	/* fixedTPM, fixedParent, origin, userWithAuth, noDA, restricted, sign: the same key for
	 * ever. */
	const TPM2B_PUBLIC template = {
	    .publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = 0x00050472,
		.parameters.eccDetail = {
		    .symmetric.algorithm = TPM2_ALG_NULL,
		    .scheme = {.scheme = TPM2_ALG_ECDSA, .details.ecdsa.hashAlg = TPM2_ALG_SHA256},
		    .curveID = TPM2_ECC_NIST_P256,
		    .kdf.scheme = TPM2_ALG_NULL}}};
	const TPM2B_SENSITIVE_CREATE sensitive = {.size = 0};
	const TPM2B_DATA outside = {.size = 0};
	const TPML_PCR_SELECTION no_pcrs = {.count = 0};
	TPM2B_PUBLIC *public = NULL;
	TSS2_RC rc;

	TPM_ASK(rc, Esys_CreatePrimary(tpm->esys, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD,
				       ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &template, &outside,
				       &no_pcrs, handle, &public, NULL, NULL, NULL));
	if (rc != TSS2_RC_SUCCESS)
		return tpm_result(tpm, rc, "making the attestation key");
	if (key) {
		const TPMS_ECC_POINT *point = &public->publicArea.unique.ecc;

		memset(key, 0, TPM_PUBLIC_KEY_BYTES);
		memcpy(key + TPM_POINT_BYTES - point->x.size, point->x.buffer, point->x.size);
		memcpy(key + TPM_PUBLIC_KEY_BYTES - point->y.size, point->y.buffer, point->y.size);
	}
	Esys_Free(public);
	return 0;
}

int tpm_attestation_key(struct tpm *tpm, unsigned char key[TPM_PUBLIC_KEY_BYTES])
{
	ESYS_TR handle = ESYS_TR_NONE;
	int result = tpm_load_attestation_key(tpm, &handle, key);

	tpm_flush(tpm, &handle);
	return result;
}
