/*
 * recovery.h: sealing a disk's key so that only the officers of recovery, all of them together, can
 * open it.
 *
 * Sealed boxes (X25519, XSalsa20-Poly1305) one inside the other, the first key innermost: the last
 * officer opens the outer box, passes the rest on, and nobody alone sees the key. The private
 * halves stay offline.
 */
#ifndef TRUST_RECOVERY_H
#define TRUST_RECOVERY_H

#include <stddef.h>
#include <stdint.h>

#define RECOVERY_SECRET_MAX  256
#define RECOVERY_LAYERS_MAX  4
#define RECOVERY_LAYER_BYTES 48
#define RECOVERY_SEALED_MAX  (RECOVERY_SECRET_MAX + RECOVERY_LAYERS_MAX * RECOVERY_LAYER_BYTES)

/** Makes an officer's pair of keys. */
void recovery_generate(uint8_t public_half[32], uint8_t secret_half[32]);

/**
 * Seals @secret to all of @keys.
 *
 * @sealed: RECOVERY_SEALED_MAX bytes; @sealed_bytes receives secret_bytes + key_count *
 * RECOVERY_LAYER_BYTES.
 *
 * Returns 0 or -EINVAL (no key, too many, too long).
 */
int recovery_seal(const uint8_t *secret, size_t secret_bytes, const uint8_t (*keys)[32],
		  size_t key_count, uint8_t *sealed, size_t *sealed_bytes);

/**
 * Opens the outermost layer with one officer's pair.
 *
 * @opened: sealed_bytes - RECOVERY_LAYER_BYTES bytes; may not overlap @sealed.
 *
 * Returns 0, -EINVAL (too short) or -EKEYREJECTED (not sealed to this key, or changed).
 */
int recovery_open_layer(const uint8_t *sealed, size_t sealed_bytes, const uint8_t public_half[32],
			const uint8_t secret_half[32], uint8_t *opened);

#endif
