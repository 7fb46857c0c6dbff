/*
 * hash.h: plain hashes and keyed names of many blocks at a time.
 *
 * plain = SHA-256(block), for the tree that the manifest signs; name = HMAC-SHA-256(block key,
 * plain). One pass over the data serves both. Where the processor has it, Intel's multi-buffer
 * library does several blocks side by side; the results are the same.
 */
#ifndef STORE_HASH_H
#define STORE_HASH_H

#include "store/domain.h"

struct hasher;

/** Makes a hasher for one thread and one domain; NULL if there is no memory. */
struct hasher *hasher_new(const struct domain *domain);

/** As hasher_new(), never with the multi-buffer library (to compare the two). */
struct hasher *hasher_new_plain(const struct domain *domain);

void hasher_free(struct hasher *hasher);

/**
 * Hashes @count blocks of BLOCK_BYTES.
 *
 * @plains, @names: receive @count digests each.
 *
 * Returns 0 or -EIO.
 */
int hasher_run(struct hasher *hasher, const uint8_t *const *blocks, size_t count,
	       uint8_t (*plains)[NAME_BYTES], uint8_t (*names)[NAME_BYTES]);

#endif
