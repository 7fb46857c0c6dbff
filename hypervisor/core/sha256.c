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

/* Section 4.1.2, in the forms with the fewest operations. */
static uint32_t choose(uint32_t x, uint32_t y, uint32_t z)
{
	return z ^ (x & (y ^ z));
}

static uint32_t majority(uint32_t x, uint32_t y, uint32_t z)
{
	return (x & y) | (z & (x | y));
}

static uint32_t word_at(const uint8_t *bytes)
{
	uint32_t word;

	__builtin_memcpy(&word, bytes, sizeof(word));
	return __builtin_bswap32(word);
}

/* The capital sigmas: three rotations, each of what the one before left, so that one copy of x is enough. */
static uint32_t sigma_0(uint32_t x)
{
	return rotate(rotate(rotate(x, 9) ^ x, 11) ^ x, 2);
}

static uint32_t sigma_1(uint32_t x)
{
	return rotate(rotate(rotate(x, 14) ^ x, 5) ^ x, 6);
}

/* Section 6.2.2, step 1. */
static uint32_t next_word(const uint32_t *w, unsigned int t)
{
	uint32_t a = w[t - 15], b = w[t - 2];

	return w[t - 16] + w[t - 7] + (rotate(rotate(a, 11) ^ a, 7) ^ a >> 3) + (rotate(rotate(b, 2) ^ b, 17) ^ b >> 10);
}

/* Section 6.2.2, step 3, without its moves: of the eight variables, from a to h, two change. */
static inline __attribute__((always_inline)) void round_of(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e,
							   uint32_t f, uint32_t g, uint32_t *h, uint32_t word)
{
	uint32_t t1 = *h + sigma_1(e) + choose(e, f, g) + word;

	*d += t1;
	*h = t1 + sigma_0(a) + majority(a, b, c);
}

/*
 * Section 6.2.2. After eight rounds every variable is back in its place: so they take turns instead of being moved. A
 * guest's launch is mostly this.
 */
static void one_block(uint32_t *state, const uint8_t *block)
{
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
	uint32_t e = state[4], f = state[5], g = state[6], h = state[7], w[64];

	for (unsigned int t = 0; t < 16; t++)
		w[t] = word_at(block + 4 * t);
	for (unsigned int t = 16; t < 64; t++)
		w[t] = next_word(w, t);
	for (unsigned int t = 0; t < 64; t += 8) {
		round_of(a, b, c, &d, e, f, g, &h, constants[t] + w[t]);
		round_of(h, a, b, &c, d, e, f, &g, constants[t + 1] + w[t + 1]);
		round_of(g, h, a, &b, c, d, e, &f, constants[t + 2] + w[t + 2]);
		round_of(f, g, h, &a, b, c, d, &e, constants[t + 3] + w[t + 3]);
		round_of(e, f, g, &h, a, b, c, &d, constants[t + 4] + w[t + 4]);
		round_of(d, e, f, &g, h, a, b, &c, constants[t + 5] + w[t + 5]);
		round_of(c, d, e, &f, g, h, a, &b, constants[t + 6] + w[t + 6]);
		round_of(b, c, d, &e, f, g, h, &a, constants[t + 7] + w[t + 7]);
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
	state[5] += f;
	state[6] += g;
	state[7] += h;
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
