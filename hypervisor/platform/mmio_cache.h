/* SPDX-License-Identifier: MIT */
/*
 * The last instructions of one processor of a guest that were carried out for it, decoded: most accesses to devices come
 * from a few places. To find an instruction again costs a tenth of walking the guest's page tables and decoding it.
 *
 * What is remembered is the answer of a fresh walk for as long as it stands here: an entry names everything that the walk
 * and the decoder looked at. The mode, which is compared; the words of the page tables and of the instruction, which are
 * read again and compared; and where these lie in the machine, which memory_generation() tells. So a guest that changes
 * its tables or its code is served as if nothing were remembered, and no page is touched that is not its own any more.
 */
#ifndef BULKHEAD_PLATFORM_MMIO_CACHE_H
#define BULKHEAD_PLATFORM_MMIO_CACHE_H

#include "mmio_decoder.h"

#define MMIO_CACHE_ENTRIES 8u
#define MMIO_CACHE_WORDS   (GUEST_WALK_WORDS + 3u) /* 15 bytes lie in three words at most */

/** Aligned so that finding one is a shift. */
struct mmio_cache_entry {
	struct guest_paging paging;
	uint64_t linear, generation;
	enum mmio_mode mode;
	uint32_t word_count; /**< 0: the entry is empty */
	struct memory_word words[MMIO_CACHE_WORDS];
	struct mmio_instruction instruction;
} __attribute__((aligned(64)));

/** Zero is empty. One processor's: not shared. */
struct mmio_cache {
	struct mmio_cache_entry entries[MMIO_CACHE_ENTRIES];
};

/**
 * The instruction at a linear address, as guest_fetch() and mmio_decode() would have it.
 * Returns NULL if it is not mapped, or none that mmio_decode() knows. Valid until the next call.
 */
const struct mmio_instruction *mmio_cache_find(struct mmio_cache *cache, struct memory *memory,
					       const struct guest_paging *paging, uint64_t linear, enum mmio_mode mode);

#endif
