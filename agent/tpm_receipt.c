/* The receipt of a wipe: see tpm_receipt.h. */
#include "tpm_receipt.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

#define CC_NV_INCREMENT	     0x00000134u
#define CC_NV_READ	     0x0000014eu
#define GENERATED	     0xff544347u
#define ATTEST_SESSION_AUDIT 0x8016u

/* A receipt on the wire: this text, the fixed fields big endian, attest size (2), attest. */
static const unsigned char magic[8] = {'B', 'H', 'W', 'I', 'P', 'E', 'D', '1'};
#define FIXED_BYTES                                                                                \
	(sizeof(magic) + 4 + 8 + TPM_DIGEST_BYTES + TPM_PUBLIC_KEY_BYTES + TPM_SIGNATURE_BYTES + 2)

static void put(unsigned char **at, uint64_t value, unsigned int width_bytes)
{
	for (unsigned int i = 0; i < width_bytes; i++)
		*(*at)++ = (unsigned char)(value >> (8 * (width_bytes - 1 - i)));
}

static void put_bytes(unsigned char **at, const void *bytes, size_t size)
{
	memcpy(*at, bytes, size);
	*at += size;
}

/** Reads big-endian fields; `short_of` is sticky, so that only the end needs checking. */
struct reader {
	const unsigned char *at;
	size_t left;
	bool short_of;
};

static const unsigned char *take(struct reader *reader, size_t size)
{
	const unsigned char *at = reader->at;

	if (reader->short_of || size > reader->left) {
		reader->short_of = true;
		return NULL;
	}
	reader->at += size;
	reader->left -= size;
	return at;
}

static uint64_t take_number(struct reader *reader, unsigned int width_bytes)
{
	const unsigned char *at = take(reader, width_bytes);
	uint64_t value = 0;

	for (unsigned int i = 0; at && i < width_bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static void take_bytes(struct reader *reader, void *bytes, size_t size)
{
	const unsigned char *at = take(reader, size);

	if (at)
		memcpy(bytes, at, size);
}

long tpm_receipt_encode(const struct tpm_receipt *receipt, unsigned char *bytes,
			size_t capacity_bytes)
{
	unsigned char *at = bytes;

	if (receipt->attest_size_bytes > TPM_ATTEST_MAX_BYTES ||
	    FIXED_BYTES + receipt->attest_size_bytes > capacity_bytes)
		return -EMSGSIZE;
	put_bytes(&at, magic, sizeof(magic));
	put(&at, receipt->epoch_index, 4);
	put(&at, receipt->epoch_value, 8);
	put_bytes(&at, receipt->order_digest, TPM_DIGEST_BYTES);
	put_bytes(&at, receipt->attestation_key, TPM_PUBLIC_KEY_BYTES);
	put_bytes(&at, receipt->signature, TPM_SIGNATURE_BYTES);
	put(&at, receipt->attest_size_bytes, 2);
	put_bytes(&at, receipt->attest, receipt->attest_size_bytes);
	return at - bytes;
}

int tpm_receipt_decode(const unsigned char *bytes, size_t size_bytes, struct tpm_receipt *receipt)
{
	struct reader reader = {bytes, size_bytes, false};
	const unsigned char *found = take(&reader, sizeof(magic));

	memset(receipt, 0, sizeof(*receipt));
	if (!found || memcmp(found, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	receipt->epoch_index = (uint32_t)take_number(&reader, 4);
	receipt->epoch_value = take_number(&reader, 8);
	take_bytes(&reader, receipt->order_digest, TPM_DIGEST_BYTES);
	take_bytes(&reader, receipt->attestation_key, TPM_PUBLIC_KEY_BYTES);
	take_bytes(&reader, receipt->signature, TPM_SIGNATURE_BYTES);
	receipt->attest_size_bytes = take_number(&reader, 2);
	if (receipt->attest_size_bytes > TPM_ATTEST_MAX_BYTES)
		return -EBADMSG;
	take_bytes(&reader, receipt->attest, receipt->attest_size_bytes);
	return reader.short_of || reader.left ? -EBADMSG : 0;
}

void tpm_receipt_session_digest(uint32_t epoch_index, uint64_t epoch_value,
				unsigned char digest[TPM_DIGEST_BYTES])
{
	static const unsigned char read_parameters[] = {0, 8, 0, 0};
	unsigned char names[2 * TPM_NAME_BYTES], answer[10], *at = answer;

	/* The index authorises itself: its name stands for both handles. */
	tpm_rules_counter_name(epoch_index, names);
	memcpy(names + TPM_NAME_BYTES, names, TPM_NAME_BYTES);
	put(&at, 8, 2);
	put(&at, epoch_value, 8);
	memset(digest, 0, TPM_DIGEST_BYTES);
	tpm_rules_audit_extend(digest, CC_NV_INCREMENT, names, sizeof(names), NULL, 0, NULL, 0);
	tpm_rules_audit_extend(digest, CC_NV_READ, names, sizeof(names), read_parameters,
			       sizeof(read_parameters), answer, sizeof(answer));
}

/** TPMS_ATTEST of a session audit: extraData and the session's digest, or -EBADMSG. */
static int parse_attest(const struct tpm_receipt *receipt, unsigned char extra[TPM_DIGEST_BYTES],
			unsigned char session[TPM_DIGEST_BYTES])
{
	struct reader reader = {receipt->attest, receipt->attest_size_bytes, false};

	if (take_number(&reader, 4) != GENERATED || take_number(&reader, 2) != ATTEST_SESSION_AUDIT)
		return -EBADMSG;
	take(&reader,
	     take_number(&reader, 2)); /* qualified signer: the signature itself is checked */
	if (take_number(&reader, 2) != TPM_DIGEST_BYTES)
		return -EBADMSG;
	take_bytes(&reader, extra, TPM_DIGEST_BYTES);
	take(&reader, 8 + 4 + 4 + 1); /* clock, resets, restarts, safe */
	take(&reader, 8);	      /* firmware version */
	take(&reader, 1);	      /* exclusive */
	if (take_number(&reader, 2) != TPM_DIGEST_BYTES)
		return -EBADMSG;
	take_bytes(&reader, session, TPM_DIGEST_BYTES);
	return reader.short_of || reader.left ? -EBADMSG : 0;
}

int tpm_receipt_check(const struct tpm_receipt *receipt,
		      const unsigned char attestation_key[TPM_PUBLIC_KEY_BYTES],
		      uint32_t base_index, uint64_t epoch_before,
		      const unsigned char order_digest[TPM_DIGEST_BYTES], const char **why)
{
	unsigned char digest[TPM_DIGEST_BYTES], extra[TPM_DIGEST_BYTES], session[TPM_DIGEST_BYTES];
	unsigned char expected[TPM_DIGEST_BYTES];

	*why = "it is signed by another TPM than the one that enrolled";
	if (memcmp(receipt->attestation_key, attestation_key, TPM_PUBLIC_KEY_BYTES) != 0)
		return -EKEYREJECTED;
	*why = "the TPM's signature does not hold";
	SHA256(receipt->attest, receipt->attest_size_bytes, digest);
	if (!tpm_rules_signature_holds(attestation_key, digest, receipt->signature))
		return -EKEYREJECTED;
	*why = "what the TPM signed is not the audit of a session";
	if (parse_attest(receipt, extra, session) != 0)
		return -EKEYREJECTED;
	*why = "it answers another order";
	if (memcmp(extra, order_digest, TPM_DIGEST_BYTES) != 0)
		return -EKEYREJECTED;
	*why = "the vault's epoch did not rise";
	if (receipt->epoch_index != base_index + TPM_VAULT_EPOCH ||
	    receipt->epoch_value <= epoch_before)
		return -EKEYREJECTED;
	*why = "the session did something else than raise the vault's epoch";
	tpm_receipt_session_digest(receipt->epoch_index, receipt->epoch_value, expected);
	if (memcmp(expected, session, TPM_DIGEST_BYTES) != 0)
		return -EKEYREJECTED;
	*why = NULL;
	return 0;
}
