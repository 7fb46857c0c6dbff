/* SPDX-License-Identifier: MIT */
/*
 * SHA-256, plain C. Section numbers are those of FIPS 180-4.
 */
#include "sha256.h"

/* Section 4.2.2. */
static const uint32_t constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned int bits)
{
	return word >> bits | word << (32 - bits);
}

void sha256_start(struct sha256 *hash)
{
	/* Section 5.3.3. */
	*hash = (struct sha256){
		.state = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
			   0x1f83d9ab, 0x5be0cd19 },
	};
}

/* Section 6.2.2. */
static void one_block(uint32_t *state, const uint8_t *block)
{
	uint32_t w[64], v[8];

	for (unsigned int t = 0; t < 16; t++)
		w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
		       (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
	for (unsigned int t = 16; t < 64; t++) {
		uint32_t a = w[t - 15], b = w[t - 2];

		w[t] = w[t - 16] + w[t - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	for (unsigned int i = 0; i < 8; i++)
		v[i] = state[i];
	for (unsigned int t = 0; t < 64; t++) {
		uint32_t a = v[0], e = v[4];
		uint32_t t1 = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
			      ((e & v[5]) ^ (~e & v[6])) + constants[t] + w[t];
		uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
			      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));

		for (unsigned int i = 7; i > 0; i--)
			v[i] = v[i - 1];
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (unsigned int i = 0; i < 8; i++)
		state[i] += v[i];
}

void sha256_blocks(struct sha256 *hash, const void *data, size_t block_count)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < block_count; i++)
		one_block(hash->state, bytes + i * SHA256_BLOCK_BYTES);
	hash->block_count += block_count;
}

void sha256_end(struct sha256 *hash, const void *data, size_t size_bytes, uint8_t *digest)
{
	uint64_t bit_count = (hash->block_count * SHA256_BLOCK_BYTES + size_bytes) * 8;
	uint8_t last[2 * SHA256_BLOCK_BYTES] = { 0 };
	/* Section 5.1.1: a one bit and eight bytes of length must fit behind the data. */
	size_t block_count = size_bytes + 9 > SHA256_BLOCK_BYTES ? 2 : 1;
	uint8_t *length = last + block_count * SHA256_BLOCK_BYTES - 8;
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size_bytes; i++)
		last[i] = bytes[i];
	last[size_bytes] = 0x80;
	for (unsigned int i = 0; i < 8; i++)
		length[i] = (uint8_t)(bit_count >> (56 - 8 * i));
	sha256_blocks(hash, last, block_count);
	for (unsigned int i = 0; i < SHA256_BYTES; i++)
		digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}
