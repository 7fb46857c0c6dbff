/** Shared by tpm.c, tpm_nv.c and tpm_seal.c only. */
#ifndef AGENT_TPM_PRIVATE_H
#define AGENT_TPM_PRIVATE_H

#include <tss2/tss2_esys.h>

#include "tpm.h"

struct tpm {
	TSS2_TCTI_CONTEXT *transport;
	ESYS_CONTEXT *esys;
	char error[256];
};

/** "Retry", "testing", "yielded": the TPM has done nothing yet and wants to be asked again. */
bool tpm_wants_retry(TSS2_RC rc, unsigned int *tries);

/** Asks again for as long as the TPM says so, a bounded number of times. */
#define TPM_ASK(rc, call)                                                                          \
	do {                                                                                       \
		unsigned int tries_ = 0;                                                           \
		do                                                                                 \
			(rc) = (call);                                                             \
		while (tpm_wants_retry((rc), &tries_));                                            \
	} while (0)

/** Remembers one line about `rc` and turns it into errno; 0 stays 0. `what` names what was being
 * done. */
int tpm_result(struct tpm *tpm, TSS2_RC rc, const char *what);

/** Flushes a session or transient object and forgets the handle; ESYS_TR_NONE is fine. */
void tpm_flush(struct tpm *tpm, ESYS_TR *handle);

/** The attestation key, as a transient object the caller flushes. `key` may be NULL. */
int tpm_load_attestation_key(struct tpm *tpm, ESYS_TR *handle,
			     unsigned char key[TPM_PUBLIC_KEY_BYTES]);

/** An index's handle; close with Esys_TR_Close. */
int tpm_nv_handle(struct tpm *tpm, uint32_t index, ESYS_TR *handle);

#endif
