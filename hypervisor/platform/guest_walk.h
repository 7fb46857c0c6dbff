/* SPDX-License-Identifier: MIT */
/*
 * Follows a guest's own page tables, as its processor would (APM vol. 2, chapter 5), to find where an instruction or
 * the memory side of a string instruction lies. The tables are the guest's and may change under the reader: each entry
 * is read once. A wrong answer can only hurt the guest that changed them, since every address found is one of its own.
 */
#ifndef BULKHEAD_PLATFORM_GUEST_WALK_H
#define BULKHEAD_PLATFORM_GUEST_WALK_H

#include "memory.h"

/** What of a processor's state decides how it translates. */
struct guest_paging {
	uint64_t cr0, cr3, cr4, efer, rflags;
	uint8_t cpl;
};

enum guest_access {
	GUEST_READ,
	GUEST_WRITE,
	GUEST_FETCH,
};

/**
 * Translates one linear address. A write marks the page as accessed and dirty, as the processor does.
 * @linear: the upper half is ignored outside 64-bit mode
 * @physical: out, the guest's physical address
 * Returns false, and changes nothing, if the address is not mapped or not allowed: let the guest's processor find out.
 */
bool guest_walk(struct memory *memory, const struct guest_paging *paging, uint64_t linear, enum guest_access access,
		uint64_t *physical);

#define GUEST_WALK_WORDS 4u

/**
 * Translates the address of an instruction, and says what the answer comes from: as long as those words and @paging are the
 * same, so is the address.
 * @words: out, at most GUEST_WALK_WORDS
 */
bool guest_walk_to_code(struct memory *memory, const struct guest_paging *paging, uint64_t linear, uint64_t *physical,
			struct memory_word *words, unsigned int *word_count);

/**
 * Reads up to @size_bytes of instruction bytes at a linear address; across a page boundary if the next page is mapped.
 * Returns how many could be read.
 */
uint32_t guest_fetch(struct memory *memory, const struct guest_paging *paging, uint64_t linear, uint8_t *bytes,
		     uint32_t size_bytes);

#endif
