/* SPDX-License-Identifier: MIT */
/*
 * SHA-512 (FIPS 180-4) in steps of one 128-byte block, so that a hypercall can stop between blocks. It is SHA-256's better
 * on a processor with 64-bit registers: a byte costs three fifths of the instructions, in general registers alone.
 */
#ifndef BULKHEAD_CORE_SHA512_H
#define BULKHEAD_CORE_SHA512_H

#include "types.h"

#define SHA512_BLOCK_BYTES 128u
#define SHA512_BYTES	   64u

struct sha512 {
	uint64_t state[8];
	uint64_t block_count;
};

void sha512_start(struct sha512 *hash);

/** Hashes whole blocks. About 3,700 instructions a block. */
void sha512_blocks(struct sha512 *hash, const void *data, size_t block_count);

/**
 * Hashes what is left and ends.
 * @data, @size_bytes: less than one block
 * @digest: the first @digest_bytes (at most SHA512_BYTES) of the digest
 */
void sha512_end(struct sha512 *hash, const void *data, size_t size_bytes, uint8_t *digest, size_t digest_bytes);

#endif
