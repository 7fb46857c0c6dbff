/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 (FIPS 180-4) in steps of one 64-byte block, so that a hypercall can stop between blocks.
 */
#ifndef BULKHEAD_CORE_SHA256_H
#define BULKHEAD_CORE_SHA256_H

#include "types.h"

#define SHA256_BLOCK_BYTES 64u
#define SHA256_BYTES	   32u

struct sha256 {
	uint32_t state[8];
	uint64_t block_count;
};

void sha256_start(struct sha256 *hash);

/** Hashes whole blocks. About 2,000 instructions a block. */
void sha256_blocks(struct sha256 *hash, const void *data, size_t block_count);

/**
 * Hashes what is left and ends.
 * @data, @size_bytes: less than one block
 * @digest: SHA256_BYTES bytes
 */
void sha256_end(struct sha256 *hash, const void *data, size_t size_bytes, uint8_t *digest);

#endif
