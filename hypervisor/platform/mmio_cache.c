/* SPDX-License-Identifier: MIT */
/*
 * Finding decoded instructions again; see mmio_cache.h.
 */
#include "mmio_cache.h"

#include <stddef.h>

#define PAGE_BYTES 4096u
#define WORD_BYTES 8u

static bool is_current(const struct mmio_cache_entry *entry, const struct memory *memory,
		       const struct guest_paging *paging, uint64_t linear, enum mmio_mode mode)
{
	if (entry->word_count == 0 || entry->linear != linear || entry->paging.cr3 != paging->cr3 ||
	    entry->paging.cr0 != paging->cr0 || entry->paging.cr4 != paging->cr4 || entry->paging.efer != paging->efer ||
	    entry->paging.cpl != paging->cpl || entry->mode != mode || entry->generation != memory_generation(memory))
		return false;
	for (const struct memory_word *word = entry->words, *end = word + entry->word_count; word < end; word++)
		if (!memory_is_same(word))
			return false;
	return true;
}

/** Adds the words that the instruction lies in. Returns whether they are there and hold what was decoded. */
static bool look_at_code(struct mmio_cache_entry *entry, struct memory *memory, uint64_t physical,
			 const uint8_t *bytes)
{
	uint64_t end = physical + entry->instruction.length_bytes;
	struct memory_word word;

	for (uint64_t at = physical & ~(WORD_BYTES - 1ull); at < end; at += WORD_BYTES) {
		if (!memory_look(memory, at, &word))
			return false;
		for (unsigned int i = 0; i < WORD_BYTES; i++)
			if (at + i >= physical && at + i < end &&
			    (uint8_t)(word.value >> (8 * i)) != bytes[at + i - physical])
				return false;
		entry->words[entry->word_count++] = word;
	}
	return true;
}

/** Decodes an instruction that lies in one page, whose address the words of @entry lead to. */
static bool decode_in_page(struct mmio_cache_entry *entry, struct memory *memory, uint64_t physical)
{
	uint8_t bytes[MMIO_INSTRUCTION_BYTES];
	uint32_t left = PAGE_BYTES - (uint32_t)(physical & (PAGE_BYTES - 1));
	uint32_t count = left < sizeof(bytes) ? left : sizeof(bytes);

	if (!memory_read(memory, physical, bytes, count) || !mmio_decode(bytes, count, entry->mode, &entry->instruction))
		return false;
	if (!look_at_code(entry, memory, physical, bytes))
		entry->word_count = 0;
	return true;
}

/** Finds the instruction afresh, of an entry that says where. Apart, so that what is remembered needs few registers. */
static __attribute__((noinline)) bool fill(struct mmio_cache_entry *entry, struct memory *memory)
{
	uint8_t bytes[MMIO_INSTRUCTION_BYTES];
	const struct guest_paging *paging = &entry->paging;
	unsigned int word_count = 0;
	uint64_t physical;

	entry->word_count = 0;
	entry->generation = memory_generation(memory);
	if (!guest_walk_to_code(memory, paging, entry->linear, &physical, entry->words, &word_count))
		return false;
	entry->word_count = word_count;
	if (decode_in_page(entry, memory, physical))
		return true;
	/* It goes on in the next page, or is none: nothing to remember. */
	entry->word_count = 0;
	return mmio_decode(bytes, guest_fetch(memory, paging, entry->linear, bytes, sizeof(bytes)), entry->mode,
			   &entry->instruction);
}

const struct mmio_instruction *mmio_cache_find(struct mmio_cache *cache, struct memory *memory,
					       const struct guest_paging *paging, uint64_t linear, enum mmio_mode mode)
{
	struct mmio_cache_entry *entry = &cache->entries[linear % MMIO_CACHE_ENTRIES];

	if (is_current(entry, memory, paging, linear, mode))
		return &entry->instruction;
	entry->linear = linear;
	entry->mode = mode;
	/* One by one, so that the caller's need not lie in memory. The flags mean nothing to a fetch. */
	entry->paging.cr0 = paging->cr0;
	entry->paging.cr3 = paging->cr3;
	entry->paging.cr4 = paging->cr4;
	entry->paging.efer = paging->efer;
	entry->paging.cpl = paging->cpl;
	return fill(entry, memory) ? &entry->instruction : NULL;
}
