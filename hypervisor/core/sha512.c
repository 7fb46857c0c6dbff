/* SPDX-License-Identifier: MIT */
/*
 * SHA-512, plain C. Section numbers are those of FIPS 180-4.
 */
#include "sha512.h"

#define VARIABLES 8u
#define WINDOW	  16u /* words of the message schedule that are still needed */

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Section 4.2.3. */
static const uint64_t constants[80] = {
	0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
	0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
	0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
	0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
	0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
	0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
	0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
	0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
	0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
	0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
	0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
	0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
	0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
	0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
	0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
	0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
	0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
	0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
	0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
	0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static uint64_t rotate(uint64_t word, unsigned int bits)
{
	return word >> bits | word << (64 - bits);
}

void sha512_start(struct sha512 *hash)
{
	/* Section 5.3.5. */
	*hash = (struct sha512){
		.state = { 0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
			   0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179 },
	};
}

/* Section 4.1.3. The capital sigmas: three rotations, each of what the one before left, so that one copy of x is enough. */
static uint64_t sigma_0(uint64_t x)
{
	return rotate(rotate(rotate(x, 5) ^ x, 6) ^ x, 28);
}

static uint64_t sigma_1(uint64_t x)
{
	return rotate(rotate(rotate(x, 23) ^ x, 4) ^ x, 14);
}

/* In the form with the fewest operations. */
static uint64_t choose(uint64_t x, uint64_t y, uint64_t z)
{
	return z ^ (x & (y ^ z));
}

/* Section 6.4.2, step 1: the words of the message schedule. The first 16 are the block's. */
static uint64_t word_of_block(uint64_t *w, unsigned int t, const uint8_t *block)
{
	__builtin_memcpy(&w[t], block + sizeof(w[t]) * t, sizeof(w[t]));
	return w[t] = __builtin_bswap64(w[t]);
}

/* Every other one follows from those before, and takes the place of the one 16 before. */
static uint64_t next_word(uint64_t *w, unsigned int t, const uint8_t *block)
{
	uint64_t x = w[(t + 1) % WINDOW], y = w[(t + 14) % WINDOW];

	(void)block;
	return w[t] += w[(t + 9) % WINDOW] + (rotate(rotate(x, 7) ^ x, 1) ^ x >> 7) +
		       (rotate(rotate(y, 42) ^ y, 19) ^ y >> 6);
}

/*
 * Section 6.4.2, step 3, without its moves: of the eight variables two change, and after eight rounds every variable is
 * back in its place; so they take turns. The majority of a, b and c is b, unless b differs from both; whether it differs
 * from a is what the next round asks of its b and c.
 */
static ALWAYS_INLINE void round_of(uint64_t *v, unsigned int t, uint64_t *differs, uint64_t word)
{
	uint64_t a = v[(0 - t) % VARIABLES], b = v[(1 - t) % VARIABLES];
	uint64_t e = v[(4 - t) % VARIABLES], f = v[(5 - t) % VARIABLES], g = v[(6 - t) % VARIABLES];
	uint64_t *d = &v[(3 - t) % VARIABLES], *h = &v[(7 - t) % VARIABLES];
	uint64_t b_differs = a ^ b, majority = (b_differs & *differs) ^ b;
	uint64_t t1 = *h + word + sigma_1(e) + choose(e, f, g);

	*differs = b_differs;
	*d += t1;
	*h = t1 + sigma_0(a) + majority;
}

static ALWAYS_INLINE void sixteen_rounds(uint64_t *v, uint64_t *w, const uint64_t *k, const uint8_t *block,
					 uint64_t (*word)(uint64_t *w, unsigned int t, const uint8_t *block))
{
	uint64_t differs = v[1] ^ v[2];

#pragma GCC unroll 16
	for (unsigned int t = 0; t < WINDOW; t++)
		round_of(v, t, &differs, k[t] + word(w, t, block));
}

/* Section 6.4.2. A guest's launch is mostly this: written for few instructions (./bench guest-boot). */
static void one_block(uint64_t *state, const uint8_t *block)
{
	uint64_t v[VARIABLES], w[WINDOW];

	for (unsigned int i = 0; i < VARIABLES; i++)
		v[i] = state[i];
	sixteen_rounds(v, w, constants, block, word_of_block);
	for (unsigned int t = WINDOW; t < ARRAY_COUNT(constants); t += WINDOW)
		sixteen_rounds(v, w, constants + t, block, next_word);
	for (unsigned int i = 0; i < VARIABLES; i++)
		state[i] += v[i];
}

void sha512_blocks(struct sha512 *hash, const void *data, size_t block_count)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < block_count; i++)
		one_block(hash->state, bytes + i * SHA512_BLOCK_BYTES);
	hash->block_count += block_count;
}

void sha512_end(struct sha512 *hash, const void *data, size_t size_bytes, uint8_t *digest, size_t digest_bytes)
{
	uint64_t bit_count = (hash->block_count * SHA512_BLOCK_BYTES + size_bytes) * 8;
	uint8_t last[2 * SHA512_BLOCK_BYTES] = { 0 };
	/* Section 5.1.2: a one bit and sixteen bytes of length must fit behind the data. */
	size_t block_count = size_bytes + 17 > SHA512_BLOCK_BYTES ? 2 : 1;
	uint8_t *length = last + block_count * SHA512_BLOCK_BYTES - 8;
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size_bytes; i++)
		last[i] = bytes[i];
	last[size_bytes] = 0x80;
	for (unsigned int i = 0; i < 8; i++)
		length[i] = (uint8_t)(bit_count >> (56 - 8 * i));
	sha512_blocks(hash, last, block_count);
	for (size_t i = 0; i < digest_bytes; i++)
		digest[i] = (uint8_t)(hash->state[i / 8] >> (56 - 8 * (i % 8)));
}
