/* hash.c: see hash.h. */
#include "store/hash.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

struct hasher {
	uint8_t block_key[32];
#ifdef HAVE_IPSEC_MB
	IMB_MGR *manager;
	uint8_t inner_pad[32] __attribute__((aligned(16)));
	uint8_t outer_pad[32] __attribute__((aligned(16)));
#endif
};

struct hasher *hasher_new_plain(const struct domain *domain)
{
	struct hasher *hasher = calloc(1, sizeof(*hasher));

	if (hasher)
		memcpy(hasher->block_key, domain->block_key, 32);
	return hasher;
}

static int run_plain(struct hasher *hasher, const uint8_t *const *blocks, size_t count,
		     uint8_t (*plains)[NAME_BYTES], uint8_t (*names)[NAME_BYTES])
{
	for (size_t i = 0; i < count; i++) {
		unsigned int bytes = NAME_BYTES;

		if (store_sha256(blocks[i], BLOCK_BYTES, plains[i]) ||
		    !HMAC(EVP_sha256(), hasher->block_key, 32, plains[i], NAME_BYTES, names[i],
			  &bytes))
			return -EIO;
	}
	return 0;
}

#ifdef HAVE_IPSEC_MB

struct hasher *hasher_new(const struct domain *domain)
{
	struct hasher *hasher = hasher_new_plain(domain);
	uint8_t pad[64];

	if (!hasher)
		return NULL;
	hasher->manager = alloc_mb_mgr(0);
	if (!hasher->manager)
		return hasher;
	init_mb_mgr_auto(hasher->manager, NULL);
	if (imb_get_errno(hasher->manager)) {
		free_mb_mgr(hasher->manager);
		hasher->manager = NULL;
		return hasher;
	}
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] = (i < 32 ? hasher->block_key[i] : 0) ^ 0x36;
	IMB_SHA256_ONE_BLOCK(hasher->manager, pad, hasher->inner_pad);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	IMB_SHA256_ONE_BLOCK(hasher->manager, pad, hasher->outer_pad);
	OPENSSL_cleanse(pad, sizeof(pad));
	return hasher;
}

void hasher_free(struct hasher *hasher)
{
	if (!hasher)
		return;
	if (hasher->manager)
		free_mb_mgr(hasher->manager);
	OPENSSL_cleanse(hasher, sizeof(*hasher));
	free(hasher);
}

/* One message of a batch: the next free job, filled and handed in. */
static void submit(struct hasher *hasher, IMB_HASH_ALG algorithm, const uint8_t *from, size_t bytes,
		   uint8_t *to)
{
	IMB_JOB *job = IMB_GET_NEXT_JOB(hasher->manager);

	memset(job, 0, sizeof(*job));
	job->cipher_mode = IMB_CIPHER_NULL;
	job->cipher_direction = IMB_DIR_ENCRYPT;
	job->chain_order = IMB_ORDER_HASH_CIPHER;
	job->hash_alg = algorithm;
	job->src = from;
	job->msg_len_to_hash_in_bytes = bytes;
	job->auth_tag_output = to;
	job->auth_tag_output_len_in_bytes = NAME_BYTES;
	job->u.HMAC._hashed_auth_key_xor_ipad = hasher->inner_pad;
	job->u.HMAC._hashed_auth_key_xor_opad = hasher->outer_pad;
	IMB_SUBMIT_JOB(hasher->manager);
}

static int finish(struct hasher *hasher)
{
	IMB_JOB *job;
	int error = imb_get_errno(hasher->manager) ? -EIO : 0;

	while ((job = IMB_FLUSH_JOB(hasher->manager)))
		if (job->status != IMB_STATUS_COMPLETED)
			error = -EIO;
	return error;
}

int hasher_run(struct hasher *hasher, const uint8_t *const *blocks, size_t count,
	       uint8_t (*plains)[NAME_BYTES], uint8_t (*names)[NAME_BYTES])
{
	int error;

	if (!hasher->manager)
		return run_plain(hasher, blocks, count, plains, names);
	for (size_t i = 0; i < count; i++)
		submit(hasher, IMB_AUTH_SHA_256, blocks[i], BLOCK_BYTES, plains[i]);
	error = finish(hasher);
	for (size_t i = 0; !error && i < count; i++)
		submit(hasher, IMB_AUTH_HMAC_SHA_256, plains[i], NAME_BYTES, names[i]);
	return error ? error : finish(hasher);
}

#else

struct hasher *hasher_new(const struct domain *domain)
{
	return hasher_new_plain(domain);
}

void hasher_free(struct hasher *hasher)
{
	if (!hasher)
		return;
	OPENSSL_cleanse(hasher, sizeof(*hasher));
	free(hasher);
}

int hasher_run(struct hasher *hasher, const uint8_t *const *blocks, size_t count,
	       uint8_t (*plains)[NAME_BYTES], uint8_t (*names)[NAME_BYTES])
{
	return run_plain(hasher, blocks, count, plains, names);
}

#endif
