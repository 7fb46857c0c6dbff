/* recovery.c: see recovery.h. */
#include "trust/recovery.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

static_assert(RECOVERY_LAYER_BYTES == crypto_box_SEALBYTES, "a layer is one sealed box");

void recovery_generate(uint8_t public_half[32], uint8_t secret_half[32])
{
	crypto_box_keypair(public_half, secret_half);
}

int recovery_seal(const uint8_t *secret, size_t secret_bytes, const uint8_t (*keys)[32],
		  size_t key_count, uint8_t *sealed, size_t *sealed_bytes)
{
	uint8_t inner[RECOVERY_SEALED_MAX];
	size_t inner_bytes = secret_bytes;

	if (!key_count || key_count > RECOVERY_LAYERS_MAX || secret_bytes > RECOVERY_SECRET_MAX)
		return -EINVAL;
	memcpy(inner, secret, secret_bytes);
	for (size_t i = 0; i < key_count; i++) {
		/* Fails only for a key of low order, which nobody can hold honestly. */
		if (crypto_box_seal(sealed, inner, inner_bytes, keys[i]))
			break;
		inner_bytes += RECOVERY_LAYER_BYTES;
		memcpy(inner, sealed, inner_bytes);
	}
	sodium_memzero(inner, sizeof(inner));
	if (inner_bytes != secret_bytes + key_count * RECOVERY_LAYER_BYTES)
		return -EINVAL;
	*sealed_bytes = inner_bytes;
	return 0;
}

int recovery_open_layer(const uint8_t *sealed, size_t sealed_bytes, const uint8_t public_half[32],
			const uint8_t secret_half[32], uint8_t *opened)
{
	if (sealed_bytes < RECOVERY_LAYER_BYTES)
		return -EINVAL;
	return crypto_box_seal_open(opened, sealed, sealed_bytes, public_half, secret_half)
		   ? -EKEYREJECTED
		   : 0;
}
